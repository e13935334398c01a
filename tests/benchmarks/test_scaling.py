"""The arithmetic of docs/scaling.md, and its counting at a small size."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks._scaling import BEGIN, END, GPUS, HEADER, Assumed, Cost, Method, cost_of, row, tables
from benchmarks.gpu import TINY, made_vocabulary
from tests.tiny import ROOT

COST = Cost("method", operations=1e12, rows=10, trained=1_000_000, stored=0, gathered=512, queue=1000)
ASSUMED = Assumed(pairs=8000, bytes_of_pair=1e5, peak=2e12, share=0.5, network=1e6, cores=1, decoding=100)


def test_a_row_by_hand() -> None:
    cells = dict(zip(HEADER, row(COST, 8, ASSUMED), strict=True))
    assert cells["steps"] == "100"
    assert cells["ms a step"] == "10000"  # 10 rows of a second each; 7 MB are reduced meanwhile, in 7 s
    assert cells["minutes an epoch"] == "16.7"
    assert cells["bound by"] == "computing"
    assert cells["images/s"] == "8"
    assert cells["GB/s read"] == "0.00"
    assert cells["cores a GPU to keep up"] == "0.0"
    assert cells["all-reduce GB, ms"] == "0.01, 7000"
    assert cells["all-gather MB"] == "0.1"
    assert cells["queue: steps"] == "12.5"


@pytest.mark.parametrize(
    ("changes", "bound", "milliseconds"),
    [({"network": 1e5}, "network", "70000"), ({"decoding": 0.5}, "decoding", "20000")],
)
def test_the_slowest_part_counts(changes: dict[str, float], bound: str, milliseconds: str) -> None:
    cells = dict(zip(HEADER, row(COST, 8, replace(ASSUMED, **changes)), strict=True))
    assert cells["bound by"] == bound
    assert cells["ms a step"] == milliseconds


def test_a_small_step_is_counted() -> None:
    with made_vocabulary() as vocabulary:
        cost = cost_of(Method(TINY[0], gathered=128, queue=1024), vocabulary)
    assert cost.rows == 4
    assert cost.operations > 1e8
    assert cost.stored > 4 * cost.trained + 8 * cost.trained  # momentum twins are stored, too


@pytest.mark.parametrize("gpus", GPUS)
def test_the_page_holds_what_the_script_writes(gpus: int) -> None:
    page = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    between = page.partition(BEGIN)[2].partition(END)[0]
    assert between.count(f"\n| {gpus} | ") == 6
    header = next(iter(tables([COST])))
    assert "TFLOP a row (counted)" in header
    assert f"| {' | '.join(HEADER)} |" in between
