"""The processes of a run decide, fail and end together."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator

import pytest

from commands.peers import Peers, is_lost_connection
from tests.commands.peers_program import CASES, end_as
from tests.forked import Forked, finish, start


@pytest.fixture(scope="module")
def running() -> Iterator[dict[str, list[Forked]]]:
    processes = {}
    for case in CASES:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        processes[case] = [start(end_as, case, rank, port) for rank in (0, 1)]
    yield processes
    for pair in processes.values():
        for forked in pair:
            forked.process.kill()


@pytest.mark.parametrize(
    ("case", "codes", "first_output", "second_output"),
    [
        ("agree", (0, 0), "of process 0\n", "of process 0\n"),
        ("fail", (1, 1), "", "speaks: True\n"),
        ("fail_first", (2, 0), "", ""),
        ("lose_the_first", (-signal.SIGKILL, 1), "", ""),
        ("pass_a_signal_on", (0, 0), f"received [{int(signal.SIGUSR1)}]\n", ""),
    ],
)
def test_two_processes(
    case: str, codes: tuple[int, int], first_output: str, second_output: str, running: dict
) -> None:
    first, second = (finish(forked) for forked in running[case])
    assert (first[0], second[0]) == codes, f"{first}\n{second}"
    assert (first[1], second[1]) == (first_output, second_output)


def test_a_process_alone_decides_and_speaks_itself() -> None:
    peers = Peers()
    assert peers.decide("answer", lambda: "mine") == "mine"
    assert peers.speaks_of_failure()
    peers.fail(1)
    peers.dismiss()
    peers.part()


def test_the_echo_of_an_end_is_known() -> None:
    assert is_lost_connection(RuntimeError("[...pair.cc:553] Connection closed by peer [127.0.0.1]:1"))
    assert not is_lost_connection(RuntimeError("CUDA out of memory"))
