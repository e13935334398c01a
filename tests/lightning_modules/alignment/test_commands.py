"""The head of a run as a file of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import cli
from commands.trainer import run
from tests.tiny import last_checkpoint, tiny_config, write_config


def test_the_head_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write_config(tmp_path / "tiny.yaml", tiny_config("PhraseAlignment"))
    runs = ["--runs", str(tmp_path / "runs")]
    run(["fit", "--config", config, *runs])
    out = tmp_path / "models" / "mine"
    assert cli.main(["export_head", "tiny", "--out", str(out), *runs]) == 0
    assert "written" in capsys.readouterr().out
    written = load_file(out.with_suffix(".safetensors"))
    state = last_checkpoint(tmp_path / "runs" / "tiny")["state_dict"]
    assert {f"network.{name}" for name in written} == set(state)
    for name, tensor in written.items():
        assert tensor.dtype == torch.float16
        torch.testing.assert_close(tensor.float(), state[f"network.{name}"], rtol=1e-3, atol=1e-4)
    description = json.loads(out.with_suffix(".json").read_text())
    assert description["training"]["steps"] == 4
    assert description["model"]["class_path"].endswith("PhraseAlignment")


def test_only_heads_of_alignment(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write_config(tmp_path / "tiny.yaml", tiny_config("DigitPretrain"))
    runs = ["--runs", str(tmp_path / "runs")]
    run(["fit", "--config", config, *runs])
    assert cli.main(["export_head", "tiny", "--out", str(tmp_path / "mine"), *runs]) == 1
    assert "is a run of DigitPretrain" in capsys.readouterr().err
    assert cli.main(["export_head", "nothing", "--out", str(tmp_path / "mine"), *runs]) == 1
    assert "there is no model" in capsys.readouterr().err
