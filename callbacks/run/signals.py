"""Signals that ask a run to stop. A handler takes note of them, and does nothing else.

Whatever has to be done about a signal (save, close the loggers, ask the cluster for another start) is done by
the run at a moment at which nothing is half done: see `callbacks.run.last_checkpoint` and
`callbacks.run.stopping`. Nothing heavy is imported here, so that a command can listen before all else.
"""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any

# What a cluster sends some time before a job's limit is reached: `#SBATCH --signal=USR1@120`.
WARNING = signal.SIGUSR1
SIGNALS = (signal.SIGINT, signal.SIGTERM, WARNING)
CTRL_C = b"stopping as soon as nothing is half done; Ctrl-C again stops at once.\n"

_received: set[int] = set()
_previous: dict[int, Any] = {}


class Stopped(Exception):
    """A run ends because of a signal, at a moment at which it has nothing to save.

    Args:
        message: what is left, for the user.
        trainer: of the run; None before there is one.
        progressed: whether this start has trained for a step at least.
    """

    def __init__(self, message: str, trainer: Any = None, progressed: bool = False) -> None:
        super().__init__(message)
        self.trainer = trainer
        self.progressed = progressed


def listen() -> bool:
    """Takes note of signals from now on.

    Returns:
        Whether that is new: False if signals were noted before, or outside the main thread, where Python
        cannot say how signals are handled.
    """
    if _previous or threading.current_thread() is not threading.main_thread():
        return False
    _received.clear()
    for number in SIGNALS:
        _previous[number] = signal.signal(number, _note)
    return True


def stop_listening() -> None:
    """Gives the signals back to whoever handled them before, and forgets those that came."""
    for number, handler in _previous.items():
        signal.signal(number, handler)
    _previous.clear()
    _received.clear()


def note(number: int) -> None:
    """Takes note of a signal that another process of the run has received."""
    _received.add(number)


def received() -> frozenset[int]:
    """The signals that came since somebody began to listen."""
    return frozenset(_received)


def _note(number: int, frame: FrameType | None) -> None:
    if number == signal.SIGINT:
        if number in _received:
            raise KeyboardInterrupt
        os.write(2, CTRL_C)  # `print` may be at work in what was interrupted
    _received.add(number)
