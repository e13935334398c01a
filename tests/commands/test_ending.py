"""When a job that was told to stop asks SLURM for another start."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from callbacks.run import signals
from commands.ending import CONTINUED, STOPPED, stopped_code

SCONTROL = """#!/bin/sh
echo "$@" >> {folder}/asked
echo "JobId=7 PreemptTime={preempted} PreemptEligibleTime=2026-01-01T00:00:00"
"""


@pytest.fixture(autouse=True)
def listening() -> Iterator[None]:
    assert signals.listen()
    yield
    signals.stop_listening()


@pytest.mark.parametrize(
    ("number", "preempted", "progressed", "code", "requeued"),
    [
        (signal.SIGTERM, "None", True, STOPPED, False),
        (signal.SIGTERM, "2026-01-01T00:00:00", True, CONTINUED, True),
        (signal.SIGTERM, "2026-01-01T00:00:00", False, CONTINUED, True),
        (signal.SIGUSR1, "None", True, CONTINUED, True),
        (signal.SIGUSR1, "None", False, CONTINUED, False),  # it would never get anywhere
    ],
)
def test_a_job_asks_for_another_start(
    number: signal.Signals,
    preempted: str,
    progressed: bool,
    code: int,
    requeued: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scontrol = tmp_path / "scontrol"
    scontrol.write_text(SCONTROL.format(folder=tmp_path, preempted=preempted))
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.delenv("SLURM_ARRAY_JOB_ID", raising=False)
    os.kill(os.getpid(), number)
    assert stopped_code(progressed) == code
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked == ["show job 7", "requeue 7"][: 1 + requeued]


def test_outside_a_job_nothing_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    os.kill(os.getpid(), signal.SIGUSR1)
    assert stopped_code(progressed=True) == CONTINUED
    signals.stop_listening()
    assert signals.listen()
    os.kill(os.getpid(), signal.SIGTERM)
    assert stopped_code(progressed=True) == STOPPED
