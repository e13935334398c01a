"""Uploads runs to Weights & Biases that were trained without it, or whose connection was lost.

Everything comes from a run's folder: its configuration, `metrics.csv`, pictures, and results. What an earlier
upload has sent is not sent again, and every run keeps its one id.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from commands.option_parser import option_parser
from commands.runs import RunError
from commands.wandb_account import STEP, has_account, run_options

Row = dict[str, str]
ALREADY = "sync/rows"  # in W&B's summary: how many rows of metrics.csv an upload has sent


def main(argv: list[str]) -> int:
    """Uploads runs; returns the exit code."""
    parser = option_parser("sync", __doc__)
    parser.add_argument("run", nargs="*", help="names of runs; by default all that have a metrics.csv")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of all runs")
    parser.add_argument("--best", action="store_true", help="send the best checkpoints, too, as artifacts")
    options = parser.parse_args(argv[1:])
    try:
        folders = find_runs(options.runs, options.run)
        check_account()
        for folder in folders:
            print(upload(folder, folder.relative_to(options.runs).as_posix(), options.best), flush=True)
    except RunError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def find_runs(runs: Path, names: list[str]) -> list[Path]:
    """The folders of runs that can be uploaded.

    Args:
        runs: folder of all runs.
        names: of runs; empty for all.

    Raises:
        RunError: one of them has no numbers, or none has any.
    """
    folders = sorted(path.parent for path in runs.glob("**/metrics.csv"))
    if names:
        folders = [runs / name for name in names]
    for folder in folders:
        if not (folder / "metrics.csv").is_file():
            raise RunError(f"{folder} has no metrics.csv; train it, or name another run.")
    if not folders:
        raise RunError(f"no run below {runs.absolute()} has a metrics.csv.")
    return folders


def check_account() -> None:
    """Raises `RunError` without an account."""
    if not has_account():
        raise RunError("W&B needs an account: run `wandb login`, or set WANDB_API_KEY.")


def upload(folder: Path, name: str, best: bool) -> str:
    """Uploads a run.

    Args:
        folder: of the run.
        name: of the run, as W&B shows it.
        best: whether its best checkpoint is sent, too.

    Returns:
        What was sent, in one line.

    Raises:
        RunError: W&B cannot be reached.
    """
    os.environ.setdefault("WANDB_SILENT", "true")
    import wandb

    from callbacks.run.metrics_file import read_rows  # here, so that --help is instant

    try:
        run = wandb.init(**run_options(folder, name), mode="online", config=_configuration(folder))
    except Exception as error:
        raise RunError(f"W&B cannot be reached ({error}); try again later.") from error
    run.define_metric(STEP)
    run.define_metric("*", step_metric=STEP)
    rows = list(read_rows(folder / "metrics.csv"))
    new_rows = unsent(rows, run.summary.get(ALREADY), run.summary.get(STEP))
    for row in new_rows:
        run.log(numbers(row))
    for path in sorted(folder.glob("*/pictures/*.png")):
        if path.stem[-3:-2] != "-":  # sheets, not their single panels
            run.log({f"{path.parts[-3]}/pictures/{path.stem}": wandb.Image(str(path))})
    table = results_table(folder)
    if table:
        run.log({"test/results": wandb.Table(columns=table[0], data=table[1])})
    run.summary[ALREADY] = len(rows)
    checkpoint = folder / "checkpoints" / "best.ckpt"
    if best and checkpoint.is_file():
        artifact = wandb.Artifact(f"model-{run.id}", type="model")
        artifact.add_file(str(checkpoint))
        run.log_artifact(artifact, aliases=["best"])
    run.finish()
    return f"{name}: {len(new_rows)} of {len(rows)} rows sent"


def _configuration(folder: Path) -> dict[str, Any]:
    path = folder / "config.yaml"
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}


def unsent(rows: list[Row], already: int | None, last_step: float | None) -> list[Row]:
    """The rows that W&B does not have.

    Args:
        rows: of ``metrics.csv``.
        already: how many of them an earlier upload has sent; None if there was none.
        last_step: the last step that the run itself has sent while it was online.

    Example:
        >>> unsent([{"step": "4"}, {"step": "9"}], None, 4.0)
        [{'step': '9'}]
        >>> unsent([{"step": "4"}, {"step": "9"}], None, None)
        [{'step': '4'}, {'step': '9'}]
    """
    if already is not None:
        return rows[int(already) :]
    if last_step is None:
        return rows
    return [row for row in rows if int(row["step"]) > last_step]


def numbers(row: Row) -> dict[str, float]:
    """A row as W&B takes it.

    Example:
        >>> numbers({"step": "4", "train/loss": "0.5", "val/loss": ""})
        {'train/loss': 0.5, 'trainer/global_step': 4.0}
    """
    values = {name: float(text) for name, text in row.items() if text and name != "step"}
    return values | {STEP: float(row["step"])}


def results_table(folder: Path) -> tuple[list[str | int], list[list[Any]]] | None:
    """The results of a run's test: the names of the columns, and the rows; None if it was not tested."""
    path = folder / "test" / "metrics.json"
    if not path.is_file():
        return None
    results: Iterable[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["results"]
    rows = [list(result.values()) for result in results]
    columns: list[str | int] = list(next(iter(results), {}))
    return columns, rows
