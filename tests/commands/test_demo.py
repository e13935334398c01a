"""The demo: which runs it makes at each size, from where and in which order, and what it prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from commands import demo, trainer
from commands.ending import STOPPED
from commands.tables import Row, Table, arguments, read_table
from tests.commands.stand_in import StandIn, option
from tests.tiny import ROOT
from weakground.photographs import photographs

RESULT = ("scenes", "clean", "pointing_game")
ROWS = {
    "the-same-network-untrained": "the same network, untrained",
    "pre-trained-zero-shot": "pre-trained, zero-shot",
    "L_phrase": "+ L_phrase",
    "L_phrase-L_add": "+ L_phrase + L_add",
    "L_phrase-L_add-L_subject": "+ L_phrase + L_add + L_subject",
}
STEPS = {"small": (620, 350), "full": (2000, 600)}  # of pre-training and of fine-tuning


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    stand_in = StandIn(*RESULT)
    monkeypatch.setattr(demo.ground, "main", lambda words: 0)
    monkeypatch.setattr(trainer, "main", stand_in)
    monkeypatch.chdir(ROOT)
    return stand_in


def run_folders(runs: StandIn) -> list[tuple[str, str]]:
    return [(subcommand, name.split("/")[1].removesuffix("-seed3")) for subcommand, name in runs.names]


def test_every_row_is_trained_and_judged_once(
    runs: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["demo", "--seed", "3", "--runs", str(tmp_path), "--trainer.logger", "false"]
    assert demo.main(argv) == 0
    expected = [("test", "the-same-network-untrained")]
    for folder in list(ROWS)[1:]:
        expected += [("fit", folder), ("test", folder)]
    assert run_folders(runs) == expected
    assert {option(command, "--seed_everything") for command in runs.commands} == {"3"}
    assert all(option(command, "--trainer.logger") == "false" for command in runs.commands)
    assert "--ckpt_path" not in runs.commands[0]
    output = capsys.readouterr().out
    titles = ["random", "centre", *ROWS.values()]
    assert [title for title in titles if f"\n{title} " in output] == titles
    assert "seconds in all." in output
    runs.commands.clear()
    assert demo.main(argv) == 0
    assert runs.commands == []
    assert demo.main([*argv, "--trainer.max_steps", "5"]) == 1  # it would show the other runs' numbers
    assert "untrained-seed3 holds a run made with other options" in capsys.readouterr().err
    assert runs.commands == []


def test_the_table_has_steps_intervals_samples_and_the_papers_numbers(
    runs: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert demo.main(["demo", "--runs", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    (line,) = [line for line in lines if line.startswith("pre-trained, zero-shot  ")]
    assert line.removeprefix("pre-trained, zero-shot").split() == [
        "7",
        "50.0",
        "[40.0,",
        "60.0]",
        "-",
        "-",
        "9",
        "79.4",
    ]
    (line,) = [line for line in lines if line.startswith("random ")]
    assert line.split() == ["random", "10.0", "[40.0,", "60.0]", "-", "-", "9", "-"]


def demo_table() -> tuple[Table, dict[str, Row]]:
    table = read_table(ROOT / demo.TABLE)
    return table, {row.folder: row for row in table.rows}


@pytest.mark.parametrize("size", STEPS)
def test_fine_tuning_starts_from_the_same_model_and_has_five_epochs(size: str) -> None:
    table, rows = demo_table()
    assert list(rows) == list(ROWS)
    pretraining, fine_tuning = STEPS[size]
    for name in list(ROWS)[2:]:
        words = arguments(table, rows[name], size, 0, Path("runs"))
        start = f"runs/demo-{size}/pre-trained-zero-shot-seed0/checkpoints/last.ckpt"
        assert option(words, "--model.pretrained") == start
        assert int(option(words, "--trainer.max_steps")) == fine_tuning
        assert 5 * int(option(words, "--trainer.limit_train_batches")) == fine_tuning
    words = arguments(table, rows["pre-trained-zero-shot"], size, 0, Path("runs"))
    assert int(option(words, "--trainer.max_steps")) == pretraining


def test_the_losses_come_one_after_the_other() -> None:
    table, rows = demo_table()
    left_out = []
    for name in list(ROWS)[2:]:
        words = arguments(table, rows[name], "small", 0, Path("runs"))
        left_out.append({word: option(words, word) for word in words if "weights." in word})
    without_add = {"--model.weights.add": "0", "--model.weights.subject": "0"}
    assert left_out == [without_add, {"--model.weights.subject": "0"}, {}]


@pytest.mark.parametrize("code", [STOPPED, 1])
def test_what_ends_early_is_not_judged_and_gone_on_with(
    code: int, runs: StandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = StandIn(*RESULT, end_at=2, code=code)
    monkeypatch.setattr(trainer, "main", first)
    assert demo.main(["demo", "--runs", str(tmp_path), "--seed", "3"]) == code
    assert run_folders(first) == [("test", "the-same-network-untrained"), ("fit", "pre-trained-zero-shot")]
    monkeypatch.setattr(trainer, "main", runs)
    assert demo.main(["demo", "--runs", str(tmp_path), "--seed", "3"]) == 0
    assert run_folders(runs)[0] == ("fit", "pre-trained-zero-shot")
    assert option(runs.commands[0], "--ckpt_path") == "last"


def test_a_size_that_does_not_exist() -> None:
    with pytest.raises(SystemExit) as stopped:
        demo.main(["demo", "--size", "huge"])
    assert stopped.value.code == 2


def test_both_sizes_are_scales_of_the_table() -> None:
    assert demo_table()[0].scales == tuple(STEPS)


def test_it_begins_with_a_photograph(
    runs: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    grounded: list[list[str]] = []

    def ground(words: list[str]) -> int:
        assert not runs.commands
        grounded.append(words)
        return 1  # the packages may be missing: the scenes need none

    monkeypatch.setattr(demo.ground, "main", ground)
    assert demo.main(["demo", "--runs", str(tmp_path), "--trainer.logger", "false"]) == 0
    (words,) = grounded
    assert Path(words[1]).is_file()
    assert words[2:5] == list(photographs()[0].phrases)
    assert runs.commands
    assert "python cli.py ground" in capsys.readouterr().out
