"""A sweep trains run after run, remembers what it has seen, and goes on where it stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

import cli
from commands import trainer
from commands.ending import STOPPED
from commands.runs import RunError
from commands.sweep import last_value, read_sweep
from tests.commands.stand_in import option

METRIC = "val/set/clean/pointing_game"
CONTENT: dict[str, Any] = {
    "config": "c.yaml",
    "metric": METRIC,
    "trials": 6,
    "options": {"trainer.max_steps": 3},
    "search": {
        "model.lr": {"low": "1e-4", "high": 1.0e-2, "log": True},  # YAML takes 1e-4 for a text
        "model.layers": {"low": 1, "high": 3},
        "model.add": [0.0, 1.0],
    },
}


class Trains:
    """In the place of the trainer: a run's metric is larger the more layers it has.

    Args:
        end_at: number of the command, from 1, that a signal stops.
    """

    def __init__(self, end_at: int = 0) -> None:
        self.commands: list[list[str]] = []
        self.end_at = end_at

    def __call__(self, command: list[str]) -> int:
        """Writes the metrics of two validations."""
        self.commands.append(command)
        if len(self.commands) == self.end_at:
            return STOPPED
        folder = Path(option(command, "--runs")) / option(command, "--name")
        folder.mkdir(parents=True)
        value = int(option(command, "--model.layers")) / 10 + float(option(command, "--model.add")) / 100
        (folder / "metrics.csv").write_text(f"step,loss,{METRIC}\n1,2.0,\n1,,0.01\n2,1.0,\n2,,{value}\n")
        return 0


def write_sweep(folder: Path, **changes: Any) -> Path:
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({**CONTENT, **changes}))
    return path


def test_it_finds_the_best_and_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("optuna", reason="the extra sweep is not installed")
    words = [
        "sweep",
        str(write_sweep(tmp_path)),
        "--runs",
        str(tmp_path / "runs"),
        "--seed",
        "0",
        "--extra",
        "1",
    ]
    first = Trains(end_at=3)
    monkeypatch.setattr(trainer, "main", first)
    assert cli.main(words) == STOPPED
    assert "the same command goes on from here" in capsys.readouterr().out
    second = Trains()
    monkeypatch.setattr(trainer, "main", second)
    assert cli.main(words) == 0
    assert len(second.commands) == 4, "two of six were finished before"
    for name in CONTENT["search"]:  # those of the stopped run are tried again
        assert option(second.commands[0], f"--{name}") == option(first.commands[2], f"--{name}")
    names = [option(command, "--name") for command in (*first.commands, *second.commands)]
    assert names == [f"mine/{number:03d}" for number in range(7)]
    for command in second.commands:
        assert command[:3] == ["fit", "--config", "c.yaml"]
        assert option(command, "--trainer.max_steps") == "3"
        assert option(command, "--extra") == "1"
        assert 1e-4 <= float(option(command, "--model.lr")) <= 1e-2
    shown = capsys.readouterr().out
    best = max(
        (command for command in (*first.commands[:2], *second.commands)),
        key=lambda command: (int(option(command, "--model.layers")), float(option(command, "--model.add"))),
    )
    assert f"--model.layers {option(best, '--model.layers')}" in shown.split("The best: ")[1]
    assert cli.main(words) == 0, "nothing is left to do"
    assert len(second.commands) == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"serach": {}}, "did you mean 'search'"),
        ({"metric": "test/set/clean/pointing_game"}, "is no validation metric"),
        ({"search": None}, "lacks search"),
        ({"search": {"model.lr": 3}}, "must have a list of values"),
        ({"search": {"model.lr": {"low": 1, "hgih": 3}}}, "must have a list of values"),
        ({"search": {"model.lr": {"low": 3, "high": 1}}}, "must have a list of values"),
        ({"direction": "up"}, "maximize or minimize"),
    ],
)
def test_what_is_no_sweep_is_said_in_one_sentence(tmp_path: Path, changes: Any, message: str) -> None:
    with pytest.raises(RunError, match=message):
        read_sweep(write_sweep(tmp_path, **changes))


def test_a_metric_that_was_not_measured_is_answered_with_those_that_were(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text(f"step,{METRIC}\n1,0.5\n")
    assert last_value(path, METRIC) == 0.5
    with pytest.raises(RunError, match="did you mean 'val/set/clean/pointing_game'"):
        last_value(path, "val/set/clean/pointing_gam")
    with pytest.raises(RunError, match="nor of any other validation metric"):
        last_value(tmp_path / "none.csv", METRIC)


def test_the_sweeps_that_come_along_can_be_read() -> None:
    paths = sorted(Path("configs/sweeps").glob("*.yaml"))
    assert paths
    for path in paths:
        assert Path(read_sweep(path).config).is_file()
