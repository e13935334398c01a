"""The demo's stages: what is run and from where, what is not run twice, what ends them early, and the table."""

from __future__ import annotations

from pathlib import Path

import pytest

from commands import demo, trainer
from commands.demo import STEPS, TITLES, stages
from commands.trainer import STOPPED
from tests.commands.stand_in import StandIn, option

RESULT = ("scenes", "clean", "pointing_game")


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    found = StandIn(*RESULT)
    monkeypatch.setattr(trainer, "main", found)
    return found


def of_rows(runs: StandIn) -> list[tuple[str, str]]:
    return [(what, name.split("/")[1]) for what, name in runs.names]


def test_every_row_is_trained_and_judged_once(
    runs: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["demo", "--seed", "3", "--runs", str(tmp_path), "--trainer.logger", "false"]
    assert demo.main(argv) == 0
    assert of_rows(runs) == [
        ("test", "untrained"),
        *((what, name) for name in list(TITLES)[1:] for what in ("fit", "test")),
    ]
    assert {option(command, "--seed_everything") for command in runs.commands} == {"3"}
    assert all(option(command, "--trainer.logger") == "false" for command in runs.commands)
    output = capsys.readouterr().out
    assert [title for title in ("random", "centre", *TITLES.values()) if f"\n{title} " in output] == [
        "random",
        "centre",
        *TITLES.values(),
    ]
    assert "50.0 [40.0, 60.0]" in output
    runs.commands.clear()
    assert demo.main(argv) == 0
    assert runs.commands == []
    assert (
        demo.main([*argv, "--trainer.max_steps", "5"]) == 1
    )  # whose table would show the other runs' numbers
    assert "untrained holds a run made with other options" in capsys.readouterr().err
    assert runs.commands == []


@pytest.mark.parametrize("size", STEPS)
def test_rows_of_fine_tuning_start_from_the_same_model_and_have_five_epochs(
    size: str, tmp_path: Path
) -> None:
    found = stages(size, 0, tmp_path, [])
    for name in ("phrase", "phrase_add", "hist"):
        fit, test = found[name]
        assert option(fit, "--model.pretrained") == str(
            tmp_path / f"demo-{size}" / "pretrain" / "checkpoints" / "last.ckpt"
        )
        assert (
            int(option(fit, "--trainer.max_steps"))
            == STEPS[size][1]
            == 5 * int(option(fit, "--trainer.limit_train_batches"))
        )
        assert option(test, "--ckpt_path") == "last"
        assert "--model.pretrained" not in test
    assert int(option(found["pretrain"][0], "--trainer.max_steps")) == STEPS[size][0]


@pytest.mark.parametrize("code", [STOPPED, 1])
def test_what_ends_early_is_not_judged_and_gone_on_with(
    code: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first, second = StandIn(*RESULT, end_at=2, code=code), StandIn(*RESULT)
    monkeypatch.setattr(trainer, "main", first)
    assert demo.main(["demo", "--runs", str(tmp_path)]) == code
    assert of_rows(first) == [("test", "untrained"), ("fit", "pretrain")]
    monkeypatch.setattr(trainer, "main", second)
    assert demo.main(["demo", "--runs", str(tmp_path)]) == 0
    assert of_rows(second)[0] == ("fit", "pretrain")
    assert option(second.commands[0], "--ckpt_path") == "last"
