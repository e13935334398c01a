"""``fit``, ``validate``, ``test`` and ``predict``: LightningCLI with this project's defaults and folders."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import yaml
from lightning.fabric.utilities.rank_zero import _get_rank
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities.rank_zero import rank_zero_info

import callbacks.catalogue  # noqa: F401 (class names work without their package path once the classes are known)
import datamodules.catalogue  # noqa: F401
import lightning_modules.catalogue  # noqa: F401
from callbacks.run.accounts import Accounts
from callbacks.run.checkpoint_files import WholeCheckpoints
from callbacks.run.epoch_lines import EpochLines
from callbacks.run.last_checkpoint import LastCheckpoint
from callbacks.run.predictions import Predictions
from callbacks.run.run_record import RunRecord
from callbacks.run.step_seeds import StepSeeds
from commands.config_errors import ConfigError, check_command_line, check_config, check_content
from commands.connect import connect
from commands.nulls import read_none_as_null
from commands.parser_errors import explain
from commands.runs import (
    RunError,
    RunOptions,
    checkpoints,
    default_checkpoint,
    find_checkpoint,
    newest_run,
)
from commands.wandb_logger import wandb_logger
from datamodules.base import GroundingDataModule
from datamodules.errors import DataError
from lightning_modules.base import WeakgroundModule
from lightning_modules.errors import ModelError

SUBCOMMANDS = ("fit", "validate", "test", "predict")
STOPPED = 130  # exit code of a run that Ctrl-C or SIGTERM ended, as of shells
USER_ERRORS = (ConfigError, DataError, ModelError, RunError)
TRAINER_DEFAULTS = {
    # Class activation maps need gradients in evaluation, and evaluation must see every sample once: see
    # `UnrepeatedDistributedSampler` in datamodules.base.
    "inference_mode": False,
    "use_distributed_sampler": False,
    "enable_checkpointing": False,  # LastCheckpoint and, with --monitor, a best one are added below
    "num_sanity_val_steps": 0,
    "log_every_n_steps": 10,
}
# What belongs to one start of a run, and is no part of its configuration.
OF_ONE_START = ("config", "ckpt_path", "verbose", "weights_only", "name", "return_predictions")
# Warnings and messages about what this project does on purpose.
UNWANTED_WARNINGS = (
    ".*does not have many workers.*",
    ".*dataloader is not resumable.*",  # datamodules.samplers resumes in the middle of an epoch
    ".*Checkpoint directory .* exists and is not empty.*",
    ".*`isinstance\\(treespec, LeafSpec\\)` is deprecated.*",
    ".*using the DistributedSampler.*",
    ".*It is recommended to use .*sync_dist=True.*",
    ".*GPU available but not used.*",
    ".*LightningCLI's args parameter is intended.*",
    ".*Total length of .* across ranks is zero.*",  # a run without validation
    ".*callbacks used to create the checkpoint need to be provided.*",  # those of fit alone
    ".*predict returned None.*",  # Predictions writes files
    ".*in eval mode at the start of training.*",  # frozen parts
)
UNWANTED_MESSAGES = ("litlogger", "TPU available", "`weights_only` was not set", "Trainer.fit` stopped")
TALKATIVE_LOGGERS = (
    "lightning.pytorch.utilities.rank_zero",
    "lightning.pytorch.trainer.connectors.checkpoint_connector",
)


class WeakgroundCLI(LightningCLI):
    """LightningCLI whose runs live in ``<runs>/<name>/``."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds the options of a run."""
        parser.add_class_arguments(RunOptions)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parses, and checks the whole configuration once more, with all that the command line changed."""
        super().parse_arguments(parser, args)
        check_content(self.config[self.config.subcommand].as_dict())

    def _parse_ckpt_path(self) -> None:
        """Lightning would read the whole checkpoint for hyper-parameters, which ours do not hold."""

    def before_instantiate_classes(self) -> None:
        """Finds the run's folder and the checkpoint to start from. Raises `RunError`."""
        config = self.config[self.subcommand]
        self.folder = Path(config.runs) / (config.name or _name_of(config.config))
        config.trainer.default_root_dir = str(self.folder)
        config.weights_only = True  # our checkpoints hold plain types only
        if self.subcommand in {"validate", "test"}:
            config.verbose = False  # evaluations print a table of their own
        if config.trainer.enable_progress_bar is None:
            config.trainer.enable_progress_bar = sys.stdout.isatty()
        if self.subcommand == "fit" and config.monitor:
            config.trainer.enable_checkpointing = True
        self._choose_checkpoint(config)

    def _choose_checkpoint(self, config: Any) -> None:
        if config.ckpt_path:
            config.ckpt_path = str(find_checkpoint(self.folder, config.ckpt_path))
        elif self.subcommand == "fit":
            if _get_rank() in (None, 0) and checkpoints(self.folder):
                raise RunError(
                    f"{self.folder} already holds a run: go on with it by --ckpt_path last, or begin another "
                    "one by --name NEW_NAME (nothing is overwritten)."
                )
        else:
            weights_file = (config.model.get("init_args") or {}).get("pretrained")
            weights = "an UNTRAINED model (random weights)"
            if weights_file:
                weights = f"the weights {weights_file} as they are"
            rank_zero_info(
                f"no --ckpt_path given: this judges {weights}; --ckpt_path best|last|FILE judges a trained "
                "one."
            )

    def instantiate_classes(self) -> None:
        """Builds model, data and trainer, and brings model and data together."""
        super().instantiate_classes()
        connect(self.model, self.datamodule, self.trainer.callbacks)  # type: ignore[attr-defined]

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """The trainer, with the callbacks and the logger that belong to every run."""
        config = self.config[self.subcommand]
        asked = self.config_init[self.subcommand].trainer
        if asked.logger in (None, True):
            run_name = self.folder.relative_to(config.runs).as_posix()
            kwargs["logger"] = wandb_logger(self.folder, run_name)
        kwargs["plugins"] = [WholeCheckpoints(), *(asked.plugins or [])]
        kwargs["callbacks"] = [*self._own_callbacks(config), *(asked.callbacks or [])]
        return super().instantiate_trainer(**kwargs)

    def _own_callbacks(self, config: Any) -> list[pl.Callback]:
        seed = config.seed_everything if isinstance(config.seed_everything, int) else 0
        own: list[pl.Callback] = [RunRecord(self._config_text(), seed), Accounts()]
        if self.subcommand == "fit":
            folder = self.folder / "checkpoints"
            own += [StepSeeds(seed), LastCheckpoint(folder / "last.ckpt", config.save_every)]
            if config.monitor:
                own.append(_best_checkpoint(folder, config.monitor))
            if config.trainer.logger is not False:
                own.append(LearningRateMonitor("step"))
        listed = self.config_init[self.subcommand].trainer.callbacks or []
        if self.subcommand == "predict" and not any(isinstance(one, Predictions) for one in listed):
            own.append(Predictions())
        if config.trainer.enable_progress_bar:
            own.append(TQDMProgressBar(leave=True))
        else:
            own.append(EpochLines())
        return own

    def _config_text(self) -> str:
        """The complete configuration without what belongs to this start alone."""
        text = self._parser(self.subcommand).dump(
            self.config[self.subcommand], skip_none=False, skip_link_targets=False
        )
        content = yaml.safe_load(text)
        for key in OF_ONE_START:
            content.pop(key, None)
        content["trainer"].pop("default_root_dir", None)
        return yaml.safe_dump(content, sort_keys=False)


def _best_checkpoint(folder: Path, monitor: str) -> ModelCheckpoint:
    return ModelCheckpoint(
        folder, "best", monitor=monitor, mode="max", save_top_k=1, enable_version_counter=False
    )


def _name_of(configs: Any) -> str:
    """The name of a run that was given none: that of its first config.

    ``configs/hist_albef.yaml`` -> ``hist_albef``; a run's own ``config.yaml`` -> that run's folder.
    """
    if not configs:
        return "unnamed"
    path = Path(str(configs[0]))
    return path.parent.name if path.name == "config.yaml" else path.stem


def with_newest_run(argv: list[str]) -> list[str]:
    """Adds the newest run's config and best checkpoint to a command that names no config.

    Args:
        argv: ``test``, ``validate`` or ``predict`` with their options; ``fit`` is left alone.

    Raises:
        RunError: there is no such run.
    """
    if argv[0] == "fit" or _names_a_config(argv):
        return argv
    runs = Path(_option(argv, "--runs") or "runs")
    name = _option(argv, "--name")
    folder = runs / name if name else newest_run(runs)
    if not (folder / "config.yaml").is_file():
        raise RunError(f"{folder} holds no run; --name takes a folder below {runs}, or give a --config.")
    added = ["--config", str(folder / "config.yaml")]
    if not name:
        added += ["--name", folder.relative_to(runs).as_posix()]
    checkpoint = _option(argv, "--ckpt_path")
    if not checkpoint:
        checkpoint = default_checkpoint(folder)
        added += ["--ckpt_path", checkpoint]
    rank_zero_info(f"judging the run {folder} ({checkpoint} checkpoint)")
    return [argv[0], *added, *argv[1:]]


def _names_a_config(argv: list[str]) -> bool:
    """Whether a command names a config, or only wants to be told of its options."""
    for argument in argv:
        if argument in {"-h", "--help", "--print_config"} or argument.split("=")[0] in {"--config", "-c"}:
            return True
    return False


def _option(argv: list[str], name: str) -> str | None:
    """The value of an option, written as ``--name value`` or ``--name=value``."""
    for position, argument in enumerate(argv):
        if argument == name and position + 1 < len(argv):
            return argv[position + 1]
        if argument.startswith(f"{name}="):
            return argument.split("=", 1)[1]
    return None


def quiet() -> None:
    """Silences warnings about what this project does on purpose."""
    for text in UNWANTED_WARNINGS:
        warnings.filterwarnings("ignore", text)
    for name in TALKATIVE_LOGGERS:
        logging.getLogger(name).addFilter(_is_wanted)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def _is_wanted(record: logging.LogRecord) -> bool:
    return not any(text in record.getMessage() for text in UNWANTED_MESSAGES)


def run(argv: list[str], cli: type[WeakgroundCLI] = WeakgroundCLI) -> WeakgroundCLI:
    """Runs one subcommand in this process.

    Args:
        argv: the subcommand and its options.
        cli: what builds model and data, and runs them.

    Raises:
        ConfigError, DataError, ModelError, RunError: what a user can mend.
    """
    quiet()
    read_none_as_null()
    check_command_line(argv)  # before any run is looked for
    argv = with_newest_run(argv)
    check_config(argv)
    return cli(
        model_class=WeakgroundModule,
        datamodule_class=GroundingDataModule,
        subclass_mode_model=True,
        subclass_mode_data=True,
        seed_everything_default=0,
        save_config_callback=None,  # RunRecord keeps it
        auto_configure_optimizers=False,  # a module's own `optimisation`
        trainer_defaults=TRAINER_DEFAULTS,
        parser_kwargs={
            "exit_on_error": False,
            **{subcommand: {"exit_on_error": False} for subcommand in SUBCOMMANDS},
        },
        args=argv,
    )


def main(argv: list[str]) -> int:
    """Runs one subcommand as a command.

    Returns:
        The exit code: 1 or 2 after an error that a user can mend, which is printed as one line; `STOPPED` for
        a run that was told to stop, which must not look like one that is done.
    """
    try:
        trainer: Any = run(argv).trainer
    except USER_ERRORS as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1
    except Exception as error:
        message = explain(error)
        if message is None:
            raise
        print(f"error: {message}", file=sys.stderr)
        return 2
    # The other processes end with 0: their launcher would kill this one, which may still be writing.
    stopped = any(callback.stopped for callback in trainer.callbacks if isinstance(callback, LastCheckpoint))
    return STOPPED if stopped and trainer.is_global_zero else 0
