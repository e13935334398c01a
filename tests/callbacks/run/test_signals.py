"""Signals are noted, and nothing else happens."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from callbacks.run import signals


@pytest.fixture(autouse=True)
def listening() -> Iterator[None]:
    assert signals.listen()
    yield
    signals.stop_listening()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_is_noted_however_often_it_comes(number: int) -> None:
    assert not signals.received()
    for _ in range(3):
        os.kill(os.getpid(), number)
    assert signals.received() == {number}


def test_a_second_ctrl_c_stops_at_once(capfd: pytest.CaptureFixture[str]) -> None:
    os.kill(os.getpid(), signal.SIGINT)
    assert "Ctrl-C again stops at once" in capfd.readouterr().err
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


def test_handlers_are_given_back() -> None:
    signals.stop_listening()
    before = signal.getsignal(signal.SIGTERM)
    assert signals.listen()
    assert not signals.listen()  # they are ours already
    os.kill(os.getpid(), signal.SIGTERM)
    signals.stop_listening()
    assert not signals.received()
    assert signal.getsignal(signal.SIGTERM) is before
    assert signals.listen()
