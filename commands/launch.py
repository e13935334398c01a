"""Runs a command on a cluster: writes the script for SLURM and submits it.

    python cli.py launch --cluster FILE fit --config configs/hist_albef.yaml
    python cli.py launch --cluster FILE ablation configs/ablation/mcb_table1.yaml --seeds 0 1 2
    python cli.py launch --torchrun 4 fit --config configs/hist_albef.yaml
    python cli.py launch --status

A table of configs/ablation becomes an array of jobs, one for each row and seed; what rows start from is an
array before it. A job that reaches its time limit saves, goes back into the queue and goes on. The script and
the output lie in runs/slurm.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from callbacks.evaluations.results import format_rows
from commands.command_line import ConfigError, config_paths, option_value
from commands.launch_table import table_jobs
from commands.option_parser import option_parser
from commands.program import program_anywhere
from commands.runs import RunError, name_of
from commands.sbatch import Cluster, Commands, read_cluster, sbatch_script
from commands.start import check_paths

TRAINER = ("fit", "validate", "test", "predict")


def main(argv: list[str]) -> int:
    """Launches a command; returns the exit code."""
    parser = option_parser("launch", __doc__)
    parser.add_argument("--cluster", type=Path, help="description of the cluster: configs/cluster/*.yaml")
    parser.add_argument("--dry", action="store_true", help="print the script, submit nothing")
    parser.add_argument("--status", action="store_true", help="list the jobs beside their runs")
    parser.add_argument("--torchrun", type=int, metavar="N", help="no SLURM: N processes on this machine")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="of --status: folder of all runs")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="a subcommand with its options")
    options = parser.parse_args(argv[1:])
    try:
        if options.status:
            print(status(options.runs))
            return 0
        if not options.command or options.command[0] not in (*TRAINER, "ablation"):
            raise RunError(f"launch takes {', '.join(TRAINER)} or ablation, with their options.")
        if options.command[0] in TRAINER and not options.dry:
            check_paths(options.command)
        if options.torchrun:
            return run_here(options.torchrun, options.command, options.dry)
        cluster = read_cluster(options.cluster) if options.cluster else Cluster()
        return launch(cluster, options.command, options.dry)
    except (ConfigError, RunError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def run_here(processes: int, command: list[str], dry: bool) -> int:
    """Runs a command on this machine by torchrun, or prints how."""
    if command[0] == "ablation":
        raise RunError("a table runs here by `python cli.py ablation`; --torchrun takes a single command.")
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    words += [*program_anywhere(), *with_automatic_start(command)]
    print(f"$ {shlex.join(words)}", flush=True)
    if not dry:
        os.execv(words[0], words)
    return 0


def with_automatic_start(command: list[str]) -> list[str]:
    """Lets a ``fit`` go on if there is something to go on with, unless its start is given.

    Example:
        >>> with_automatic_start(["fit", "--config", "a.yaml"])
        ['fit', '--config', 'a.yaml', '--ckpt_path', 'auto']
    """
    if command[0] != "fit" or option_value(command, "--ckpt_path"):
        return command
    return [*command, "--ckpt_path", "auto"]


def launch(cluster: Cluster, command: list[str], dry: bool) -> int:
    """Submits the jobs of a command, or prints their scripts.

    Args:
        cluster: to which they go.
        command: a subcommand with its options.
        dry: whether they are only printed.

    Raises:
        RunError: SLURM is not here, or refuses them.
    """
    runs = Path(option_value(command, "--runs") or "runs")
    logs = (runs / "slurm").absolute()
    if command[0] == "ablation":
        name, arrays = table_jobs(command, dry)
    else:
        name = option_value(command, "--name") or name_of(config_paths(command))
        arrays = [[[with_automatic_start(command)]]]
    before = None
    for number, jobs in enumerate(arrays):
        title = name.replace("/", "-") if len(arrays) == 1 else f"{name}-{number}"
        script = sbatch_script(cluster, jobs, title, Path.cwd(), logs)
        if dry:
            print(script)
            continue
        logs.mkdir(parents=True, exist_ok=True)
        path = logs / f"{title}.sh"
        path.write_text(script, encoding="utf-8")
        before = submit(path, before)
        note(logs, before, jobs)
        count = f"{len(jobs)} jobs" if len(jobs) > 1 else "job"
        print(f"{count} {before} submitted: {path}; `python cli.py launch --status` lists it.")
    return 0


def submit(script: Path, before: str | None) -> str:
    """Hands a script to SLURM.

    Args:
        script: the file.
        before: number of a job that has to succeed first.

    Returns:
        The job's number.

    Raises:
        RunError: SLURM is not here, or refuses it.
    """
    words = ["sbatch", "--parsable"]
    if before:
        words.append(f"--dependency=afterok:{before}")
    answer = ask_slurm([*words, str(script)])
    return answer.strip().split(";")[0]


def ask_slurm(words: list[str]) -> str:
    """What a command of SLURM prints.

    Raises:
        RunError: it is not here, or fails.
    """
    try:
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout
    except FileNotFoundError as error:
        raise RunError(
            f"there is no {words[0]} on this machine: log in to the cluster, or use --torchrun N or --dry."
        ) from error
    except subprocess.CalledProcessError as error:
        raise RunError(f"{words[0]} refuses: {error.stderr.strip()}") from error


def note(logs: Path, job: str, jobs: list[Commands]) -> None:
    """Writes which runs a job makes into ``jobs.jsonl``."""
    with (logs / "jobs.jsonl").open("a", encoding="utf-8") as file:
        for number, commands in enumerate(jobs):
            words = commands[0]
            run = option_value(words, "--name") or name_of(config_paths(words))
            task = f"{job}_{number}" if len(jobs) > 1 else job
            file.write(json.dumps({"job": task, "run": run, "command": words[0]}) + "\n")


def status(runs: Path) -> str:
    """A table of the jobs that were launched, and of how far their runs are.

    Args:
        runs: folder of all runs.

    Raises:
        RunError: SLURM is not here, or nothing was launched.
    """
    path = runs / "slurm" / "jobs.jsonl"
    if not path.is_file():
        raise RunError(f"nothing was launched from {runs.absolute()}.")
    state_of_job = {}
    listing = ask_slurm(["squeue", "--noheader", "--array", "--states=all", "--format=%i|%T|%M|%r"])
    for line in listing.splitlines():
        job, state, elapsed, reason = line.strip().split("|")
        state_of_job[job] = (state.lower(), elapsed, "" if reason == "None" else reason)
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        columns = state_of_job.get(entry["job"], ("ended", "", ""))
        rows.append([entry["job"], entry["run"], *columns, *progress(runs / entry["run"])])
    return format_rows(["job", "run", "state", "time", "reason", "step", "judged"], rows)


def progress(folder: Path) -> tuple[str, str]:
    """The last step that a run has logged, and whether it was judged."""
    path = folder / "metrics.csv"
    steps = re.findall(r"^(\d+),", path.read_text(encoding="utf-8"), re.MULTILINE) if path.is_file() else []
    last = max((int(step) for step in steps), default=None)
    judged = "yes" if (folder / "test" / "metrics.json").is_file() else "no"
    return "-" if last is None else f"{last:,}", judged
