"""Scripts for a cluster: what they ask for, what they run, and what is refused."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from commands import launch
from commands.command_line import ConfigError
from commands.ending import requeue
from commands.launchers import check_tasks, fit_trainer
from commands.runs import RunError
from commands.sbatch import Cluster, read_cluster, sbatch_script
from commands.tables import read_table
from tests.tiny import ROOT

EXAMPLE = ROOT / "configs" / "cluster" / "example.yaml"
TABLE = "configs/ablation/mcb_table1.yaml"


def test_the_example_asks_for_what_a_run_needs(tmp_path: Path) -> None:
    script = sbatch_script(read_cluster(EXAMPLE), [[["fit", "--name", "a b"]]], "run", tmp_path, tmp_path)
    lines = script.splitlines()
    for line in (
        "#SBATCH --ntasks-per-node=4",
        "#SBATCH --gpus-per-node=4",
        "#SBATCH --signal=USR1@120",
        "#SBATCH --requeue",
        "#SBATCH --open-mode=append",
        f"#SBATCH --output={tmp_path}/%x-%j.out",
        "source .venv/bin/activate",
        "srun --kill-on-bad-exit=1 --cpus-per-task=8 python cli.py fit --name 'a b'",
    ):
        assert line in lines
    assert not any("account" in line or "array" in line for line in lines)


def test_a_script_is_valid_shell(tmp_path: Path) -> None:
    jobs = [[["fit", "--model.x", '{"a": 1}'], ["test"]], [["fit"]]]
    script = sbatch_script(Cluster(container="apptainer exec a.sif"), jobs, "run", tmp_path, tmp_path)
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0
    assert script.count("apptainer exec a.sif python cli.py") == 3


def test_a_misspelt_option_of_a_cluster(tmp_path: Path) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text("partitoin: gpu\n")
    with pytest.raises(RunError, match="did you mean 'partition'"):
        read_cluster(path)


def test_a_table_becomes_an_array_of_what_is_to_be_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["ablation", TABLE, "--scale", "demo", "--runs", str(tmp_path), "--seeds", "0", "1"]
    assert launch.main(["launch", "--dry", *words]) == 0
    everything = capsys.readouterr().out
    assert everything.count("#!/bin/bash") == 2  # what is trained from scratch, and what starts from that
    assert everything.count("test --config") == 2 * len(read_table(ROOT / TABLE).rows)
    assert not list(tmp_path.iterdir())
    done = tmp_path / "mcb_table1-demo" / "scratch-beta-0-seed1" / "test"
    done.mkdir(parents=True)
    (done / "metrics.json").touch()
    assert launch.main(["launch", "--dry", *words]) == 0
    rest = capsys.readouterr().out
    assert "scratch-beta-0-seed0 " in rest
    assert "scratch-beta-0-seed1 " not in rest


def test_jobs_are_submitted_and_listed_beside_their_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[list[str]] = []

    def answer(words: list[str]) -> str:
        asked.append(words)
        return "17\n" if words[0] == "sbatch" else "17|RUNNING|1:20|None\n"

    monkeypatch.setattr(launch, "ask_slurm", answer)
    monkeypatch.chdir(tmp_path)
    assert launch.main(["launch", "fit", "--config", "configs/hist.yaml"]) == 1
    assert "config configs/hist.yaml not found" in capsys.readouterr().err
    assert not asked
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "hist.yaml").touch()
    assert launch.main(["launch", "fit", "--config", "configs/hist.yaml"]) == 0
    assert asked == [["sbatch", "--parsable", str(tmp_path / "runs" / "slurm" / "hist.sh")]]
    assert "--ckpt_path auto" in (tmp_path / "runs" / "slurm" / "hist.sh").read_text()
    (tmp_path / "runs" / "hist").mkdir()
    (tmp_path / "runs" / "hist" / "metrics.csv").write_text("step,loss\n9,0.5\n1200,0.25\n")
    capsys.readouterr()
    assert launch.main(["launch", "--status"]) == 0
    assert capsys.readouterr().out.splitlines()[2].split() == ["17", "hist", "running", "1:20", "1,200", "no"]


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["launch", "report"], "launch takes fit"),
        (["launch", "--status"], "nothing was launched"),
        (["launch", "--torchrun", "2", "ablation", TABLE], "single command"),
        (["launch", "--cluster", "gone.yaml", "fit"], "gone.yaml cannot be read"),
    ],
)
def test_what_is_wrong_is_said(
    argv: list[str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    assert launch.main(argv) == 1
    assert sentence in capsys.readouterr().err


def test_torchrun_on_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert launch.main(["launch", "--torchrun", "2", "--dry", "fit", "--config", "a.yaml"]) == 0
    printed = capsys.readouterr().out
    assert "--nproc_per_node=2" in printed
    assert printed.endswith("fit --config a.yaml --ckpt_path auto\n")


SRUN = {"SLURM_NTASKS": "2", "SLURM_NNODES": "1", "SLURM_STEP_ID": "0"}


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        (SRUN, "--ntasks-per-node=2 --nodes=1"),
        ({"SLURM_NTASKS": "4", "SLURM_NTASKS_PER_NODE": "2"}, "put `srun` before"),
    ],
)
def test_tasks_that_were_started_wrongly(variables: dict[str, str], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        check_tasks(variables)


def test_one_of_the_tasks_speaks_for_all(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        check_tasks({**SRUN, "SLURM_PROCID": "1"})
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"SLURM_NTASKS": "1"},
        {**SRUN, "SLURM_NTASKS_PER_NODE": "2"},
        {"SLURM_NTASKS": "2", "SLURM_JOB_NAME": "interactive"},
    ],
)
def test_tasks_that_were_started_rightly(variables: dict[str, str]) -> None:
    assert check_tasks(variables) is None  # type: ignore[func-returns-value]  # (and does not raise)


class TrainerOptions:
    devices: Any = "auto"
    num_nodes = 1


def test_the_trainer_has_as_many_devices_as_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_NNODES", "2")
    options = TrainerOptions()
    fit_trainer(options, 8)
    assert (options.devices, options.num_nodes) == (4, 2)
    options.devices = 2
    with pytest.raises(ConfigError, match="8 processes were started on 2 nodes"):
        fit_trainer(options, 8)


def test_a_job_that_cannot_be_requeued_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("PATH", "")
    assert not requeue()
    assert "job 17 is not requeued: there is no scontrol" in capsys.readouterr().err
