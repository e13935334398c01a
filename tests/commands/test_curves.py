"""The figure of a table of runs."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image

from commands.curves import draw_curves, mean_value, measured_column
from commands.tables import Row, Table

ROWS = (
    Row("g"),
    Row("low", curve="tau", at=0.3),
    Row("high", curve="tau", at=0.6),
)
COLUMNS = {"other set": "other/clean/pointing_game", "pointing": "scenes/clean/pointing_game"}
TABLE = Table("figure", ("demo",), COLUMNS, (), ROWS)
VALUES = {"g": 0.5, "low": 0.4, "high": 0.6}


def judge(runs: Path, seed: int, change: float = 0.0) -> None:
    for row in ROWS:
        folder = runs / TABLE.run_name(row, "demo", seed) / "test"
        folder.mkdir(parents=True)
        result = {"dataset": "scenes", "protocol": "clean", "metric": "pointing_game"}
        results = [
            {**result, "method": "random", "value": 0.0},
            {**result, "method": "model", "value": VALUES[row.name] + change},
        ]
        (folder / "metrics.json").write_text(json.dumps({"results": results}))


def test_a_picture_of_the_means_over_seeds(tmp_path: Path) -> None:
    judge(tmp_path, 0)
    judge(tmp_path, 1, change=0.1)
    assert measured_column(TABLE, ROWS[0], "demo", [0, 1], tmp_path)[0] == "pointing"
    value = mean_value(TABLE, ROWS[2], COLUMNS["pointing"], "demo", [0, 1], tmp_path)
    assert abs(value - 65) < 1e-6
    picture = draw_curves(TABLE, ROWS, "demo", [0, 1], tmp_path)
    assert picture == tmp_path / "figure-demo.png"
    assert Image.open(picture).size == (720, 480)


def test_a_table_without_curves_has_no_picture(tmp_path: Path) -> None:
    assert draw_curves(TABLE, ROWS[:1], "demo", [0], tmp_path) is None
    assert list(tmp_path.iterdir()) == []
