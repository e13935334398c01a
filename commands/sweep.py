"""Searches for good options: trains one run after the other, each with options that those before make likely.

A sweep is a YAML file of configs/sweeps: `config` (what every run starts from), `metric` (a validation metric
of metrics.csv, e.g. val/scenes/clean/pointing_game; its last value counts), `direction` (maximize, the
default, or minimize), `trials` (how many runs), `options` (the same for every run) and `search`: an option
and either the values to choose from, as a list, or {low, high}, with `log: true` if its magnitude is sought,
or `step`.

Optuna chooses, and keeps what it knows in `sweep.journal` in the folder of the sweep's runs: the same command
goes on where it stopped, and several processes, also of several machines that share the folder, work on one
sweep. Further options are given to every run.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml

from callbacks.evaluations.results import format_rows
from commands.ending import CONTINUED, STOPPED
from commands.option_parser import option_parser
from commands.quick_imports import quick_imports
from commands.runs import RunError
from commands.suggest import nearest
from lightning_modules.project_files import project_file

if TYPE_CHECKING:
    import optuna

INSTALL = "pip install -c constraints.txt -e '.[sweep]'"
KEYS = ("config", "metric", "direction", "trials", "options", "search")
RANGE_KEYS = {"low", "high", "log", "step"}


@dataclass(frozen=True)
class Sweep:
    """What is searched, and by which number.

    Args:
        name: of its file; its runs lie in a folder of that name.
        config: what every run starts from.
        metric: a column of ``metrics.csv``.
        search: option -> values, or the arguments of a range.
        direction: whether the metric should be large or small.
        trials: how many runs are to be finished.
        options: option -> value, the same for every run.
    """

    name: str
    config: str
    metric: str
    search: dict[str, list[Any] | dict[str, Any]]
    direction: Literal["maximize", "minimize"] = "maximize"
    trials: int = 20
    options: dict[str, Any] = field(default_factory=dict)


def read_sweep(path: Path) -> Sweep:
    """Reads a sweep.

    Raises:
        RunError: no such file, or it lacks something.
    """
    path = project_file(path)
    if not path.is_file():
        raise RunError(f"sweep {path} not found; those that there are lie in configs/sweeps.")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise RunError(f"{path} is no YAML file ({str(error).splitlines()[0]}).") from error
    if not isinstance(content, dict):
        raise RunError(f"{path} is no sweep: it must have {', '.join(KEYS)}.")
    for key in content:
        if key not in KEYS:
            raise RunError(f"{path}: a sweep has no {key!r}{nearest(str(key), KEYS)}.")
    missing = [key for key in ("config", "metric", "search") if not content.get(key)]
    if missing:
        raise RunError(f"{path} lacks {', '.join(missing)}.")
    sweep = Sweep(path.stem, **content)
    _check(path, sweep)
    return sweep


def _check(path: Path, sweep: Sweep) -> None:
    if not sweep.metric.startswith("val/"):
        raise RunError(
            f"{path}: {sweep.metric} is no validation metric (val/...), and what is chosen by a test is not "
            "measured by it."
        )
    if sweep.direction not in ("maximize", "minimize"):
        raise RunError(f"{path}: direction is maximize or minimize, not {sweep.direction!r}.")
    for option, space in sweep.search.items():
        if not _is_range(space) and not (isinstance(space, list) and space):
            raise RunError(f"{path}: {option} must have a list of values, or {{low: ..., high: ...}}.")


def _is_range(space: Any) -> bool:
    """Whether it has a lower and an upper end, and nothing that is unknown."""
    if not isinstance(space, dict) or not {"low", "high"} <= set(space) <= RANGE_KEYS:
        return False
    try:
        return float(space["low"]) < float(space["high"])
    except (TypeError, ValueError):
        return False


def choose(trial: optuna.Trial, search: dict[str, list[Any] | dict[str, Any]]) -> dict[str, Any]:
    """The options of a trial, see `Sweep`."""
    chosen = {}
    for option, space in search.items():
        if isinstance(space, list):
            chosen[option] = trial.suggest_categorical(option, space)
        elif isinstance(space["low"], int) and isinstance(space["high"], int):
            chosen[option] = trial.suggest_int(option, **space)
        else:
            bounds = {"low": float(space["low"]), "high": float(space["high"])}  # YAML takes 1e-3 for a text
            chosen[option] = trial.suggest_float(option, **{**space, **bounds})
    return chosen


def last_value(path: Path, metric: str) -> float:
    """The last value of a column of ``metrics.csv``.

    Raises:
        RunError: there is none.
    """
    values = []
    columns: list[str] = []
    if path.is_file():
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            columns = list(reader.fieldnames or [])
            values = [row[metric] for row in reader if row.get(metric)]
    if not values:
        validation = [column for column in columns if column.startswith("val/")]
        hint = ", nor of any other validation metric"
        if validation:
            hint = f"{nearest(metric, validation)}; it has {', '.join(validation)}"
        raise RunError(f"{path} has no value of {metric}{hint}.")
    return float(values[-1])


def words_of(sweep: Sweep, chosen: dict[str, Any], name: str, runs: Path, extra: list[str]) -> list[str]:
    """The command of a run."""
    words = ["fit", "--config", sweep.config, "--runs", str(runs), "--name", name]
    for option, value in {**sweep.options, **chosen}.items():
        words += [f"--{option}", value if isinstance(value, str) else json.dumps(value)]
    return [*words, *extra]


def open_study(sweep: Sweep, folder: Path, seed: int | None) -> optuna.Study:
    """What is known of the sweep's runs.

    Raises:
        RunError: Optuna is not installed.
    """
    try:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend
    except ImportError as error:
        raise RunError(f"a sweep needs Optuna, which is not installed: {INSTALL}") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    folder.mkdir(parents=True, exist_ok=True)
    return optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(folder / "sweep.journal"))),
        sampler=optuna.samplers.TPESampler(seed=seed),
        study_name=f"{sweep.metric} of {sweep.name}",
        direction=sweep.direction,
        load_if_exists=True,
    )


def run_trial(study: optuna.Study, sweep: Sweep, runs: Path, extra: list[str]) -> int:
    """Trains with the options that are most promising now; returns the exit code of a run that failed, or 0.

    A run that a signal has stopped leaves its options to be tried again.
    """
    from optuna.trial import TrialState

    trial = study.ask()
    chosen = choose(trial, sweep.search)
    name = f"{sweep.name}/{trial.number:03d}"
    words = words_of(sweep, chosen, name, runs, extra)
    print(f"\n== trial {trial.number}\n$ python cli.py {' '.join(words)}", flush=True)
    code = _train(words)
    if code:
        study.tell(trial, state=TrialState.FAIL)
        if code in {STOPPED, CONTINUED}:
            study.enqueue_trial(chosen)
        return code
    try:
        value = last_value(runs / name / "metrics.csv", sweep.metric)
    except RunError:
        study.tell(trial, state=TrialState.FAIL)
        raise
    study.tell(trial, value)
    print(f"{sweep.metric}: {value:.4f}", flush=True)
    return 0


def finished_trials(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """The finished trials, the best first."""
    from optuna.study import StudyDirection
    from optuna.trial import TrialState

    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    maximized = study.direction == StudyDirection.MAXIMIZE
    return sorted(trials, key=lambda trial: trial.values[0], reverse=maximized)


def run_sweep(sweep: Sweep, options: argparse.Namespace, extra: list[str]) -> int:
    """Runs trials until as many are finished as are wanted, and prints them.

    Args:
        sweep: what is searched.
        options: see `main`.
        extra: options for every run.

    Raises:
        RunError: Optuna is missing, or a run leaves no number.
    """
    study = open_study(sweep, options.runs / sweep.name, options.seed)
    count = options.trials or sweep.trials
    while len(finished_trials(study)) < count:
        code = run_trial(study, sweep, options.runs, extra)
        if code:
            print("\nnot done; the same command goes on from here.")
            return code
    trials = finished_trials(study)
    lines = [
        [
            f"{trial.number:03d}",
            f"{trial.value:.4f}",
            *(str(trial.params.get(key, "")) for key in sweep.search),
        ]
        for trial in trials
    ]
    print(f"\n{format_rows(['trial', sweep.metric, *sweep.search], lines)}\n")
    best = words_of(sweep, trials[0].params, f"{sweep.name}/{trials[0].number:03d}", options.runs, extra)
    print(f"The best: python cli.py {' '.join(best)}")
    return 0


def main(argv: list[str]) -> int:
    """Runs a sweep as a command; returns the exit code."""
    parser = option_parser("sweep", __doc__)
    parser.add_argument("sweep", type=Path, help="a file of configs/sweeps")
    parser.add_argument("--trials", type=int, help="how many runs are to be finished, in place of the file's")
    parser.add_argument("--seed", type=int, help="of what is chosen; not for several processes at once")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of all runs")
    options, extra = parser.parse_known_args(argv[1:])
    try:
        return run_sweep(read_sweep(options.sweep), options, extra)
    except RunError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _train(command: list[str]) -> int:
    with quick_imports():  # here, so that --help is instant
        from commands.trainer import main as train

    return train(command)
