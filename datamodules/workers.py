"""How the processes that read samples behave towards signals."""

from __future__ import annotations

import os
import signal
import threading


def follow_the_main_process(worker: int) -> None:
    """Lets a worker end when the main process says so, and not by a signal to all.

    Ctrl-C reaches all processes of a terminal, and a cluster's signals reach all processes of a job; the main
    one says when to stop, and needs its workers until then.

    Args:
        worker: its number.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # not on macOS, where SIGTERM keeps its effect
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_when_told, daemon=True).start()


def _end_when_told() -> None:
    """Waits for a SIGTERM of the main process, which ends workers so if they do not hear it otherwise."""
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)
