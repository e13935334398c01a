"""Files of others, of whose classes nothing is loaded."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lightning_modules.loading import read_weights

SOURCE = """
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(2, 3)
        self.rest = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
        self.options = {"loaded": True}

    def __setstate__(self, state):
        raise AssertionError("code of the file's author was run")
"""


@pytest.fixture
def authors_module(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A network of a module that only its author has."""
    module = ModuleType("authors_code")
    monkeypatch.setitem(sys.modules, "authors_code", module)
    exec(SOURCE, module.__dict__)
    return module


def assert_same(state: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert set(state) == set(expected)
    for name, value in expected.items():
        assert torch.equal(state[name], value), name
        assert not state[name].requires_grad


@pytest.mark.parametrize("zipped", [True, False])
def test_a_whole_module(
    tmp_path: Path, authors_module: Any, monkeypatch: pytest.MonkeyPatch, zipped: bool
) -> None:
    network = authors_module.Net()
    path = tmp_path / "net.pth"
    torch.save(nn.DataParallel(network), path, _use_new_zipfile_serialization=zipped)
    monkeypatch.delitem(sys.modules, "authors_code")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch misses the source of a class that is not here
        state = read_weights(path)
    expected = {f"module.{name}": value for name, value in network.state_dict().items()}
    if torch.cuda.is_available():
        assert_same(state, expected)
    else:  # without a GPU, torch's wrapper saves as the same object
        assert_same({f"module.{name.removeprefix('module.')}": v for name, v in state.items()}, expected)


def test_a_torchscript_archive(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.BatchNorm1d(3))).half()
    torch.jit.script(network).save(str(tmp_path / "clip.pt"))
    assert_same(read_weights(tmp_path / "clip.pt"), dict(network.state_dict()))
