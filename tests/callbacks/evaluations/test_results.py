from __future__ import annotations

import math

import pytest

from callbacks.evaluations.results import Result, format_estimate, format_rows, format_table, tidy


def result(
    method: str, metric: str, value: float, dataset: str = "flickr", protocol: str = "clean", n: int = 1200
) -> Result:
    return Result(dataset, protocol, method, metric, value, value - 0.01, value + 0.01, n)


def test_tidy_holds_what_json_can() -> None:
    found = tidy(Result("d", "p", "model", "m", 1 / 3, math.nan, 0.5, 7))
    assert found == {
        "dataset": "d",
        "protocol": "p",
        "method": "model",
        "metric": "m",
        "value": 0.333333,
        "low": None,
        "high": 0.5,
        "n": 7,
    }


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ((0.583, 0.551, 0.614), "58.3 [55.1, 61.4]"),
        ((0.5, None, None), "50.0"),
        ((0.5, math.nan, 0.6), "50.0"),
        ((math.nan, 0, 1), "-"),
        ((None, 0, 1), "-"),
    ],
)
def test_estimates_in_per_cent(values: tuple[float | None, ...], shown: str) -> None:
    assert format_estimate(*values) == shown


def test_rows_are_aligned() -> None:
    lines = format_rows(["name", "x", "value"], [["a", "bb", "1"], ["longer", "b", "100"]]).splitlines()
    assert lines == ["name    x   value", "-" * 17, "a       bb      1", "longer  b     100"]


def test_table_puts_baselines_above_the_model() -> None:
    found = [
        result(method, "pointing_game", value)
        for method, value in (("model", 0.5), ("centre", 0.3), ("random", 0.1))
    ]
    found += [result("model", "mean_iou", 0.25), result("model", "pointing_game", 0.7, dataset="coco", n=5)]
    lines = format_table(found).splitlines()
    assert lines[0].split("  ")[0] == "data (protocol)"
    assert [line.split()[2] for line in lines[2:]] == ["model", "random", "centre", "model"]
    assert "coco (clean)" in lines[2]
    assert lines[2].rstrip().endswith("5")
    assert "-" in lines[3].split("]")[-1]  # the random baseline has no mean IoU here
    assert "50.0 [49.0, 51.0]" in lines[5]
    assert "1,200" in lines[5]
