"""Keeps what a user cannot use out of a run's output."""

from __future__ import annotations

import logging
import os
import warnings

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
    ".*`srun` command is available.*",  # commands.launchers says what is wrong, if anything is
    ".*all_gather is deprecated.*",
    ".*anonymous setting has no effect.*",
    ".*AccumulateGrad node's stream does not match.*",  # DDP's own doing
)
UNWANTED_MESSAGES = ("litlogger", "TPU available", "`weights_only` was not set", "Trainer.fit` stopped")
# What `predict` need not say: it trains and measures nothing.
UNWANTED_IN_PREDICT = ("Seed set to", "GPU available", "Restoring states", "Loaded model weights")
TALKATIVE_LOGGERS = (
    "lightning.fabric.utilities.seed",
    "lightning.pytorch.utilities.rank_zero",
    "lightning.pytorch.trainer.connectors.checkpoint_connector",
)


def quiet(subcommand: str) -> None:
    """Silences warnings about what this project does on purpose, and messages that say nothing to a user."""
    for text in UNWANTED_WARNINGS:
        warnings.filterwarnings("ignore", text)
    for name in TALKATIVE_LOGGERS:
        logging.getLogger(name).addFilter(_is_wanted)
        if subcommand == "predict":
            logging.getLogger(name).addFilter(_is_wanted_in_predict)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def _is_wanted(record: logging.LogRecord) -> bool:
    return not any(text in record.getMessage() for text in UNWANTED_MESSAGES)


def _is_wanted_in_predict(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(UNWANTED_IN_PREDICT)
