"""Every benchmark at its tiny size; that what it compares gives equal results it asserts itself."""

from __future__ import annotations

import math
from importlib import import_module
from pathlib import Path

import pytest

from benchmarks import streams
from benchmarks.__main__ import HEADER, main
from benchmarks._common import Unavailable, best_seconds, names, report


@pytest.mark.parametrize("name", names())
def test_it_runs_at_its_tiny_size(name: str) -> None:
    try:
        result = import_module(f"benchmarks.{name}").run("tiny")
    except Unavailable as reason:
        pytest.skip(str(reason))
    assert any(result.lines)
    assert result.rows
    for row in result.rows:
        assert all(row[:3])
        assert math.isfinite(row.ratio), row.path


@pytest.mark.parametrize("name", names())
def test_its_command_line_says_what_it_is(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    module = import_module(f"benchmarks.{name}")
    with pytest.raises(SystemExit) as end:
        module.main(["--help"])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    assert "--size {tiny,full}" in shown
    assert f"python -m benchmarks.{name}" in shown


def test_one_table_of_several(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unavailable(size: str) -> None:
        raise Unavailable("no shards found")

    monkeypatch.setattr(streams, "run", unavailable)
    page = tmp_path / "benchmarks.md"
    main(["scenes", "streams", "--size", "tiny", "--write", str(page)])
    header, _, scenes, skipped = capsys.readouterr().out.strip().splitlines()
    assert header.split() == list(HEADER)
    assert " scenes/s " in scenes
    assert skipped.split("  ")[0] == "streams"
    assert "no shards found" in skipped
    written = page.read_text()
    assert "Commit " in written
    assert written.endswith("| streams | not run | no shards found |  |  |\n")


def test_a_benchmark_that_there_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["scene"])
    assert "no benchmark scene; there are chunker_agreement, " in capsys.readouterr().err


def test_what_is_not_on_this_machine_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    def run(size: str, folder: str) -> None:
        raise Unavailable(f"{folder} not found")

    report(run, "doc", [], folder="here")
    assert capsys.readouterr().out == "skipped: here not found\n"


def test_ways_take_turns_and_the_best_counts() -> None:
    ticks = iter([0, 5, 10, 11, 20, 22, 30, 37])
    order: list[str] = []
    ways = {"a": lambda: order.append("a"), "b": lambda: order.append("b")}
    assert best_seconds(ways, repeats=2, clock=lambda: next(ticks)) == {"a": 2, "b": 1}
    assert order == ["a", "b", "a", "b"]
