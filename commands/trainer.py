"""``fit``, ``validate``, ``test`` and ``predict``: LightningCLI with this project's defaults, run folders and
error messages.
"""

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
from callbacks.base import SetCallback
from callbacks.run.epoch_lines import EpochLines
from callbacks.run.last_checkpoint import LastCheckpoint
from callbacks.run.predictions import Predictions
from callbacks.run.run_record import RunRecord
from callbacks.run.step_seeds import StepSeeds
from commands.config_errors import ConfigError, check_config, explain
from commands.runs import RunError, checkpoints, default_checkpoint, find_checkpoint, newest_run
from commands.wandb_logger import wandb_logger
from datamodules.base import GroundingDataModule
from datamodules.errors import DataError
from lightning_modules.base import ModelError, WeakgroundModule

STOPPED = 130  # exit code of a run that Ctrl-C or SIGTERM ended, as of shells
USER_ERRORS = (ConfigError, DataError, ModelError, RunError)


class WeakgroundCLI(LightningCLI):
    """LightningCLI whose runs live in ``<runs>/<name>/``."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument(
            "--name",
            type=str | None,
            default=None,
            help="name of the run; by default that of the config file",
        )
        parser.add_argument("--runs", type=str, default="runs", help="folder of all runs")
        parser.add_argument(
            "--monitor",
            type=str | None,
            default=None,
            help="logged number by which checkpoints/best.ckpt is kept (the highest)",
        )
        parser.add_argument(
            "--save_every",
            type=int,
            default=1000,
            help="steps between two writes of checkpoints/last.ckpt; it is also written at the end",
        )

    def _parse_ckpt_path(self) -> None:
        """Lightning would read the whole checkpoint for hyper-parameters, which ours do not hold."""

    def before_instantiate_classes(self) -> None:
        config = self.config[self.subcommand]
        self.folder = Path(config.runs) / (config.name or _name_of(config.config))
        trainer = config.trainer
        trainer.default_root_dir = str(self.folder)
        config.weights_only = True  # our checkpoints hold plain types only
        if self.subcommand in {"validate", "test"}:
            config.verbose = False  # GroundingEvaluation prints its own table
        if trainer.enable_progress_bar is None:
            trainer.enable_progress_bar = sys.stdout.isatty()
        if self.subcommand == "fit" and config.monitor:
            trainer.enable_checkpointing = True
        if config.ckpt_path:
            config.ckpt_path = str(find_checkpoint(self.folder, config.ckpt_path))
        elif self.subcommand == "fit" and _get_rank() in (None, 0) and checkpoints(self.folder):
            raise RunError(
                f"{self.folder} already holds a run: go on with it by --ckpt_path last, or begin another one by --name NEW_NAME (nothing is overwritten)."
            )
        elif self.subcommand != "fit":
            start = (config.model.get("init_args") or {}).get("pretrained")
            weights = f"the weights {start} as they are" if start else "an UNTRAINED model (random weights)"
            rank_zero_info(
                f"no --ckpt_path given: this judges {weights}; --ckpt_path best|last|FILE judges a trained one."
            )

    def instantiate_classes(self) -> None:
        """Tells the callbacks that judge which data they look at."""
        super().instantiate_classes()
        for callback in self.trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, SetCallback):
                callback.supply = self.datamodule

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        config = self.config[self.subcommand]
        seed = config.seed_everything if isinstance(config.seed_everything, int) else 0
        own: list[pl.Callback] = [RunRecord(self._config_text(), seed)]
        if self.subcommand == "fit":
            folder = self.folder / "checkpoints"
            own += [StepSeeds(seed), LastCheckpoint(folder / "last.ckpt", config.save_every)]
            if config.monitor:
                own.append(
                    ModelCheckpoint(
                        folder,
                        "best",
                        monitor=config.monitor,
                        mode="max",
                        save_top_k=1,
                        enable_version_counter=False,
                    )
                )
            if config.trainer.logger is not False:
                own.append(LearningRateMonitor("step"))
        if self.subcommand == "predict":
            own.append(Predictions())
        own.append(TQDMProgressBar(leave=True) if config.trainer.enable_progress_bar else EpochLines())
        if self.config_init[self.subcommand].trainer.logger in (None, True):
            kwargs["logger"] = wandb_logger(self.folder, _run_name(self.folder, config.runs))
        kwargs["callbacks"] = [*own, *(self.config_init[self.subcommand].trainer.callbacks or [])]
        return super().instantiate_trainer(**kwargs)

    def _config_text(self) -> str:
        """The complete configuration without what belongs to this start alone."""
        text = self._parser(self.subcommand).dump(
            self.config[self.subcommand], skip_none=False, skip_link_targets=False
        )
        content = yaml.safe_load(text)
        for key in ("config", "ckpt_path", "verbose", "weights_only", "name", "return_predictions"):
            content.pop(key, None)
        content["trainer"].pop("default_root_dir", None)
        return yaml.safe_dump(content, sort_keys=False)


def _name_of(configs: Any) -> str:
    """The first config names the run: ``configs/hist_albef.yaml`` -> ``hist_albef``; a run's own
    ``config.yaml`` -> that run's folder.
    """
    if not configs:
        return "unnamed"
    path = Path(str(configs[0]))
    return path.parent.name if path.name == "config.yaml" else path.stem


def _run_name(folder: Path, runs: str) -> str:
    return folder.relative_to(runs).as_posix()


def with_newest_run(argv: list[str]) -> list[str]:
    """``test`` (or ``validate``, ``predict``) without a config: the newest run's, with its best checkpoint."""
    if argv[0] == "fit" or any(
        argument in {"-h", "--help", "--print_config"} or argument.split("=")[0] in {"--config", "-c"}
        for argument in argv
    ):
        return argv
    runs = Path(_option(argv, "--runs") or "runs")
    name = _option(argv, "--name")
    folder = runs / name if name else newest_run(runs)
    if not (folder / "config.yaml").is_file():
        raise RunError(f"{folder} holds no run; --name takes a folder below {runs}, or give a --config.")
    added = ["--config", str(folder / "config.yaml")] + (
        [] if name else ["--name", folder.relative_to(runs).as_posix()]
    )
    if not _option(argv, "--ckpt_path"):
        added += ["--ckpt_path", default_checkpoint(folder)]
    rank_zero_info(f"judging the run {folder} ({_option(argv, '--ckpt_path') or added[-1]} checkpoint)")
    return [argv[0], *added, *argv[1:]]


def _option(argv: list[str], name: str) -> str | None:
    for position, argument in enumerate(argv):
        if argument == name and position + 1 < len(argv):
            return argv[position + 1]
        if argument.startswith(f"{name}="):
            return argument.split("=", 1)[1]
    return None


def quiet() -> None:
    """Silences warnings about what this project does on purpose."""
    for text in (
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
    ):
        warnings.filterwarnings("ignore", text)
    unwanted = ("litlogger", "TPU available", "`weights_only` was not set", "Trainer.fit` stopped")
    for name in (
        "lightning.pytorch.utilities.rank_zero",
        "lightning.pytorch.trainer.connectors.checkpoint_connector",
    ):
        logging.getLogger(name).addFilter(
            lambda record: not any(text in record.getMessage() for text in unwanted)
        )
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def run(argv: list[str]) -> WeakgroundCLI:
    """One subcommand in this process.

    Raises:
        ConfigError, DataError, ModelError, RunError: what a user can mend.
    """
    quiet()
    argv = with_newest_run(argv)
    check_config(argv)
    return WeakgroundCLI(
        model_class=WeakgroundModule,
        datamodule_class=GroundingDataModule,
        subclass_mode_model=True,
        subclass_mode_data=True,
        seed_everything_default=0,
        save_config_callback=None,  # RunRecord keeps it
        auto_configure_optimizers=False,  # a module's own `optimisation`
        trainer_defaults={
            # Class activation maps need gradients in evaluation, and evaluation must see every sample once:
            # see DistributedSampler in datamodules.base.
            "inference_mode": False,
            "use_distributed_sampler": False,
            "enable_checkpointing": False,  # LastCheckpoint and, with --monitor, a best one are added below
            "num_sanity_val_steps": 0,
            "log_every_n_steps": 10,
        },
        parser_kwargs={
            "exit_on_error": False,
            **{sub: {"exit_on_error": False} for sub in ("fit", "validate", "test", "predict")},
        },
        args=argv,
    )


def main(argv: list[str]) -> int:
    """As a command: errors that a user can mend are one line; a run that was told to stop does not look like
    one that is done.
    """
    try:
        trainer: Any = run(argv).trainer
    except USER_ERRORS as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except Exception as error:
        message = explain(error)
        if message is None:
            raise
        print(f"error: {message}", file=sys.stderr)
        return 2
    # The other processes end with 0: their launcher would kill this one, which may still be writing.
    stopped = any(callback.stopped for callback in trainer.callbacks if isinstance(callback, LastCheckpoint))
    return STOPPED if stopped and trainer.is_global_zero else 0
