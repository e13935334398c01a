"""How a run ends: exit codes, its loggers, and another start from the cluster."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from typing import Any

from callbacks.run import signals

DONE = 0
USER_ERROR = 1  # what a user can mend; also an error of the program itself, with a traceback
USAGE_ERROR = 2  # a wrong command line or configuration
CONTINUED = 75  # the cluster's warning ended it, and it can go on
STOPPED = 130  # Ctrl-C or SIGTERM ended it

# A logger that cannot reach its server must not use up the time in which the job can still be requeued.
LOGGER_SECONDS = 30.0


def close_loggers(trainer: Any) -> None:
    """Closes the loggers of a run, waiting for each of them for a while at most."""
    for logger in getattr(trainer, "loggers", []):
        close = getattr(logger, "close", None)
        if close is not None:
            thread = threading.Thread(target=close, daemon=True)
            thread.start()
            thread.join(LOGGER_SECONDS)


def stopped_code(progressed: bool) -> int:
    """Ends a run that a signal has stopped: asks for another start where the cluster gave a warning, or needs
    the nodes for another job.

    Args:
        progressed: whether this start has trained for a step at least. One that has not would not do so the
            next time, and be started again and again.

    Returns:
        The exit code of the first process.
    """
    if is_preempted():
        requeue()
        return CONTINUED
    if signals.WARNING not in signals.received():
        return STOPPED
    if not progressed:
        print(
            "not requeued: the time limit left no room for a training step; give the job more time.",
            file=sys.stderr,
        )
    elif "SLURM_JOB_ID" in os.environ:
        requeue()
    return CONTINUED


def is_preempted() -> bool:
    """Whether SLURM makes room for another job.

    It sends SIGTERM then, as to a job that is cancelled, and puts the job back into the queue only if the job
    has not ended by itself when its grace time is over.
    """
    scontrol = shutil.which("scontrol")
    if scontrol is None or "SLURM_JOB_ID" not in os.environ:
        return False
    command = [scontrol, "show", "job", os.environ["SLURM_JOB_ID"]]
    answer = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return "PreemptTime=" in answer and "PreemptTime=None" not in answer


def requeue() -> bool:
    """Asks SLURM to start this job again; says so, or why it cannot."""
    job = os.environ["SLURM_JOB_ID"]
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    scontrol = shutil.which("scontrol")
    if scontrol is None:
        print(f"job {job} is not requeued: there is no scontrol on this node.", file=sys.stderr)
        return False
    # Before the request: SLURM ends this process as soon as it has it.
    print(f"job {job} goes back into the queue.", flush=True)
    answer = subprocess.run([scontrol, "requeue", job], capture_output=True, text=True, check=False)
    if answer.returncode:
        print(f"job {job} is not requeued: {answer.stderr.strip()}.", file=sys.stderr)
    return answer.returncode == 0
