"""A file that is no checkpoint of a run of this size is refused with one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch

import cli
from tests.commands.refusals import backbone, refused
from tests.tiny import tiny_config, write_config


def checkpoint(tmp_path: Path, kind: str) -> Path:
    """A file that is no checkpoint of a run of this size."""
    path = tmp_path / "x.ckpt"
    state: dict[str, Any] = {
        "state_dict": {"network.temp": torch.zeros(())},
        "pytorch-lightning_version": pl.__version__,
        "global_step": 1,
        "epoch": 0,
        "loops": {},
    }
    if kind == "torn":
        torch.save(state, path)
        path.write_bytes(path.read_bytes()[:-200])
    elif kind == "text":
        path.write_text("not a checkpoint")
    elif kind == "empty":
        path.touch()
    elif kind == "official":
        torch.save({"model": {"temp": torch.zeros(())}}, path)
    elif kind == "code":
        torch.save(state | {"extra": Path("a class that is not a plain type")}, path)
    else:
        torch.save(state, path)
    return path


CHECKPOINTS = {
    "torn": "is damaged or no checkpoint of a run",
    "text": "is damaged or no checkpoint of a run",
    "empty": "is damaged or no checkpoint of a run",
    "code": "is damaged or no checkpoint of a run",
    "official": "weights of another program are read by --model.pretrained",
    "other model": "the checkpoint is of another model or size",
}


@pytest.mark.parametrize("kind", CHECKPOINTS)
@pytest.mark.parametrize("command", ["fit", "test"])
def test_checkpoints(kind: str, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write_config(tmp_path / "c.yaml", tiny_config())
    line = refused(
        [
            command,
            "--config",
            config,
            "--runs",
            str(tmp_path),
            "--ckpt_path",
            str(checkpoint(tmp_path, kind)),
        ],
        capsys,
    )
    assert CHECKPOINTS[kind] in line


def test_a_checkpoint_of_another_vocabulary(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tiny_config()
    config["trainer"] |= {"max_steps": 1, "callbacks": []}
    assert (
        cli.main(
            ["fit", "--config", write_config(tmp_path / "c.yaml", config), "--runs", str(tmp_path / "runs")]
        )
        == 0
    )
    tokens = Path(backbone(config)["vocabulary"]).read_text().splitlines()
    other = tmp_path / "vocab.txt"
    other.write_text("\n".join([*tokens[:-2], tokens[-1], tokens[-2]]))
    argv = [
        "test",
        "--config",
        str(tmp_path / "c.yaml"),
        "--runs",
        str(tmp_path / "runs"),
        "--ckpt_path",
        "last",
    ]
    assert "another vocabulary; set --model.backbone.vocabulary" in refused(
        [*argv, "--model.init_args.backbone.init_args.vocabulary", str(other)], capsys
    )
    line = refused([*argv, "--model.backbone.network.vision.width", "8"], capsys)
    assert "is (1, 1, 16) in it and (1, 1, 8) in this VisionLanguagePretrain; use the config.yaml" in line
