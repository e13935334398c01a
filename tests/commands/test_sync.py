"""A run is uploaded from its folder: each row once, and what belongs to it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import cli
from commands.wandb_account import STEP


class Server:
    """Stands in for W&B: keeps what the runs of one id are told.

    Attributes:
        inits: the options of every ``wandb.init``.
        logged: every row, table and picture.
        summary: of the run.
        artifacts: what was sent as files.
    """

    def __init__(self) -> None:
        self.inits: list[dict[str, Any]] = []
        self.logged: list[dict[str, Any]] = []
        self.summary: dict[str, Any] = {}
        self.artifacts: list[str] = []
        self.id = "run"

    def init(self, **options: Any) -> Server:
        self.inits.append(options)
        return self

    def define_metric(self, *names: str, **options: Any) -> None:
        """Taken no notice of."""

    def log(self, row: dict[str, Any]) -> None:
        self.logged.append(row)

    def log_artifact(self, artifact: Any, aliases: list[str]) -> None:
        self.artifacts.append(artifact.path)

    def finish(self) -> None:
        """Taken no notice of."""

    @property
    def rows(self) -> list[tuple[float, float]]:
        """Step and loss of every row."""
        return [(row[STEP], row["train/loss"]) for row in self.logged if STEP in row]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    server = Server()
    artifact = SimpleNamespace(path="")
    artifact.add_file = lambda path: setattr(artifact, "path", Path(path).name)
    package = SimpleNamespace(
        init=server.init,
        Image=lambda path: path,
        Table=lambda columns, data: (columns, data),
        Artifact=lambda name, type: artifact,
    )
    monkeypatch.setitem(sys.modules, "wandb", package)
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    return server


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder of one run, which was trained and judged."""
    folder = tmp_path / "table" / "row"
    (folder / "test" / "pictures").mkdir(parents=True)
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "best.ckpt").touch()
    (folder / "config.yaml").write_text("save_every: 7\n")
    (folder / "metrics.csv").write_text("step,train/loss\n4,0.5\n9,0.25\n")
    (folder / "test" / "pictures" / "scenes.png").touch()
    (folder / "test" / "pictures" / "scenes-00.png").touch()
    (folder / "test" / "metrics.json").write_text(json.dumps({"results": [{"metric": "a", "value": 1}]}))
    return tmp_path


def test_a_run_is_uploaded_whole(runs: Path, server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["sync", "--runs", str(runs), "--best"]) == 0
    assert capsys.readouterr().out == "table/row: 2 of 2 rows sent\n"
    assert server.rows == [(4.0, 0.5), (9.0, 0.25)]
    sent = {name: value for row in server.logged for name, value in row.items()}
    assert [name for name in sent if "pictures" in name] == ["test/pictures/scenes"]  # the sheet alone
    assert sent["test/results"] == (["metric", "value"], [["a", 1]])
    assert server.artifacts == ["best.ckpt"]
    [options] = server.inits
    assert (options["name"], options["group"], options["resume"]) == ("table/row", "table", "allow")
    assert options["config"] == {"save_every": 7}


def test_no_row_is_sent_twice(runs: Path, server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    sync = ["sync", "--runs", str(runs), "table/row"]
    assert cli.main(sync) == 0
    assert cli.main(sync) == 0
    with (runs / "table" / "row" / "metrics.csv").open("a") as file:
        file.write("14,0.125\n19,0.0625")  # the last one is cut off
    assert cli.main(sync) == 0
    assert server.rows == [(4.0, 0.5), (9.0, 0.25), (14.0, 0.125)]
    assert [line.split(": ")[1] for line in capsys.readouterr().out.splitlines()] == [
        "2 of 2 rows sent",
        "0 of 2 rows sent",
        "1 of 3 rows sent",
    ]
    assert len({options["id"] for options in server.inits}) == 1
    assert server.artifacts == []


def test_what_was_sent_online_is_not_sent_again(runs: Path, server: Server) -> None:
    server.summary[STEP] = 4.0
    assert cli.main(["sync", "--runs", str(runs)]) == 0
    assert server.rows == [(9.0, 0.25)]


def test_what_is_wrong_is_one_sentence(
    runs: Path, monkeypatch: pytest.MonkeyPatch, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(**options: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr(sys.modules["wandb"], "init", refuse)
    assert cli.main(["sync", "--runs", str(runs)]) == 1
    assert "W&B cannot be reached (no network)" in capsys.readouterr().err
    assert cli.main(["sync", "--runs", str(runs), "gone"]) == 1
    assert "gone has no metrics.csv" in capsys.readouterr().err
    assert cli.main(["sync", "--runs", str(runs / "none")]) == 1
    assert "has a metrics.csv" in capsys.readouterr().err
    monkeypatch.delenv("WANDB_API_KEY")
    monkeypatch.setenv("NETRC", str(runs / "netrc"))
    assert cli.main(["sync", "--runs", str(runs)]) == 1
    assert "`wandb login`, or set WANDB_API_KEY" in capsys.readouterr().err
