"""``fit``, ``validate``, ``test`` and ``predict``: what can be said at once. The rest is `commands.trainer`,
with torch and Lightning, which take seconds to import.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from commands.command_line import ConfigError, option_value, with_config_files
from commands.newest_run import judged_run
from commands.quick_imports import quick_imports
from commands.runs import RunError, checkpoint_file, run_folder

HELP = """usage: python cli.py {name} [--config FILE ...] [OPTION VALUE ...]

what runs
  --config FILE           a configuration, such as configs/hist_albef.yaml; several are laid over each other
                          (`test`, `validate` and `predict` without one take the newest run)
  --ckpt_path WHAT        best, last, a file, or auto: go on if there is something to go on with
  --seed_everything N     0 by default

where it is kept
  --runs FOLDER           of all runs; `runs` by default
  --name NAME             of this run: NAME or GROUP/NAME; that of its configuration by default
  --save_every N          steps between two writes of checkpoints/last.ckpt; 1000 by default
  --monitor METRIC        keep checkpoints/best.ckpt too, where this number is highest:
                          val/DATASET/PROTOCOL/METRIC
  --upload_best true      send W&B the best checkpoint, too

how it runs: every key of a configuration, as an option
  --trainer.max_steps N   --trainer.devices N   --trainer.accelerator cpu|gpu   --trainer.precision bf16-mixed
  --model.KEY VALUE       e.g. --model.optimisation.lr 1e-4
  --data.KEY VALUE        e.g. --data.batch_size 16 --data.root FOLDER

more help
  --print_config          the whole configuration that this command line would run with
  --model.help CLASS      the options of a method: HISTFinetune, ...
  --data.help CLASS       the options of a data set: VisualGenome, ...
  --help all              every option of the trainer, too"""


def main(argv: list[str]) -> int:
    """Runs a subcommand; returns the exit code, see `commands.ending`."""
    words = [word for word in argv if word in {"-h", "--help"}]
    if words and argv[argv.index(words[0]) + 1 :] != ["all"]:
        print(HELP.format(name=argv[0]))
        return 0
    if words:
        argv = argv[:-1]
    try:
        # One of several processes must not speak or leave without the others.
        if "RANK" not in os.environ and "SLURM_PROCID" not in os.environ:
            check_paths(argv)
    except (ConfigError, RunError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1
    with quick_imports():
        from commands.trainer import main as run

    return run(argv)


def check_paths(argv: list[str]) -> None:
    """Checks the files and folders that a command line names.

    Raises:
        ConfigError: a configuration is not there.
        RunError: a run or a checkpoint is not there, or there can be no folder for the run.
    """
    argv = with_config_files(argv)
    if option_value(argv, "--name"):
        judged_run(argv)
    checkpoint = option_value(argv, "--ckpt_path")
    if checkpoint not in {None, "best", "last", "auto", "null"}:
        checkpoint_file(str(checkpoint))
    run_folder(Path(option_value(argv, "--runs") or "runs"), option_value(argv, "--name") or "unnamed")
