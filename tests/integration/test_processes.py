"""What only processes of their own can show: signals that end a run, and two processes that share one."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import cli
from commands.ending import STOPPED
from tests.tiny import finish, last_checkpoint, metrics, start, tiny_config, write_config

TWO = ["--trainer.devices", "2", "--trainer.strategy", "ddp"]


def begin(base: Path, change: Any, *options: str, command: str = "fit") -> subprocess.Popen[str]:
    config = tiny_config()
    change(config)
    return start(
        command, "--config", write_config(base / "tiny.yaml", config), "--runs", str(base / "runs"), *options
    )


def endless(config: dict[str, Any]) -> None:
    config["trainer"] |= {"max_steps": 1_000_000, "callbacks": []}
    config["data"]["init_args"] |= {"val_size": 0, "train_size": 40_000, "num_workers": 1}


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str, Path]]:
    """Two runs that were told to stop in their midst: by SIGTERM to the process, and by Ctrl-C, which reaches
    the workers, too.
    """
    bases = {name: tmp_path_factory.mktemp(name) for name in ("SIGTERM", "SIGINT")}
    running = {name: begin(base, endless, "--save_every", "3") for name, base in bases.items()}
    for name, process in running.items():
        waited = time.monotonic() + 120
        while not (bases[name] / "runs" / "tiny" / "checkpoints" / "last.ckpt").is_file():
            assert process.poll() is None, finish(process)[1]
            assert time.monotonic() < waited
            time.sleep(0.1)
    os.kill(running["SIGTERM"].pid, signal.SIGTERM)
    os.killpg(running["SIGINT"].pid, signal.SIGINT)
    return {name: (*finish(process), bases[name]) for name, process in running.items()}


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_leaves_a_checkpoint_that_goes_on(
    name: str, stopped: dict[str, tuple[int, str, Path]]
) -> None:
    code, output, base = stopped[name]
    assert code == STOPPED, output
    assert "Traceback" not in output
    (line,) = [line for line in output.splitlines() if "stopped at step" in line]
    step = int(line.split("stopped at step ")[1].split(";")[0])
    folder = base / "runs" / "tiny"
    assert last_checkpoint(folder)["global_step"] == step > 0
    assert not list(folder.rglob("*.partial"))
    options = [
        "--trainer.max_steps",
        str(step + 2),
        "--data.init_args.num_workers",
        "0",
        "--ckpt_path",
        "last",
    ]
    assert cli.main(["fit", "--config", str(base / "tiny.yaml"), "--runs", str(base / "runs"), *options]) == 0
    assert last_checkpoint(folder)["global_step"] == step + 2


def small(config: dict[str, Any]) -> None:
    config["trainer"]["callbacks"] = config["trainer"]["callbacks"][:1]


@pytest.fixture(scope="module")
def shared(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[tuple[int, str, Path], tuple[int, str, Path], Path]:
    """Two processes train; two processes judge an untrained model; one process judges the same model."""
    fit, test, alone = (tmp_path_factory.mktemp(name) for name in ("fit", "test", "alone"))
    running = [
        begin(fit, small, *TWO, "--trainer.max_steps", "3", "--data.init_args.train_size", "24"),
        begin(test, small, *TWO, command="test"),
    ]
    config = tiny_config()
    small(config)
    assert (
        cli.main(
            ["test", "--config", write_config(alone / "tiny.yaml", config), "--runs", str(alone / "runs")]
        )
        == 0
    )
    first, second = (finish(process) for process in running)
    return (*first, fit), (*second, test), alone


def test_two_processes_train(shared: Any) -> None:
    code, output, base = shared[0]
    assert code == 0, output
    folder = base / "runs" / "tiny"
    state = last_checkpoint(folder)
    assert state["global_step"] == 3
    assert (
        int(state["state_dict"]["network.queue_ptr"]) == 3 * 2 * 4
    )  # the features of both processes went into the queue
    assert "error" not in output.lower()


def test_two_processes_judge_as_one(shared: Any) -> None:
    code, output, base = shared[1]
    assert code == 0, output
    together, alone = metrics(base / "runs" / "tiny"), metrics(shared[2] / "runs" / "tiny")
    assert (together["processes"], alone["processes"]) == (2, 1)
    assert together["results"] == alone["results"]
    decisions = [
        pq.read_table(folder / "runs" / "tiny" / "test" / "decisions.parquet") for folder in (base, shared[2])
    ]
    assert decisions[0].num_rows
    assert decisions[0].equals(decisions[1])
    assert output.count("written to") == 1  # the first process speaks for both
