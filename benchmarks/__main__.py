"""Runs benchmarks one after another, and puts what they found into one table.

    python -m benchmarks [NAME ...] [--size tiny] [--write docs/benchmarks.md]

All of them take hours on two cores; most of the time goes to `kills`, `streams` and `gradient_cache`.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

import torch
from tqdm import tqdm

from benchmarks._common import Row, Size, Unavailable, names
from callbacks.evaluations.results import format_rows

HEADER = ("path", "ours", "baseline", "ratio", "memory")
INTRODUCTION = """# Benchmarks

Written by `python -m benchmarks {arguments}`.
{machine}.

Ours and the baseline take turns in one process and give equal results, which each benchmark checks first.
The ratio says how often as fast ours is or, where no speed is measured, how the two numbers compare. Memory
is ours as a share of the baseline's. Further measurements: [speed](results/speed.md).

"""


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the benchmarks that the command line names."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__, formatter_class=formatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names())}; by default all")
    parser.add_argument("--size", choices=("tiny", "full"), default="full", help="tiny: seconds, for a test")
    parser.add_argument("--write", type=Path, help="a page that keeps the table")
    options = parser.parse_args(argv)
    unknown = set(options.names) - set(names())
    if unknown:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(names())}.")
    chosen = options.names or names()
    cells = []
    for name in tqdm(chosen, desc="benchmarks", leave=False):
        cells += list(rows_of(name, options.size))
        if options.write:  # after each, so that nothing is lost if the next one breaks off
            introduction = INTRODUCTION.format(
                arguments=" ".join([*chosen, f"--size {options.size}"]), machine=machine()
            )
            options.write.write_text(introduction + markdown(cells), encoding="utf-8")
    print(format_rows(HEADER, cells))


def rows_of(name: str, size: Size) -> Iterator[list[str]]:
    """The cells of a benchmark's rows; one row with the reason where it cannot run here."""
    try:
        rows: Sequence[Row] = import_module(f"benchmarks.{name}").run(size).rows
    except Unavailable as reason:
        yield [name, "not run", str(reason), "", ""]
        return
    for row in rows:
        yield [row.path, row.ours, row.baseline, f"{row.ratio:.2f}", row.memory]


def markdown(cells: Sequence[Sequence[str]]) -> str:
    """A table of Markdown.

    Example:
        >>> print(markdown([["reading", "9 images/s", "3, PIL", "3.00", ""]]), end="")
        | path | ours | baseline | ratio | memory |
        |---|---|---|---|---|
        | reading | 9 images/s | 3, PIL | 3.00 |  |
    """
    rows = [HEADER, ["---"] * len(HEADER), *cells]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    lines[1] = "|---" * len(HEADER) + "|"
    return "\n".join(lines) + "\n"


def machine() -> str:
    """Commit, day, processor, torch, and how busy the machine is with all that runs on it."""
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"], capture_output=True, text=True, check=False
    )
    parts = [
        f"Commit {described.stdout.strip() or 'unknown'}",
        f"{datetime.now(UTC):%Y-%m-%d}",
        f"{os.cpu_count()} cores of {processor()}",
        f"torch {torch.__version__} on {torch.get_num_threads()} thread(s)",
        f"load {os.getloadavg()[0]:.1f}",
    ]
    return ", ".join(parts)


def processor() -> str:
    """Its name as Linux knows it, else its architecture."""
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


if __name__ == "__main__":
    main()
