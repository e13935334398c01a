from __future__ import annotations

from pathlib import Path

import pytest

from datamodules.errors import DataError
from datamodules.skips import LEFT_OUT, SkipLog


def test_each_record_is_written_once(tmp_path: Path) -> None:
    log = SkipLog(tmp_path / "deep" / "skipped.tsv", 1000, 0.5)
    log.add([])
    assert not log.path.parent.exists()
    log.add(["a\ttorn", "b\tempty"])
    log.add(["a\ttorn again"])
    log.add(["ü\tgone"])
    assert log.path.read_text(encoding="utf-8") == "a\ttorn\nb\tempty\nü\tgone\n"
    assert len(log.seen) == 3


def test_too_many_stop_the_run_with_one_sentence(tmp_path: Path) -> None:
    log = SkipLog(tmp_path / "skipped.tsv", 200, 0.05)
    log.add([f"{n}\ttorn" for n in range(10)])
    log.add([f"{n}\ttorn" for n in range(10)])  # the same ones again
    with pytest.raises(DataError) as stopped:
        log.add(["10\ttorn"])
    text = str(stopped.value)
    assert text.startswith("11 of 200 records could not be read, more than max_skipped=5.00%")
    assert str(log.path) in text
    assert "\n" not in text
    assert len(log.path.read_text().splitlines()) == 11


def test_a_handful_is_always_forgiven(tmp_path: Path) -> None:
    log = SkipLog(tmp_path / "skipped.tsv", 20, 0.0)
    log.add([f"{n}\ttorn" for n in range(SkipLog.grace)])
    with pytest.raises(DataError):
        log.add(["one more\ttorn"])


def test_names_that_are_no_utf8_are_escaped(tmp_path: Path) -> None:
    log = SkipLog(tmp_path / "skipped.tsv", 20, 1.0)
    log.add(["caf\udce9.png\ttorn", "\ud800\ttorn"])
    assert log.path.read_text() == "caf\\udce9.png\ttorn\n\\ud800\ttorn\n"


def test_what_is_left_out_stops_no_run(tmp_path: Path) -> None:
    log = SkipLog(tmp_path / "skipped.tsv", 20, 0.0)
    log.add([f"{n}\t{LEFT_OUT}no phrase" for n in range(20)])
    assert (len(log.seen), log.unreadable) == (20, 0)
