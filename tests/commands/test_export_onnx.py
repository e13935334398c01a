"""A grounder as an ONNX graph gives what it gives in torch."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

import cli
from commands import export_onnx
from datamodules.batches import Preprocessing
from lightning_modules.errors import ModelError
from tests.callbacks.judging import Capable
from tests.tiny import tiny_config
from weakground.grounder import Grounder
from weakground.models import instantiate
from weakground.onnx_graph import Graph, export

needs_onnx = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxscript", "onnxruntime")),
    reason=f"needs the extra 'onnx': {export_onnx.INSTALL}",
)
METHODS = ("PhraseAlignment", "WWbLTrain", "TTDSelfDistill")


def tiny_grounder(method: str) -> Grounder:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Grounder(instantiate(tiny_config(method)["model"]))


@pytest.mark.parametrize("method", METHODS)
def test_the_graph_is_what_grounds(method: str) -> None:
    grounder = tiny_grounder(method)
    graph = Graph(grounder).eval()
    photo = np.random.default_rng(0).integers(0, 256, (graph.side, graph.side, 3), np.uint8)
    phrases = ["the red ball", "a tree"]
    with torch.no_grad():
        maps = graph(*graph.inputs(photo, phrases))
    torch.testing.assert_close(maps, grounder.heatmaps(photo, phrases), rtol=0, atol=1e-5)


@needs_onnx
@pytest.mark.parametrize("method", METHODS)
def test_onnx_agrees_with_torch(method: str, tmp_path: Path) -> None:
    graph = export(tiny_grounder(method), tmp_path / "tiny.onnx")
    # Three phrases, where it was traced with two.
    assert export_onnx.largest_difference(graph, tmp_path / "tiny.onnx") < 1e-4
    assert (tmp_path / "tiny.onnx.json").is_file()


def test_maps_that_are_made_of_gradients() -> None:
    module = Capable()
    module.preprocessing = Preprocessing(4, (0.0,) * 3, (1.0,) * 3)
    with pytest.raises(ModelError, match="maps of Capable cannot be an ONNX graph"):
        Graph(Grounder(module))


def test_without_onnx(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert cli.main(["export_onnx", "photos", "--out", str(tmp_path / "a.onnx")]) == 1
    assert "onnxscript is not installed" in capsys.readouterr().err
