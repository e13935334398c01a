"""A leaderboard compares what its runs have measured, on one page that needs nothing else."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pytest
import yaml

import cli
from callbacks.evaluations.decision_table import SCHEMA, write_decisions
from commands import trainer
from commands.ending import STOPPED
from tests.commands.stand_in import StandIn, option

TABLE = {
    "config": {"demo": "c.yaml"},
    "columns": {"pointing": "set/clean/pointing_game"},
    "rows": [
        {"name": "first <b>", "about": "learns from captions"},
        {"name": "second", "weights": {"model.pretrained": "first <b>"}},
        {"name": "broken", "trained": False},
    ],
}


class Judging(StandIn):
    """Also leaves decisions and a picture; the second run is better, and the third fails."""

    def __call__(self, command: list[str]) -> int:
        """The first run also has a number without an interval."""
        name = option(command, "--name")
        if "broken" in name:
            return 1
        code = super().__call__(command)
        folder = Path(option(command, "--runs")) / name / "test"
        if command[0] == "test":
            hits = [True, True, "second" in name, False]
            columns: dict[str, Any] = {column: [0] * 4 for column in SCHEMA.names}
            for column, value in (("dataset", "set"), ("protocol", "clean"), ("method", "model")):
                columns[column] = [value] * 4
            columns |= {"image": list("abcd"), "key": list("1234"), "phrase": ["dog"] * 4, "hit": hits}
            arrays = [pa.array(columns[field.name]).cast(field.type) for field in SCHEMA]
            write_decisions(folder / "decisions.parquet", pa.table(arrays, schema=SCHEMA))
            if "second" not in name:
                content = json.loads((folder / "metrics.json").read_text())
                further = {
                    "metric": "f1",
                    "method": "model",
                    "low": None,
                    "high": None,
                    "value": 0.25,
                    "n": 9,
                }
                content["results"].append({"dataset": "set", "protocol": "tags", **further})
                (folder / "metrics.json").write_text(json.dumps(content))
            (folder / "pictures").mkdir()
            cv2.imwrite(str(folder / "pictures" / "set.png"), np.zeros((30, 2000, 3), np.uint8))
        return code


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    (tmp_path / "table.yaml").write_text(yaml.safe_dump(TABLE, sort_keys=False))
    monkeypatch.setattr(trainer, "main", Judging("set", "clean", "pointing_game"))
    words = ["leaderboard", str(tmp_path / "table.yaml"), "--runs", str(tmp_path / "runs")]
    assert cli.main([*words, "--out", str(tmp_path / "board")]) == 1, "a row was not measured"
    assert "not measured: broken" in capsys.readouterr().out
    return tmp_path / "board"


def test_the_page(page: Path) -> None:
    text = (page / "index.html").read_text()
    assert "first &lt;b&gt;" in text
    assert "learns from captions" in text
    assert re.findall(r"<strong>([\d.]+)</strong>", text) == ["10.0", "10.0", "50.0", "50.0", "25.0"]
    assert "+25.0 [" in text, "the second run points right once more in four"
    assert text.count("not measured") == 2, "the row that failed, in both parts"
    assert text.count("data:image/jpeg;base64,") == 3
    assert not re.search(r"""(src|href)=["']?(http|/)""", text), "nothing is fetched"


def test_the_same_as_csv_and_markdown(page: Path) -> None:
    rows = list(csv.DictReader((page / "leaderboard.csv").open()))
    assert [(row["method"], row["value"]) for row in rows] == [
        ("centre", "10.00"),
        ("random", "10.00"),
        ("first <b>", "50.00"),
        ("second", "50.00"),
        ("first <b>", "25.00"),
    ]
    lines = (page / "leaderboard.md").read_text().splitlines()
    assert lines[0] == "### set (clean)"
    assert lines[-1].startswith("| broken | not measured |")


def test_nothing_measured_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "table.yaml").write_text(yaml.safe_dump({**TABLE, "rows": [{"name": "broken"}]}))
    monkeypatch.setattr(trainer, "main", Judging("set", "clean", "pointing_game"))
    words = ["leaderboard", str(tmp_path / "table.yaml"), "--runs", str(tmp_path / "runs")]
    assert cli.main(words) == 1
    assert "no row was measured" in capsys.readouterr().err


def test_a_signal_ends_all_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "table.yaml").write_text(yaml.safe_dump(TABLE, sort_keys=False))
    stopped = StandIn("set", "clean", "pointing_game", end_at=1, code=STOPPED)
    monkeypatch.setattr(trainer, "main", stopped)
    words = ["leaderboard", str(tmp_path / "table.yaml"), "--runs", str(tmp_path / "runs")]
    assert cli.main(words) == STOPPED
    assert len(stopped.commands) == 1
    assert "the same command goes on from here" in capsys.readouterr().out
