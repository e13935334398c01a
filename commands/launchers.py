"""Who started the processes of a run (SLURM's srun, torchrun, Lightning itself), and whether rightly."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from lightning.fabric.plugins.environments import (
    ClusterEnvironment,
    LightningEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)

from commands.command_line import ConfigError
from commands.ending import USAGE_ERROR
from commands.peers import Place

# Jobs in which a person types commands; they are not meant to start several processes by themselves.
INTERACTIVE = ("bash", "interactive")


def cluster_environment() -> ClusterEnvironment | None:
    """What started the processes of this run, for the trainer; None leaves it to Lightning to find out.

    Lightning's requeueing is off: its handler saves in the midst of a step, and talks to the other processes
    while the step may be doing so.

    Raises:
        ConfigError: SLURM gave the job several tasks, but they were not started in the right way.
    """
    if TorchElasticEnvironment.detect():
        return TorchElasticEnvironment()
    check_tasks(os.environ)
    if int(os.environ.get("SLURM_NTASKS", 1)) > 1 and "SLURM_STEP_ID" in os.environ:
        return SLURMEnvironment(auto_requeue=False)
    if "SLURM_NTASKS" in os.environ:
        return LightningEnvironment()  # which starts further processes itself, if the trainer asks for them
    return None


def check_tasks(variables: Mapping[str, str]) -> None:
    """Checks how the tasks of a SLURM job were started.

    Args:
        variables: the environment.

    Raises:
        ConfigError: they were not started by srun, or not as many on each node.
        SystemExit: as before, and the first of them says so.
    """
    tasks = int(variables.get("SLURM_NTASKS", 1))
    if tasks < 2 or variables.get("SLURM_JOB_NAME") in INTERACTIVE:
        return
    if "SLURM_STEP_ID" not in variables:
        raise ConfigError(
            f"this job has {tasks} tasks, but one process was started: put `srun` before the command, or ask "
            "for one task (--ntasks=1)."
        )
    if "SLURM_NTASKS_PER_NODE" not in variables:
        nodes = int(variables.get("SLURM_NNODES", 1))
        if variables.get("SLURM_PROCID", "0") != "0":
            raise SystemExit(USAGE_ERROR)
        raise ConfigError(
            f"srun started {tasks} tasks without saying how many on each node: give it "
            f"--ntasks-per-node={-(-tasks // nodes)} --nodes={nodes} in place of --ntasks."
        )


def place_of(environment: ClusterEnvironment | None) -> Place | None:
    """Where this process stands among those that srun, torchrun or Lightning started; None if it is alone.

    The process that will start others itself is alone as yet.
    """
    if isinstance(environment, SLURMEnvironment | TorchElasticEnvironment):
        return _place_in_cluster(environment)
    if "LOCAL_RANK" in os.environ and os.environ["LOCAL_RANK"] != "0" and "MASTER_PORT" in os.environ:
        return Place(
            int(os.environ["LOCAL_RANK"]),
            int(os.environ["WORLD_SIZE"]),
            os.environ["MASTER_ADDR"],
            int(os.environ["MASTER_PORT"]),
        )
    return None


def _place_in_cluster(environment: ClusterEnvironment) -> Place:
    return Place(
        environment.global_rank(),
        environment.world_size(),
        environment.main_address,
        environment.main_port,
        hosted=os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
    )


def fit_trainer(trainer: Any, processes: int) -> None:
    """Sets the trainer's numbers of devices and nodes that were left open to what was started.

    Args:
        trainer: its configuration.
        processes: that were started.

    Raises:
        ConfigError: the configuration asks for another number of processes.
    """
    nodes = int(os.environ.get("SLURM_NNODES", os.environ.get("GROUP_WORLD_SIZE", 1)))
    devices = processes // nodes
    if trainer.devices == "auto":
        trainer.devices = devices
    if trainer.num_nodes == 1:
        trainer.num_nodes = nodes
    asked = f"--trainer.devices {trainer.devices} --trainer.num_nodes {trainer.num_nodes}"
    if str(trainer.devices) != str(devices) or trainer.num_nodes != nodes:
        raise ConfigError(
            f"{processes} processes were started on {nodes} nodes, but the configuration has "
            f"{asked}: leave both out, or start as many."
        )
