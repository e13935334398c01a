"""What only processes of their own can show: signals that end a run, and two processes that share one."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

import cli
from commands.ending import CONTINUED, STOPPED
from datamodules.sets.scenes import Scenes
from tests.forked import Forked, finish, start_cli
from tests.tiny import last_checkpoint, metrics, tiny_config, write_config

TWO = ["--trainer.devices", "2", "--trainer.strategy", "ddp"]


def begin(base: Path, change: Any, *options: str, command: str = "fit", **environment: str) -> Forked:
    config = tiny_config()
    change(config)
    path = write_config(base / "tiny.yaml", config)
    return start_cli(command, "--config", path, "--runs", str(base / "runs"), *options, **environment)


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
    for name, forked in running.items():
        waited = time.monotonic() + 120
        while not (bases[name] / "runs" / "tiny" / "checkpoints" / "last.ckpt").is_file():
            assert forked.process.is_alive(), finish(forked)[1]
            assert time.monotonic() < waited
            time.sleep(0.1)
    os.kill(running["SIGTERM"].process.pid, signal.SIGTERM)
    os.killpg(running["SIGINT"].process.pid, signal.SIGINT)
    return {name: (*finish(forked), bases[name]) for name, forked in running.items()}


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


def unchanged(config: dict[str, Any]) -> None:
    """With pictures, too."""


def torchrun(rank: int, port: int) -> dict[str, str]:
    """What torchrun tells each of two processes."""
    return {
        "TORCHELASTIC_RUN_ID": "tests",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "GROUP_RANK": "0",
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
    }


@pytest.fixture(scope="module")
def shared(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[tuple[int, str, Path], tuple[int, str, Path], Path]:
    """Two processes train, the second of which Lightning starts; two processes, started as by torchrun, judge
    an untrained model, and show what it found; one process does the same.
    """
    fit, test, alone = (tmp_path_factory.mktemp(name) for name in ("fit", "test", "alone"))
    trained = begin(fit, small, *TWO, "--trainer.max_steps", "3", "--data.init_args.train_size", "24")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    judged = [begin(test, unchanged, *TWO, command="test", **torchrun(rank, port)) for rank in (0, 1)]
    config = write_config(alone / "tiny.yaml", tiny_config())
    assert cli.main(["test", "--config", config, "--runs", str(alone / "runs")]) == 0
    codes, outputs = zip(*map(finish, judged), strict=True)
    return (*finish(trained), fit), (max(codes), "".join(outputs), test), alone


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
    together = metrics(base / "runs" / "tiny")
    alone = metrics(shared[2] / "runs" / "tiny")
    assert (together["processes"], alone["processes"]) == (2, 1)
    assert together["results"] == alone["results"]
    decisions = [
        pq.read_table(folder / "runs" / "tiny" / "test" / "decisions.parquet") for folder in (base, shared[2])
    ]
    assert decisions[0].num_rows
    assert decisions[0].equals(decisions[1])
    assert output.count("metrics.json") == 1  # the first process speaks for both


def pictures(base: Path) -> dict[str, np.ndarray]:
    folder = base / "runs" / "tiny" / "test" / "pictures"
    return {path.name: cv2.imread(str(path)).astype(int) for path in folder.iterdir()}


def test_two_processes_show_what_one_does(shared: Any) -> None:
    """But for roundings: the last digits of an image's numbers depend on which others are in its batch."""
    together = pictures(shared[1][2])
    alone = pictures(shared[2])
    assert together.keys() == alone.keys()
    assert len(alone) == 2 * 7 + 1  # two phrases of each image, and the sheet
    for name, picture in alone.items():
        difference = np.abs(together[name] - picture)
        assert difference.max() <= 3  # of 255
        assert np.count_nonzero(difference) < 1e-4 * picture.size


@pytest.mark.parametrize(
    ("number", "moment", "code"),
    [
        (signal.SIGTERM, "training_source", STOPPED),
        (signal.SIGUSR1, "evaluation_source", CONTINUED),
    ],
)
def test_a_signal_during_set_up(
    number: int, moment: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """Nothing has been done yet, so that the same command begins again."""
    opened = getattr(Scenes, moment)

    def interrupted(self: Scenes, *arguments: Any) -> Any:
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)
        return opened(self, *arguments)

    monkeypatch.setattr(Scenes, moment, interrupted)
    command = ["fit", "--config", write_config(tmp_path / "tiny.yaml", tiny_config())]
    command += ["--runs", str(tmp_path / "runs"), "--trainer.limit_val_batches", "0"]
    assert cli.main(command) == code
    assert "stopped before anything was done; the same command begins again." in capsys.readouterr().err
    monkeypatch.setattr(Scenes, moment, opened)
    assert cli.main([*command, "--trainer.max_steps", "1"]) == 0
    assert last_checkpoint(tmp_path / "runs" / "tiny")["global_step"] == 1
