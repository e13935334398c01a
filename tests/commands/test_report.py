"""What was measured is shown in a table for each kind of evaluation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import cli


def measured(folder: Path, protocol: str, values: dict[str, float]) -> None:
    results = [
        {
            "dataset": "set",
            "protocol": protocol,
            "method": method,
            "metric": metric,
            "value": value,
            "low": value,
            "high": value,
            "n": 1234,
        }
        for method in ("model", "random")
        for metric, value in values.items()
    ]
    (folder / "test").mkdir(parents=True)
    (folder / "test" / "metrics.json").write_text(
        json.dumps({"results": results, "seed": 7, "commit": "abc"})
    )


def test_each_kind_of_evaluation_has_its_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    measured(tmp_path / "points", "clean", {"pointing_game": 0.5, "box_accuracy": 0.25})
    measured(tmp_path / "groups", "word", {"tiou": 0.75})
    assert cli.main(["report", "--runs", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    groups, points = (table.splitlines() for table in printed.strip().split("\n\n"))
    assert "tiou %" in groups[0]
    assert groups[2].split() == ["groups", "set", "(word)", "75.0", "[75.0,", "75.0]", "1,234", "7", "abc"]
    assert "pointing game %" in points[0]
    assert points[2].startswith("points")
    assert "random" not in printed
    assert cli.main(["report", "points", "--runs", str(tmp_path), "--baselines"]) == 0
    printed = capsys.readouterr().out
    assert "random" in printed
    assert "groups" not in printed


def test_a_file_of_another_program_hides_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    measured(tmp_path / "points", "clean", {"pointing_game": 0.5})
    (tmp_path / "metrics.json").write_text("[1]")
    assert cli.main(["report", "--runs", str(tmp_path)]) == 1
    printed = capsys.readouterr()
    assert "metrics.json holds no results of a test" in printed.err
    assert "pointing game %" in printed.out


def test_without_results_it_says_how_to_get_some(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["report", "--runs", str(tmp_path)]) == 1
    assert "`python cli.py test` writes one" in capsys.readouterr().err
