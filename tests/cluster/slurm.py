"""A cluster of one node on this machine: Debian's slurmctld, slurmd, slurm-client and munge, on loopback."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "scancel", "scontrol", "squeue")
CONFIGURATION = """
ClusterName=weakground
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort={port}
SlurmdPort={node_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_res
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=1,sched_interval=1,bf_interval=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=30
MessageTimeout=60
MinJobAge=3600
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=1000 State=UNKNOWN
PartitionName=low Nodes={host} Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=30
PartitionName=high Nodes={host} MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
"""


def missing() -> str:
    """Why there can be no cluster here; empty if there can."""
    programs = [name for name in NEEDED if shutil.which(name, path=_path()) is None]
    if programs:
        return f"needs {', '.join(programs)} (apt install slurmctld slurmd slurm-client munge)"
    if os.geteuid():
        return "slurmd needs root"
    return ""


def _path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Slurm:
    """The daemons, and what a user would ask them.

    Args:
        folder: for all that they write; its path must be short, for it holds a socket.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "PATH": _path(), "SLURM_CONF": str(folder / "slurm.conf")}
        self.daemons: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        host = socket.gethostname()
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        text = CONFIGURATION.format(host=host, folder=self.folder, port=_free_port(), node_port=_free_port())
        (self.folder / "slurm.conf").write_text(text)
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        names = ("key-file", "socket", "log-file", "pid-file", "seed-file")
        files = [f"--{name}={self.folder}/munge.{name.split('-')[0]}" for name in names]
        self._daemon("munged", "--foreground", "--force", "--num-threads=1", *files)
        wait_for(lambda: (self.folder / "munge.socket").exists(), 20)
        self._daemon("slurmctld", "-D", "-f", str(self.folder / "slurm.conf"))
        self._daemon("slurmd", "-D", "-f", str(self.folder / "slurm.conf"))
        wait_for(lambda: "idle" in self.ask("sinfo", "--noheader", "--format=%T", check=False), 60)

    def stop(self) -> None:
        self.ask("scancel", "--user=root", check=False)
        for daemon in reversed(self.daemons):
            daemon.terminate()
        for daemon in self.daemons:
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()

    def _daemon(self, *words: str) -> None:
        with (self.folder / f"{words[0]}.out").open("wb") as output:
            self.daemons.append(
                subprocess.Popen(words, env=self.environment, stdout=output, stderr=subprocess.STDOUT)
            )

    def ask(self, *words: str, check: bool = True) -> str:
        answer = subprocess.run(words, env=self.environment, capture_output=True, text=True, check=False)
        assert not check or answer.returncode == 0, answer.stderr
        return answer.stdout

    def fact(self, job: str, name: str) -> str:
        """A fact of ``scontrol show job``, such as ``JobState``."""
        words = self.ask("scontrol", "show", "job", job).split()
        return next(word.split("=", 1)[1] for word in words if word.startswith(f"{name}="))

    def state(self, job: str) -> str:
        return self.fact(job, "JobState")

    def restarts(self, job: str) -> int:
        return int(self.fact(job, "Restarts"))

    def end(self, job: str, seconds: float = 900) -> str:
        """Waits for a job's end; returns its state."""
        wait_for(lambda: self.state(job) not in {"PENDING", "RUNNING", "COMPLETING", "CONFIGURING"}, seconds)
        return self.state(job)

    def cancel_all(self) -> None:
        self.ask("scancel", "--user=root", check=False)
        wait_for(lambda: not self.ask("squeue", "--noheader").strip(), 120)

    def run_now(self, job: str) -> None:
        """Lifts the delay (two minutes) that SLURM gives a requeued job."""
        wait_for(lambda: self.state(job) == "PENDING", 60)
        wait_for(lambda: not self.ask("scontrol", "update", f"JobId={job}", "StartTime=now"), 5)


def wait_for(condition: Callable[[], Any], seconds: float) -> None:
    """Waits until something is so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not so after {seconds} s"
        time.sleep(0.2)
