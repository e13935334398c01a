"""The script that SLURM is given for a run, or for many of them as one array."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from commands.program import PROGRAM
from commands.runs import RunError
from commands.suggest import nearest
from lightning_modules.project_files import project_file

Commands = list[list[str]]  # what one job does: subcommands with their options, one after the other


@dataclass(frozen=True)
class Cluster:
    """A cluster as `configs/cluster/*.yaml` describe it.

    Args:
        partition: where jobs go; null for the cluster's default.
        account: that is charged; null for the user's default.
        nodes: of a job.
        gpus_per_node: of a job; 0 trains on processors.
        tasks_per_node: processes on each node; by default one for each GPU.
        cpus_per_task: processors of each process, for itself and the readers of images.
        memory: of a node, e.g. ``120G``; null for the cluster's default.
        time: limit of one start, ``[days-]hours:minutes:seconds``.
        warning: seconds before that limit at which the run is told to save; a step, a save and the closing
            of W&B must fit.
        requeue: whether a run that reaches the limit, or whose node fails, is started again.
        setup: lines of shell before the command, e.g. ``module load cuda``.
        container: what the command is run within, e.g. ``apptainer exec --nv weakground.sif``.
        python: the interpreter.
        options: further options for sbatch, e.g. ``--qos=long``.
    """

    partition: str | None = None
    account: str | None = None
    nodes: int = 1
    gpus_per_node: int = 0
    tasks_per_node: int | None = None
    cpus_per_task: int = 1
    memory: str | None = None
    time: str = "24:00:00"
    warning: int = 120
    requeue: bool = True
    setup: list[str] = field(default_factory=list)
    container: str | None = None
    python: str = "python"
    options: list[str] = field(default_factory=list)

    @property
    def tasks(self) -> int:
        """Processes on each node."""
        return self.tasks_per_node or max(1, self.gpus_per_node)


def read_cluster(path: Path) -> Cluster:
    """Reads the description of a cluster.

    Raises:
        RunError: there is no such file, or it holds something else.
    """
    try:
        content = yaml.safe_load(project_file(path).read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError) as error:
        raise RunError(f"{path} cannot be read as the description of a cluster ({error}).") from error
    names = [option.name for option in dataclasses.fields(Cluster)]
    for name in content:
        if name not in names:
            raise RunError(f"{path}: no option {name!r}{nearest(str(name), names) or '.'}")
    return Cluster(**content)


def sbatch_script(cluster: Cluster, jobs: Sequence[Commands], name: str, folder: Path, logs: Path) -> str:
    """A script for sbatch.

    Args:
        cluster: where it runs.
        jobs: what is run; more than one become an array.
        name: of the job.
        folder: in which the commands run.
        logs: folder of the jobs' output.
    """
    is_array = len(jobs) > 1
    options: dict[str, Any] = {
        "job-name": name,
        "partition": cluster.partition,
        "account": cluster.account,
        "nodes": cluster.nodes,
        "ntasks-per-node": cluster.tasks,
        "gpus-per-node": cluster.gpus_per_node or None,
        "cpus-per-task": cluster.cpus_per_task,
        "mem": cluster.memory,
        "time": cluster.time,
        "signal": f"USR1@{cluster.warning}",
        "open-mode": "append",  # a requeued job goes on in the same file
        "output": logs / ("%x-%A_%a.out" if is_array else "%x-%j.out"),
        "array": f"0-{len(jobs) - 1}" if is_array else None,
    }
    lines = ["#!/bin/bash"]
    lines += [f"#SBATCH --{option}={value}" for option, value in options.items() if value is not None]
    lines.append("#SBATCH --requeue" if cluster.requeue else "#SBATCH --no-requeue")
    lines += [f"#SBATCH {option}" for option in cluster.options]
    lines += ["", "set -e", f"cd {shlex.quote(str(folder))}", *cluster.setup, ""]
    if is_array:
        lines.append("case $SLURM_ARRAY_TASK_ID in")
        for number, commands in enumerate(jobs):
            steps = [f"    {step(cluster, command)}" for command in commands]
            lines += [f"{number})", *steps, "    ;;"]
        lines.append("esac")
    else:
        lines += [step(cluster, command) for command in jobs[0]]
    return "\n".join(lines) + "\n"


def step(cluster: Cluster, command: list[str]) -> str:
    """A line that runs a subcommand on all processes of a job.

    ``--kill-on-bad-exit`` lets none of them outlive another; srun does not take over the processors of a task
    by itself.
    """
    words = [*shlex.split(cluster.container or ""), cluster.python, *PROGRAM, *command]
    return f"srun --kill-on-bad-exit=1 --cpus-per-task={cluster.cpus_per_task} {shlex.join(words)}"
