"""What all benchmarks share: command line, report, timing in turns, and calls in processes of their own."""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, NamedTuple, TypeVar

import torch
from tqdm import tqdm

Size = Literal["tiny", "full"]
Result = TypeVar("Result")


class Unavailable(Exception):
    """What a benchmark needs is not on this machine; the message says what, and how to name it."""


class Row(NamedTuple):
    """A row of the table of all benchmarks.

    Args:
        path: what was measured.
        ours: what it reaches, with its unit.
        baseline: what the other way reaches, and which way that is.
        ratio: of the two; how often as fast ours is, where speed is measured.
        memory: ours, as a share of the baseline's or with its unit; empty where it was not measured.
    """

    path: str
    ours: str
    baseline: str
    ratio: float
    memory: str = ""


@dataclass(frozen=True)
class Report:
    """What a benchmark found.

    Args:
        lines: the text for the reader.
        rows: for the table of all benchmarks.
    """

    lines: Sequence[str]
    rows: Sequence[Row]


def rate_row(path: str, unit: str, ours: float, baseline: float, way: str, memory: str = "") -> Row:
    """A row of two rates.

    Args:
        path: what was measured.
        unit: of what is counted, e.g. ``images``.
        ours: so many a second.
        baseline: so many a second.
        way: what the baseline does.
        memory: see `Row`.

    Example:
        >>> rate_row("reading", "images", 350, 175, "PIL").ours
        '350 images/s'
    """
    return Row(path, f"{short(ours)} {unit}/s", f"{short(baseline)}, {way}", ours / baseline, memory)


def short(number: float) -> str:
    """Three digits, or all in front of the point.

    Example:
        >>> short(1234.5), short(1.2345)
        ('1,234', '1.23')
    """
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def names() -> list[str]:
    """The benchmarks, which are the modules of this folder whose names do not start with an underscore."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if not path.stem.startswith("_"))


def report(
    run: Callable[..., Report], description: str | None, argv: Sequence[str] | None, **defaults: Any
) -> None:
    """Runs a benchmark as its command line says, and prints what it found.

    Args:
        run: takes ``size`` and an argument for each of ``defaults``.
        description: the benchmark's docstring, for ``--help``.
        argv: the command line without the program's name; None for this process's own.
        defaults: further options, each of the type of its default.
    """
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=description, formatter_class=formatter)
    parser.add_argument("--size", choices=("tiny", "full"), default="full", help="tiny: seconds, for a test")
    for name, default in defaults.items():
        parser.add_argument(f"--{name}", type=type(default), default=default, help="default: %(default)s")
    try:
        print("\n".join(run(**vars(parser.parse_args(argv))).lines))
    except Unavailable as reason:
        print(f"skipped: {reason}")


def trainer_half_an_epoch_on() -> Any:
    """What a training step asks of its trainer, half an epoch after the start, where there is no trainer."""
    progress = SimpleNamespace(batch_progress=SimpleNamespace(current=SimpleNamespace(processed=1)))
    return SimpleNamespace(
        world_size=1,
        accumulate_grad_batches=1,
        current_epoch=0,
        num_training_batches=2,
        fit_loop=SimpleNamespace(epoch_loop=progress),
    )


def best_seconds(
    ways: Mapping[str, Callable[[], object]],
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """The shortest time of each way. They take turns, so that whatever else the machine does slows all."""
    best = dict.fromkeys(ways, float("inf"))
    for _ in tqdm(range(repeats), desc="repeats", leave=False):
        for name, way in ways.items():
            start = clock()
            way()
            best[name] = min(best[name], clock() - start)
    return best


def peak_memory(step: Callable[[], object], device: str = "cpu") -> float:
    """MiB that a call needs at most beyond what was there before.

    On a CPU that is resident memory (Linux), which never shrinks: call it within a process of its own.
    """
    if device != "cpu":
        allocated = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step()
        return (torch.cuda.max_memory_allocated() - allocated) / 2**20
    Path("/proc/self/clear_refs").write_text("5")  # the highest resident memory starts anew
    before = highest_resident()
    step()
    return highest_resident() - before


def highest_resident() -> float:
    """MiB that this process has had at most, its share of mapped files included (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def in_own_process(function: Callable[..., Result], *arguments: Any) -> Result:
    """The result of a call in a fresh process, whose peak memory is that of the call.

    Raises:
        BrokenProcessPool: the process was killed, as for want of memory.
    """
    with ProcessPoolExecutor(1, fresh_processes(), _fork_children) as pool:
        return pool.submit(function, *arguments).result()


def _fork_children() -> None:
    """What a fresh process starts itself, as the workers of a data loader, shall be its own children."""
    multiprocessing.set_start_method("fork", force=True)


def fresh_processes() -> Any:
    """A `multiprocessing` context whose processes start empty but for the imports of the benchmarks."""
    context = multiprocessing.get_context("forkserver")
    modules = {f"benchmarks.{name}" for name in names()}
    main = sys.modules["__main__"].__spec__  # which every process imports by itself, under another name
    context.set_forkserver_preload(sorted(modules - {main.name if main else ""}))
    return context
