"""A row a step, on disk at once; a run in parts leaves the file of the run in one piece."""

from __future__ import annotations

from pathlib import Path

from callbacks.run.metrics_file import MetricsFile, read_rows


def log(file: MetricsFile, first: int, last: int) -> None:
    """As a run does: two calls a step, and another number every third one."""
    for step in range(first, last):
        file.log_metrics({"lr": 0.1}, step)
        file.log_metrics({"loss": step / 8}, step)
        if step % 3 == 2:
            file.log_metrics({"val/accuracy": 0.5}, step)


def test_a_row_is_there_as_soon_as_it_is_logged(tmp_path: Path) -> None:
    path = tmp_path / "run" / "metrics.csv"
    file = MetricsFile(path, training=True)
    file.log_metrics({"loss": 0.5}, 4)
    assert path.read_text() == "step,loss\n4,0.5\n"
    file.log_metrics({"lr": 0.25}, 4)
    assert path.read_text() == "step,loss,lr\n4,0.5,0.25\n"
    file.log_metrics({"lr": 0.125}, 9)
    assert path.read_text() == "step,loss,lr\n4,0.5,0.25\n9,,0.125\n"


def test_parts_leave_what_one_piece_does(tmp_path: Path) -> None:
    whole = MetricsFile(tmp_path / "whole.csv", training=True)
    log(whole, 0, 12)
    for start, end in ((0, 5), (3, 9), (9, 10), (7, 12)):
        log(MetricsFile(tmp_path / "parts.csv", training=True), start, end)
    assert (tmp_path / "parts.csv").read_text() == (tmp_path / "whole.csv").read_text()


def test_a_row_that_was_cut_off_is_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    log(MetricsFile(path, training=True), 0, 3)
    whole = path.read_text()
    path.write_text(whole[:-6])
    log(MetricsFile(path, training=True), 2, 3)
    assert path.read_text() == whole


def test_a_validation_of_the_step_before_the_resumed_one_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    log(MetricsFile(path, training=True), 0, 6)
    before = path.read_text()
    MetricsFile(path, training=True).log_metrics({"val/accuracy": 0.5}, 5)
    assert path.read_text() == before


def test_a_test_adds_a_row(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    log(MetricsFile(path, training=True), 0, 4)
    MetricsFile(path, training=False).log_metrics({"test/accuracy": 0.9}, 2)
    rows = list(read_rows(path))
    assert [row["step"] for row in rows] == ["0", "1", "2", "3", "2"]
    assert rows[-1]["test/accuracy"] == "0.9"
    assert rows[2]["test/accuracy"] == ""
