"""What was measured is shown in a table for each kind of evaluation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import cli
from callbacks.evaluations.decision_table import SCHEMA, write_decisions


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
    (folder / "test").mkdir(parents=True, exist_ok=True)
    (folder / "test" / "metrics.json").write_text(
        json.dumps({"results": results, "seed": 7, "commit": "abc"})
    )


def decided(folder: Path, hits: list[bool], keys: list[str]) -> None:
    """Decisions of a model; the boxes of the first two queries are small."""
    number = len(hits)
    columns: dict[str, Any] = {name: [0] * number for name in SCHEMA.names}
    columns |= {
        "dataset": ["set"] * number,
        "protocol": ["clean"] * number,
        "method": ["model"] * number,
        "image": ["x", "x", "y", "z"][:number],
        "key": keys,
        "phrase": ["the dog"] * number,
        "hit": hits,
        "iou": [0.5] * number,
        "box_area": [0.01, 0.02, 0.5, 0.5][:number],
    }
    table = pa.table([pa.array(columns[field.name]).cast(field.type) for field in SCHEMA], schema=SCHEMA)
    write_decisions(folder / "test" / "decisions.parquet", table)


@pytest.fixture
def run_pair(tmp_path: Path) -> Path:
    """Two runs, three of whose queries are the same."""
    measured(tmp_path / "a", "clean", {"pointing_game": 0.5})
    decided(tmp_path / "a", [True, False, False, True], ["1", "2", "3", "4"])
    decided(tmp_path / "b", [True, True, False], ["1", "2", "3"])
    return tmp_path


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


def test_a_part_of_the_queries(run_pair: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["report", "a", "--runs", str(run_pair), "--where", "box_area < .05"]) == 0
    printed = capsys.readouterr().out
    assert "50.0 [" in printed
    assert printed.splitlines()[-1].split()[-3] == "2"  # queries


@pytest.mark.parametrize(
    ("condition", "message"),
    [("box_aera < 1", "did you mean 'box_area'"), ("small ones", "is no condition")],
)
def test_a_wrong_condition(
    condition: str, message: str, run_pair: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["report", "a", "--runs", str(run_pair), "--where", condition]) == 1
    assert message in capsys.readouterr().err


def test_two_runs_on_the_same_queries(run_pair: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["report", "--runs", str(run_pair), "--compare", "a", "b", "--format", "csv"]
    assert cli.main(words) == 0
    header, pointing, *_ = capsys.readouterr().out.splitlines()
    assert "b less a, points" in header
    assert pointing.startswith('set (clean),pointing game,"+33.3 [')
    assert pointing.endswith(",3,2"), "queries and images in common"
    assert cli.main([*words[:-4], "a", "missing"]) == 1
    assert "is not readable as decisions" in capsys.readouterr().err


def test_the_best_first_in_markdown(run_pair: Path, capsys: pytest.CaptureFixture[str]) -> None:
    measured(run_pair / "a", "clean", {"pointing_game": 0.5})
    measured(run_pair / "b", "clean", {"pointing_game": 0.75})
    words = ["report", "--runs", str(run_pair), "--sort", "pointing_game", "--format", "md"]
    assert cli.main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("| run | data (protocol) | pointing game % |")
    assert [line.split()[1] for line in lines[2:]] == ["b", "a"]
