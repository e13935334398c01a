"""``fit``, ``validate``, ``test`` and ``predict``: LightningCLI with this project's defaults and folders."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
import yaml
from lightning.fabric.plugins.environments import ClusterEnvironment
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities.rank_zero import rank_zero_info

# Class names work without their package path once the classes are known.
import callbacks.catalogue  # noqa: F401
import datamodules.catalogue  # noqa: F401
import lightning_modules.catalogue  # noqa: F401
from callbacks.run import signals
from callbacks.run.accounts import Accounts
from callbacks.run.checkpoint_files import CheckpointFiles
from callbacks.run.epoch_lines import EpochLines
from callbacks.run.last_checkpoint import LastCheckpoint
from callbacks.run.metrics_file import MetricsFile
from callbacks.run.predictions import Predictions
from callbacks.run.run_record import RunRecord
from callbacks.run.step_seeds import StepSeeds
from callbacks.run.stopping import Stopping
from commands.command_line import ConfigError, with_config_files
from commands.config_errors import check_command_line, check_config, check_content
from commands.connect import connect
from commands.disk_errors import disk_fault
from commands.ending import DONE, USAGE_ERROR, USER_ERROR, close_loggers, stopped_code
from commands.launchers import cluster_environment, fit_trainer, place_of
from commands.newest_run import with_newest_run
from commands.nulls import read_none_as_null
from commands.options import weight_files, with_short_names
from commands.parser_errors import explain
from commands.peers import GONE, Peers, Place, is_lost_connection
from commands.quiet import quiet
from commands.runs import (
    RunError,
    RunOptions,
    checkpoints,
    default_checkpoint,
    find_checkpoint,
    name_of,
    run_folder,
)
from commands.wandb_logger import wandb_logger
from datamodules.base import GroundingDataModule
from datamodules.errors import DataError
from lightning_modules.base import WeakgroundModule
from lightning_modules.errors import ModelError

AUTO = "auto"  # a --ckpt_path
USER_ERRORS = (ConfigError, DataError, ModelError, RunError)
TRAINER_DEFAULTS = {
    # Class activation maps need gradients in evaluation, and evaluation must see every sample once: see
    # `UnrepeatedDistributedSampler` in datamodules.base.
    "inference_mode": False,
    "use_distributed_sampler": False,
    "enable_checkpointing": False,  # LastCheckpoint and, with --monitor, a best one are added below
    "num_sanity_val_steps": 0,
    "enable_model_summary": False,  # one line says what there is
    "log_every_n_steps": 10,
}
# What belongs to one start of a run, and is no part of its configuration.
OF_ONE_START = ("config", "ckpt_path", "verbose", "weights_only", "name", "return_predictions")


class Parser(LightningArgumentParser):
    """A parser of options that are written in full: ``max_step`` is a mistake, and not ``max_steps``."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, allow_abbrev=False, **options)


class WeakgroundCLI(LightningCLI):
    """LightningCLI whose runs live in ``<runs>/<name>/``.

    Args:
        peers: the processes of the run; those that were started with this one have met already.
        environment: what started the processes; None if Lightning is to find out.
        options: of LightningCLI.
    """

    def __init__(self, peers: Peers, environment: ClusterEnvironment | None, **options: Any) -> None:
        self.peers = peers
        self.environment = environment
        self.asked_subcommand = options["args"][0]
        super().__init__(**options)

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]  # (Lightning's is static)
        """The one that is asked for: the options of all four would take a second longer to set up."""
        return {self.asked_subcommand: LightningCLI.subcommands()[self.asked_subcommand]}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds the options of a run."""
        parser.add_class_arguments(RunOptions)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parses, and checks the whole configuration once more, with all that the command line changed."""
        super().parse_arguments(parser, args)
        check_content(self.config[self.config.subcommand].as_dict())

    def _parse_ckpt_path(self) -> None:
        """Lightning would read the whole checkpoint for hyper-parameters, which ours do not hold."""

    def _dump_config(self) -> None:
        """Lightning would write out all options as hyper-parameters of model and data, which have none."""
        self.config_dump: dict[str, Any] = {}

    def before_instantiate_classes(self) -> None:
        """Finds the run's folder and the checkpoint to start from. Raises `RunError`."""
        config = self.config[self.subcommand]
        self.folder = run_folder(Path(config.runs), config.name or name_of(config.config))
        config.trainer.default_root_dir = str(self.folder)
        config.weights_only = True  # our checkpoints hold plain types only
        if self.subcommand in {"validate", "test"}:
            config.verbose = False  # evaluations print a table of their own
        if config.trainer.enable_progress_bar is None:
            config.trainer.enable_progress_bar = sys.stdout.isatty()
        if self.subcommand == "fit" and config.monitor:
            config.trainer.enable_checkpointing = True
        if self.peers.place.size > 1:
            fit_trainer(config.trainer, self.peers.place.size)
        # One process looks into the folder and tells the others: they may see it at another moment.
        path = self.peers.decide("checkpoint", lambda: self._choose_checkpoint(config))
        config.ckpt_path = path or None

    def _choose_checkpoint(self, config: Any) -> str:
        """The checkpoint to start from; empty for none."""
        if config.ckpt_path == AUTO:
            return self._choose_automatically()
        if config.ckpt_path:
            return str(find_checkpoint(self.folder, config.ckpt_path))
        if self.subcommand == "fit":
            if checkpoints(self.folder):
                raise RunError(
                    f"{self.folder} already holds a run: go on with it by --ckpt_path last, or begin another "
                    "one by --name NEW_NAME (nothing is overwritten)."
                )
        else:
            weights = "an UNTRAINED model (random weights)"
            files = list(weight_files(config.model.as_dict()))
            if files:
                weights = f"the weights {', '.join(files)} as they are"
            rank_zero_info(
                f"no --ckpt_path given: this judges {weights}; --ckpt_path best|last|FILE judges a trained "
                "one."
            )
        return ""

    def _choose_automatically(self) -> str:
        """What ``--ckpt_path auto`` means: go on if there is something to go on with, begin otherwise."""
        if self.subcommand != "fit":
            return str(find_checkpoint(self.folder, default_checkpoint(self.folder)))
        if not (self.folder / "checkpoints" / "last.ckpt").is_file():
            return ""
        path = find_checkpoint(self.folder, "last")
        rank_zero_info(f"going on from {path}")
        return str(path)

    def instantiate_classes(self) -> None:
        """Builds model, data and trainer, and brings model and data together."""
        super().instantiate_classes()
        connect(self.model, self.datamodule, self.trainer.callbacks)  # type: ignore[attr-defined]
        if self.subcommand == "fit":
            rank_zero_info(describe(self.model))

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """The trainer, with the callbacks and the logger that belong to every run."""
        config = self.config[self.subcommand]
        asked = self.config_init[self.subcommand].trainer
        kwargs["logger"] = [
            MetricsFile(self.folder / "metrics.csv", training=self.subcommand == "fit"),
            *self._further_loggers(config, asked.logger),
        ]
        kwargs["callbacks"] = [*self._own_callbacks(config), *(asked.callbacks or [])]
        kwargs["plugins"] = [*(asked.plugins or []), CheckpointFiles()]
        if self.environment is not None:
            kwargs["plugins"].append(self.environment)
        trainer: Any = super().instantiate_trainer(**kwargs)
        # Lightning's handlers talk to the other processes, whatever these are doing at that moment.
        trainer._signal_connector.register_signal_handlers = lambda: None
        self._meet_children(trainer)
        return trainer

    def _further_loggers(self, config: Any, asked: Any) -> list[Any]:
        if asked is False or self.subcommand == "predict":  # which measures nothing
            return []
        if asked not in (None, True):
            return asked if isinstance(asked, list) else [asked]
        name = self.folder.relative_to(config.runs).as_posix()
        logger = wandb_logger(self.folder, name, config.upload_best)
        return [] if logger is None else [logger]

    def _meet_children(self, trainer: pl.Trainer) -> None:
        """Opens the meeting place for the processes that Lightning will start."""
        if trainer.world_size > 1 and self.peers.place.size == 1:
            environment: Any = trainer.strategy.cluster_environment  # type: ignore[attr-defined]
            place = Place(0, trainer.world_size, environment.main_address, environment.main_port)
            self.peers.meet(place, wait=False)
            # They ask what this process has decided while it was alone.
            path = self.config[self.subcommand].ckpt_path
            self.peers.decide("checkpoint", lambda: path or "")

    def _own_callbacks(self, config: Any) -> list[pl.Callback]:
        seed = config.seed_everything if isinstance(config.seed_everything, int) else 0
        own: list[pl.Callback] = [Stopping(), RunRecord(self._config_text(), seed), Accounts()]
        if self.subcommand == "fit":
            folder = self.folder / "checkpoints"
            own += [StepSeeds(seed), LastCheckpoint(folder / "last.ckpt", config.save_every)]
            if config.monitor:
                own.append(_best_checkpoint(folder, config.monitor))
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
            self.config[self.subcommand],
            skip_none=False,
            skip_link_targets=False,
            skip_validation=True,  # parsing has validated them
        )
        content = yaml.safe_load(text)
        for key in OF_ONE_START:
            content.pop(key, None)
        content["trainer"].pop("default_root_dir", None)
        with_short_names(content)
        return yaml.safe_dump(content, sort_keys=False)


def _best_checkpoint(folder: Path, monitor: str) -> ModelCheckpoint:
    return ModelCheckpoint(
        folder, "best", monitor=monitor, mode="max", save_top_k=1, enable_version_counter=False
    )


def describe(model: torch.nn.Module) -> str:
    """How large a model is, in one line.

    Example:
        >>> describe(torch.nn.Linear(30, 50))
        'Linear: 1,550 parameters, 1,550 of them trained'
    """
    parameters = list(model.parameters())
    count = sum(parameter.numel() for parameter in parameters)
    trained = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
    return f"{type(model).__name__}: {count:,} parameters, {trained:,} of them trained"


def run(
    argv: list[str], peers: Peers | None = None, cli: Callable[..., WeakgroundCLI] | None = None
) -> WeakgroundCLI:
    """Runs one subcommand in this process.

    Args:
        argv: the subcommand and its options.
        peers: the processes of the run; by default this one alone.
        cli: what builds model and data, and runs them; by default `WeakgroundCLI`.

    Raises:
        ConfigError, DataError, ModelError, RunError: what a user can mend.
        Stopped: a signal has come at a moment at which there was nothing to save.
    """
    quiet(argv[0])
    read_none_as_null()
    peers = peers or Peers()
    environment = cluster_environment()
    place = place_of(environment)
    if place is not None:
        peers.meet(place)
    if signals.received() and peers.place.rank == 0:
        raise signals.Stopped("stopped before anything was done; the same command begins again.")
    check_command_line(argv)  # before any run is looked for
    argv = with_newest_run(with_config_files(argv))
    check_config(argv)
    return (cli or WeakgroundCLI)(
        peers,
        environment,
        model_class=WeakgroundModule,
        datamodule_class=GroundingDataModule,
        subclass_mode_model=True,
        subclass_mode_data=True,
        seed_everything_default=0,
        save_config_callback=None,  # RunRecord keeps it
        auto_configure_optimizers=False,  # a module's own `optimisation`
        trainer_defaults=TRAINER_DEFAULTS,
        parser_kwargs={"exit_on_error": False, argv[0]: {"exit_on_error": False}},
        parser_class=Parser,
        args=argv,
    )


def main(argv: list[str]) -> int:
    """Runs one subcommand as a command.

    Returns:
        The exit code, see `commands.ending`. A run that was told to stop must not look like one that is done.
    """
    peers = Peers()
    listening = signals.listen()
    try:
        return _run(argv, peers)
    except BrokenPipeError:  # nobody reads the output any more
        peers.fail(USER_ERROR)
        raise
    except Exception as error:
        message, code = explained(error)
        if peers.speaks_of_failure():
            if message is None:
                traceback.print_exc()
            else:
                print(f"error: {message}", file=sys.stderr)
        peers.fail(code)
        return code
    finally:
        if listening:
            signals.stop_listening()


def _run(argv: list[str], peers: Peers) -> int:
    """Runs one subcommand, and ends it as a signal asks for."""
    try:
        trainer: Any = run(argv, peers).trainer
    except signals.Stopped as stop:
        print(stop, file=sys.stderr)
        close_loggers(stop.trainer)
        peers.dismiss()
        return stopped_code(stop.progressed)
    stopped = [one for one in trainer.callbacks if isinstance(one, LastCheckpoint) and one.stopped]
    close_loggers(trainer)
    peers.part()
    # The other processes end with 0: their launcher would kill this one, which may still be writing.
    if stopped and trainer.is_global_zero:
        return stopped_code(progressed=True)
    return DONE


def explained(error: Exception) -> tuple[str | None, int]:
    """What a user is told of an error, None for its traceback; and the exit code."""
    if isinstance(error, USER_ERRORS):
        return str(error), USAGE_ERROR if isinstance(error, ConfigError) else USER_ERROR
    if is_lost_connection(error):
        return GONE, USER_ERROR
    fault = disk_fault(error)
    if fault is not None:
        return fault, USER_ERROR
    message = explain(error)
    return message, USER_ERROR if message is None else USAGE_ERROR
