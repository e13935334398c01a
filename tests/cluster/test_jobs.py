"""Jobs of two processes on a real cluster: ends, errors, signals, kills, limits, requeues, preemption."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from callbacks.run.metrics_file import read_rows
from commands.sbatch import Cluster, sbatch_script
from tests.cluster.slurm import Slurm, wait_for
from tests.tiny import ROOT, differences, last_checkpoint, tiny_config, write_config

pytestmark = pytest.mark.cluster

STEPS = 50
PATIENCE = 600  # seconds; a start alone takes a minute on a busy machine
AT_ONCE = 120  # seconds within which a job has to end; SLURM alone may need half of them
HELPERS = "tests.cluster.helpers"
QUIET = ["export OMP_NUM_THREADS=1 CUDA_VISIBLE_DEVICES= WANDB_MODE=disabled"]
TWO = Cluster(tasks_per_node=2, time="00:20:00", python=sys.executable, setup=QUIET)


class Job(NamedTuple):
    """A job that was submitted.

    Args:
        number: that SLURM gave it.
        folder: of its run.
        path: of its output.
    """

    number: str
    folder: Path
    path: Path

    @property
    def output(self) -> str:
        return self.path.read_text()

    @property
    def step(self) -> int:
        """Where training is."""
        path = self.folder / "step-0"
        return int(path.read_text() or 0) if path.is_file() else 0


def submit(
    slurm: Slurm,
    base: Path,
    command: str = "fit",
    cluster: Cluster = TWO,
    more: tuple[str, ...] = (),
    fail_at: dict[str, int] | None = None,
    srun: str | None = None,
) -> Job:
    """Submits what `launch` would, of a tiny model with a slow step."""
    config = tiny_config()
    own = [{"class_path": f"{HELPERS}.Slow", "init_args": {"seconds": 0.1}}]
    if fail_at:
        own.append({"class_path": f"{HELPERS}.FailAt", "init_args": fail_at})
    evaluation = config["trainer"]["callbacks"][:1] if command == "test" else []
    config["trainer"] |= {"max_steps": STEPS, "callbacks": own + evaluation}
    config["data"]["init_args"] |= {"num_workers": 1, "train_size": 200, "val_size": 0, "test_size": 40}
    words = [command, "--config", write_config(base / "tiny.yaml", config), "--runs", str(base / "runs")]
    if command == "fit" and "--ckpt_path" not in more:
        words += ["--ckpt_path", "auto"]
    script = sbatch_script(cluster, [[[*words, *more]]], "job", ROOT, base)
    if srun is not None:
        script = script.replace("srun --kill-on-bad-exit=1 --cpus-per-task=1", srun)
    (base / "job.sh").write_text(script)
    number = slurm.ask("sbatch", "--parsable", str(base / "job.sh")).strip()
    return Job(number, base / "runs" / "tiny", base / f"job-{number}.out")


def until_step(slurm: Slurm, job: Job, step: int) -> None:
    wait_for(lambda: job.step >= step or slurm.state(job.number) not in {"PENDING", "RUNNING"}, PATIENCE)
    assert job.step >= step, job.output


def steps_logged(job: Job) -> list[int]:
    return [int(row["step"]) for row in read_rows(job.folder / "metrics.csv")]


def assert_same_as(job: Job, whole: Job) -> None:
    """Weights, optimiser and logged numbers are those of the run that nothing interrupted."""
    first = last_checkpoint(whole.folder)
    second = last_checkpoint(job.folder)
    assert first["global_step"] == second["global_step"] == STEPS
    for part in ("state_dict", "optimizer_states", "lr_schedulers"):
        assert differences(first[part], second[part], part) == []
    assert (job.folder / "metrics.csv").read_text() == (whole.folder / "metrics.csv").read_text()


@pytest.fixture(scope="module")
def whole(slurm: Slurm, tmp_path_factory: pytest.TempPathFactory) -> Job:
    job = submit(slurm, tmp_path_factory.mktemp("whole"))
    assert slurm.end(job.number) == "COMPLETED", job.output
    return job


@pytest.fixture(autouse=True)
def no_job_is_left(slurm: Slurm, whole: Job) -> Iterator[None]:
    yield
    slurm.cancel_all()


def test_a_normal_end(slurm: Slurm, whole: Job) -> None:
    assert slurm.fact(whole.number, "ExitCode") == "0:0"
    assert steps_logged(whole) == list(range(STEPS))
    assert "rror" not in whole.output


def test_the_warning_comes_twice_and_the_job_goes_on_each_time(
    slurm: Slurm, whole: Job, tmp_path: Path
) -> None:
    job = submit(slurm, tmp_path)
    for restarts, step in ((1, 10), (2, 25)):
        until_step(slurm, job, step)
        slurm.ask("scancel", "--signal=USR1", job.number)
        slurm.ask("scancel", "--signal=USR1", job.number, check=False)
        wait_for(lambda count=restarts: slurm.restarts(job.number) == count, 60)
        slurm.run_now(job.number)
    assert slurm.end(job.number) == "COMPLETED", job.output
    assert "Traceback" not in job.output
    assert_same_as(job, whole)


def test_cancelling_leaves_a_checkpoint(slurm: Slurm, whole: Job, tmp_path: Path) -> None:
    job = submit(slurm, tmp_path)
    until_step(slurm, job, 10)
    started = time.monotonic()
    slurm.ask("scancel", job.number)
    assert slurm.end(job.number) == "CANCELLED"
    assert time.monotonic() - started < AT_ONCE
    assert "stopped at step" in job.output
    assert "Traceback" not in job.output
    job = submit(slurm, tmp_path)
    assert slurm.end(job.number) == "COMPLETED", job.output
    assert_same_as(job, whole)


@pytest.mark.parametrize("rank", [0, 1])
def test_an_error_on_one_process_ends_all_and_is_said_once(slurm: Slurm, rank: int, tmp_path: Path) -> None:
    job = submit(slurm, tmp_path, fail_at={"rank": rank, "step": 3})
    until_step(slurm, job, 3)
    assert slurm.end(job.number, AT_ONCE) == "FAILED"
    assert job.output.count("the disk of this node is gone") == 1
    assert "Traceback" not in job.output


def test_what_the_first_process_refuses_ends_all(slurm: Slurm, whole: Job) -> None:
    base = whole.folder.parents[1]
    job = submit(slurm, base, more=("--ckpt_path", "null"))
    assert slurm.end(job.number, PATIENCE) == "FAILED"
    assert job.output.count("already holds a run") == 1
    assert slurm.fact(job.number, "ExitCode") == "1:0"


@pytest.mark.parametrize("sign", [signal.SIGUSR1, signal.SIGTERM])
def test_a_signal_ends_a_test(slurm: Slurm, sign: signal.Signals, tmp_path: Path) -> None:
    job = submit(slurm, tmp_path, "test")
    testing = job.folder / "testing-1"
    wait_for(lambda: testing.exists() or slurm.state(job.number) not in {"PENDING", "RUNNING"}, PATIENCE)
    slurm.ask("scancel", f"--signal={sign.name[3:]}", job.number)
    assert slurm.end(job.number, 60) == "FAILED"
    assert slurm.fact(job.number, "ExitCode") == ("75:0" if sign == signal.SIGUSR1 else "130:0")
    assert slurm.restarts(job.number) == 0
    assert "Traceback" not in job.output


def processes_of(job: Job, name: str) -> list[int]:
    listing = subprocess.run(["pgrep", "-f", name], capture_output=True, text=True, check=False).stdout
    return [int(word) for word in listing.split()]


def ranks(job: Job) -> dict[int, int]:
    """The processes of a job's two tasks, by rank."""
    by_rank = {}
    for pid in processes_of(job, f"cli.py .*{job.folder.parents[1]}"):
        try:
            variables = Path(f"/proc/{pid}/environ").read_text().split("\0")
            parent = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
            parent_name = Path(f"/proc/{parent}/comm").read_text().strip()
        except OSError:
            continue
        rank = [word.split("=")[1] for word in variables if word.startswith("SLURM_PROCID=")]
        if rank and parent_name.startswith("slurmstepd"):
            by_rank[int(rank[0])] = pid
    return by_rank


@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_takes_the_other_with_it(
    slurm: Slurm, rank: int, whole: Job, tmp_path: Path
) -> None:
    job = submit(slurm, tmp_path, more=("--save_every", "5"))
    until_step(slurm, job, 12)
    os.kill(ranks(job)[rank], signal.SIGKILL)
    assert slurm.end(job.number, AT_ONCE) == "FAILED"
    assert "Traceback" not in job.output
    job = submit(slurm, tmp_path, more=("--save_every", "5"))
    assert slurm.end(job.number) == "COMPLETED", job.output
    assert_same_as(job, whole)


def test_a_killed_daemon_of_the_step_loses_nothing(slurm: Slurm, whole: Job, tmp_path: Path) -> None:
    """The run goes on to its end; srun does not learn of it, and the job waits until somebody cancels it."""
    job = submit(slurm, tmp_path)
    until_step(slurm, job, 5)
    daemons = processes_of(job, rf"slurmstepd: \[{job.number}\.0\]")
    assert daemons
    for pid in daemons:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not processes_of(job, rf"^{sys.executable} cli.py .*{tmp_path}"), AT_ONCE)
    slurm.cancel_all()
    job = submit(slurm, tmp_path)
    assert slurm.end(job.number) == "COMPLETED", job.output
    assert_same_as(job, whole)


def test_the_time_limit(slurm: Slurm, whole: Job, tmp_path: Path) -> None:
    """SLURM itself warns, a minute before the limit. Until then the run has as long as a whole one took."""
    limit = 2 + int(slurm.fact(whole.number, "RunTime").split(":")[1])  # minutes
    short = Cluster(
        tasks_per_node=2, time=f"00:{limit:02d}:00", warning=60, python=sys.executable, setup=QUIET
    )
    job = submit(slurm, tmp_path, cluster=short, more=("--trainer.max_steps", "100000"))
    wait_for(lambda: slurm.restarts(job.number) == 1, 60 * limit + AT_ONCE)
    first = last_checkpoint(job.folder)["global_step"]
    assert first > 0
    assert f"stopped at step {first}" in job.output
    slurm.run_now(job.number)
    wait_for(lambda: slurm.restarts(job.number) == 2, 60 * limit + AT_ONCE)
    assert last_checkpoint(job.folder)["global_step"] > first
    slurm.ask("scancel", job.number)


def test_an_administrator_requeues(slurm: Slurm, whole: Job, tmp_path: Path) -> None:
    job = submit(slurm, tmp_path)
    until_step(slurm, job, 12)
    slurm.ask("scontrol", "requeue", job.number)
    slurm.run_now(job.number)
    assert slurm.end(job.number) == "COMPLETED", job.output
    assert_same_as(job, whole)


def test_preemption(slurm: Slurm, whole: Job, tmp_path: Path) -> None:
    """SLURM asks the job to end by SIGTERM, and starts it again later."""
    job = submit(slurm, tmp_path)
    until_step(slurm, job, 12)
    slurm.ask("sbatch", "--partition=high", "--ntasks=2", "--output=/dev/null", "--wrap=sleep 3")
    wait_for(lambda: slurm.restarts(job.number) == 1, 90)
    assert "stopped at step" in job.output
    slurm.run_now(job.number)
    assert slurm.end(job.number) == "COMPLETED", job.output
    assert_same_as(job, whole)


WRONG_STARTS = {
    "srun without tasks a node": ("ntasks", "srun --ntasks=2", "--ntasks-per-node=2 --nodes=1"),
    "two tasks, no srun": ("ntasks-per-node", "", "put `srun` before the command"),
}


@pytest.mark.parametrize("case", WRONG_STARTS)
def test_a_wrong_start_is_one_sentence(case: str, slurm: Slurm, tmp_path: Path) -> None:
    option, srun, sentence = WRONG_STARTS[case]
    job = submit(slurm, tmp_path, srun=srun)
    script = (tmp_path / "job.sh").read_text()
    slurm.ask("scancel", job.number)
    (tmp_path / "job.sh").write_text(script.replace("--ntasks-per-node=", f"--{option}="))
    number = slurm.ask("sbatch", "--parsable", str(tmp_path / "job.sh")).strip()
    assert slurm.end(number, PATIENCE) == "FAILED"
    output = (tmp_path / f"job-{number}.out").read_text()
    assert output.count(sentence) == 1
    assert output.count("error: ") - output.count("srun: error") == 1
    assert "Traceback" not in output


def test_an_array(slurm: Slurm, tmp_path: Path) -> None:
    jobs: list[Any] = [[["prepare", "--help"]], [["report", "--help"]]]
    script = sbatch_script(TWO, jobs, "array", ROOT, tmp_path)
    (tmp_path / "array.sh").write_text(script)
    number = slurm.ask("sbatch", "--parsable", str(tmp_path / "array.sh")).strip()
    for task, words in enumerate(("prepare", "report")):
        wait_for(lambda name=f"{number}_{task}": slurm.state(name) == "COMPLETED", 120)
        assert f"cli.py {words}" in (tmp_path / f"array-{number}_{task}.out").read_text()
