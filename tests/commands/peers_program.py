"""What a process among those of a run may do; what it prints and how it ends is tested."""

from __future__ import annotations

import os
import signal
import time

from callbacks.run import signals
from commands.peers import Peers, Place

SLEEP = 120  # far longer than a test waits


def agree(peers: Peers) -> None:
    print(peers.decide("answer", lambda: f"of process {peers.place.rank}"))
    peers.part()


def fail(peers: Peers) -> None:
    if peers.place.rank == 0:
        time.sleep(SLEEP)
    print(f"speaks: {peers.speaks_of_failure()}")
    peers.fail(1)


def fail_first(peers: Peers) -> None:
    if peers.place.rank:
        time.sleep(SLEEP)
    peers.fail(2)


def lose_the_first(peers: Peers) -> None:
    if peers.place.rank == 0:
        peers.decide("ready", lambda: "yes")
        time.sleep(1)
        os.kill(os.getpid(), signal.SIGKILL)
    peers.decide("ready", lambda: "")
    time.sleep(SLEEP)


def pass_a_signal_on(peers: Peers) -> None:
    peers.decide("ready", lambda: "yes")
    if peers.place.rank:
        os.kill(os.getpid(), signal.SIGUSR1)
        time.sleep(SLEEP)
    while not signals.received():
        time.sleep(0.05)
    print(f"received {sorted(signals.received())}")
    peers.dismiss()


CASES = {case.__name__: case for case in (agree, fail, fail_first, lose_the_first, pass_a_signal_on)}


def end_as(case: str, rank: int, port: int) -> None:
    """Meets the other process, and does what the case says."""
    signals.listen()
    peers = Peers()
    peers.meet(Place(rank, 2, "127.0.0.1", port))
    CASES[case](peers)
