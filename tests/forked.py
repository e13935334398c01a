"""Processes that need not import anything again, since each is forked from the one that runs the tests.

A fresh interpreter spends more processor time on importing torch and Lightning than a tiny run takes.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple

import cli
from tests.tiny import ROOT


class Forked(NamedTuple):
    """A process, and the file that holds what it prints."""

    process: BaseProcess
    output: Path


def start(function: Callable[..., int | None], *arguments: Any) -> Forked:
    """Calls a function in a process and a session of its own; its result is the exit code."""
    descriptor, path = tempfile.mkstemp(prefix="forked-")
    process = multiprocessing.get_context("fork").Process(
        target=_call, args=(descriptor, function, arguments)
    )
    process.start()
    os.close(descriptor)
    return Forked(process, Path(path))


def start_cli(*arguments: str, **environment: str) -> Forked:
    """``python cli.py ...`` in the repository's folder, with further environment variables."""
    return start(_cli, arguments, environment)


def finish(forked: Forked, seconds: float = 180.0) -> tuple[int, str]:
    """Its exit code, negative for the signal that ended it, and all that it printed."""
    forked.process.join(seconds)
    code = forked.process.exitcode
    if code is None:
        forked.process.kill()
    output = forked.output.read_text()
    forked.output.unlink()
    assert code is not None, f"still running after {seconds} s:\n{output[-3000:]}"
    return code, output


def _call(descriptor: int, function: Callable[..., int | None], arguments: tuple[Any, ...]) -> None:
    os.setsid()
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    # Their handlers write to the stream that was there when they were made.
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        for handler in logging.getLogger(name).handlers:
            if isinstance(handler, logging.StreamHandler):
                handler.setStream(sys.stderr)
    sys.exit(function(*arguments))


def _cli(arguments: tuple[str, ...], environment: dict[str, str]) -> int:
    os.chdir(ROOT)
    os.environ.update({"CUDA_VISIBLE_DEVICES": "", **environment})
    # What Lightning starts again for the second process of a run.
    sys.argv = [str(ROOT / "cli.py"), *arguments]
    sys.modules["__main__"].__spec__ = None
    return cli.program(list(arguments))
