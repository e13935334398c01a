"""The file of a dual encoder's head."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lightning_modules.backbones.photo_encoder import load_head
from lightning_modules.errors import ModelError
from tests.lightning_modules.alignment.tiny import TinyEncoder


@pytest.fixture
def head(tmp_path: Path) -> Path:
    """The head of an encoder of two towers, each number different from a new one's."""
    path = tmp_path / "head.safetensors"
    state = {name: torch.full_like(value, 0.5) for name, value in TinyEncoder(towers=2).head_state().items()}
    save_file({name: value.half() for name, value in state.items()}, path)
    return path


@pytest.mark.parametrize("towers", [1, 2])
def test_a_head_is_read_by_an_encoder_of_its_first_towers(head: Path, towers: int) -> None:
    encoder = TinyEncoder(towers=towers)
    load_head(encoder, head)
    assert all((value == 0.5).all() for value in encoder.head_state().values())


def test_heads_that_do_not_fit_are_refused(head: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="the head of another encoder"):
        load_head(TinyEncoder(towers=3), head)
    with pytest.raises(ModelError, match="the head of another encoder"):
        load_head(TinyEncoder(towers=2, strides=(16, 32)), head)
    with pytest.raises(ModelError, match="is not there"):
        load_head(TinyEncoder(), tmp_path / "none.safetensors")
    (tmp_path / "damaged.safetensors").write_bytes(b"no weights")
    with pytest.raises(ModelError, match="not readable as safetensors"):
        load_head(TinyEncoder(), tmp_path / "damaged.safetensors")
