"""The processes that share a run: one of them decides and speaks, and none outlives the others."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from callbacks.run import signals
from commands.runs import RunError

MEETING = timedelta(minutes=10)  # until all processes of a run have started
WATCH = 0.5  # seconds between two looks at the others
PARTING = 15.0  # seconds that the first process waits for the others at the end
GONE = (
    "another process of this run is gone (killed, out of memory, or its node lost); `--ckpt_path last` goes "
    "on from the last checkpoint."
)
# What libraries say when the other end of a connection has been lost.
LOST_CONNECTION = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "ncclRemoteError")

_meetings = 0


@dataclass(frozen=True)
class Place:
    """Where a process stands among those of a run.

    Args:
        rank: its number; the first is 0.
        size: how many they are.
        address: of the first process.
        port: of the first process; the process group meets there, too.
        hosted: whether the launcher keeps the meeting place (torchrun), and not the first process.
    """

    rank: int
    size: int
    address: str
    port: int
    hosted: bool = False


class Peers:
    """The processes of a run, as one of them sees the others. Alone until `meet` is called.

    All of them are connected to one small key-value store (the one in which torch's process group meets,
    too). A thread looks there twice a second: a process whose run has ended elsewhere ends, too, even where
    it waits for an answer that will never come.
    """

    def __init__(self) -> None:
        self.place = Place(0, 1, "", 0)
        self._store: Any = None
        self._parted = threading.Event()

    def meet(self, place: Place, wait: bool = True) -> None:
        """Connects with the others.

        Args:
            place: of this process.
            wait: whether to wait until all of them are there; not for a process that has yet to start them.

        Raises:
            RunError: some have not come.
        """
        global _meetings
        from torch.distributed import PrefixStore, TCPStore

        self.place = place
        _meetings += 1
        # Several connections of one process to one address share a server.
        name = f"weakground/{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}/{_meetings}"
        first = place.rank == 0 and not place.hosted

        def connect() -> Any:
            store = TCPStore(
                place.address, place.port, None, first, MEETING, wait_for_workers=False, multi_tenant=True
            )
            return PrefixStore(name, store)

        self._store = connect()
        self._store.add("met", 1)
        if wait:
            self._wait_until(self._all_met, MEETING.total_seconds())
            if not self._all_met():
                raise RunError(
                    f"only {self._store.add('met', 0)} of {place.size} processes have started within "
                    f"{MEETING.total_seconds() / 60:.0f} minutes; the output of the others says why."
                )
        threading.Thread(target=self._watch, args=(connect(),), daemon=True, name="peers").start()

    def decide(self, name: str, make: Callable[[], str]) -> str:
        """What the first process says; the others wait for it.

        Args:
            name: of the question.
            make: answers it; called by the first process alone.
        """
        if self._store is None:
            return make()
        if self.place.rank == 0:
            self._store.set(name, make())
        return self._store.get(name).decode()

    def speaks_of_failure(self) -> bool:
        """Whether this process, in which the run has failed, is the first to say so, and should say why."""
        if self._store is None:
            return True
        try:
            return self._store.add("failures", 1) == 1
        except RuntimeError:  # the first process is gone, and with it the store
            return self.place.rank == 1

    def fail(self, code: int) -> None:
        """Ends all processes, this one with an exit code, since the run has failed here. Alone, it goes on.

        Where the first process fails, the others end with 0. None waits for Python to clear up: srun answers
        a bad exit code with SIGTERM, which would become the exit code of one that is still at it.
        """
        if self._store is None:
            return
        with suppress(RuntimeError):
            self._end_all(0 if self.place.rank == 0 else code)
        self._end_here(code)

    def dismiss(self) -> None:
        """Ends the others, wherever they are; the first process then does what is left to do."""
        if self._store is not None and self.place.rank == 0:
            self._end_all(0)

    def part(self) -> None:
        """Leaves a run that has come to its end; the first process waits for the others."""
        if self._store is None or self._parted.is_set():
            return
        try:
            if self.place.rank == 0:
                self._wait_until(self._all_parted, PARTING)
            self._parted.set()
            self._store.add("parted", 1)
        except RuntimeError:
            self._parted.set()

    def _end_all(self, code: int) -> None:
        self._parted.set()
        self._store.set("over", str(code))
        if self.place.rank == 0:
            self._wait_until(self._all_parted, PARTING)
        else:
            self._store.add("parted", 1)

    def _all_met(self) -> bool:
        return self._store.add("met", 0) >= self.place.size

    def _all_parted(self) -> bool:
        return self._store.add("parted", 0) >= self.place.size - 1

    @staticmethod
    def _wait_until(condition: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.05)

    def _watch(self, store: Any) -> None:
        passed_on = False
        while not self._parted.wait(WATCH):
            try:
                if self.place.rank == 0 and store.check(["signal"]):
                    signals.note(int(store.get("signal")))
                elif self.place.rank and signals.received() and not passed_on:
                    store.set("signal", str(int(max(signals.received()))))
                    passed_on = True
                if not store.check(["over"]):
                    continue
                code = int(store.get("over"))
                store.add("parted", 1)
            except RuntimeError:  # the first process is gone
                code = 1
            if not self._parted.is_set():
                self._end_here(code)

    @staticmethod
    def _end_here(code: int) -> None:
        """Ends this process from its thread, as the main one may be waiting for a lost process."""
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def is_lost_connection(error: BaseException) -> bool:
    """Whether an error is but the echo of another process's end."""
    return any(text in str(error) for text in LOST_CONNECTION)
