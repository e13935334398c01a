"""Weights of GroupViT's image encoder from the files in which they are published."""

from __future__ import annotations

import pickle
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from lightning_modules.base import ModelError, read_weights
from networks.groupvit import GroupViTImageEncoder


class Ignored:
    """Stands for any object of a checkpoint that is no tensor, such as its configuration; nothing of it is run."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, value: Any) -> None:
        """Lists are filled so while they are read."""


TENSOR_PARTS = {
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
    ("collections", "OrderedDict"),
    *(("torch", f"{kind}Storage") for kind in ("Float", "Half", "BFloat16", "Double", "Long", "Int", "Bool", "Byte")),
}


class _TensorUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return super().find_class(module, name) if (module, name) in TENSOR_PARTS else Ignored


_tensors_only = ModuleType("tensors_only")  # what torch.load wants in place of the module `pickle`
_tensors_only.Unpickler = _TensorUnpickler  # type: ignore[attr-defined]
_tensors_only.load = lambda file, **options: _TensorUnpickler(file, **options).load()  # type: ignore[attr-defined]


def read_official(path: Path) -> dict[str, Any]:
    """A torch file that also holds objects of its authors' code: its tensors are read, its objects are not made.

    Raises:
        ModelError: it cannot be read.
    """
    try:
        content = torch.load(path, map_location="cpu", pickle_module=_tensors_only, weights_only=False)
    except Exception as error:
        raise ModelError(f"{path}: not readable as weights ({str(error).splitlines()[0][:120]}).") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path}: holds no dictionary of tensors.")
    return content


def read_image_weights(encoder: GroupViTImageEncoder, path: Path) -> str:
    """Reads the encoder's weights from a file of the hub or an official one, and says what was read.

    Raises:
        ModelError: no such file, another kind of file, or weights of another model or size.
    """
    official = path.suffix == ".pth" and path.is_file()
    try:
        state = encoder.adapt_state_dict(read_official(path) if official else read_weights(path))
        missing, unexpected = encoder.load_state_dict(state, strict=False)
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"{path}: {' '.join(str(error).split())[:200]}") from error
    if missing:
        raise ModelError(f"{path}: {len(missing)} tensors of the image encoder are missing, the first is {missing[0]}.")
    return f"{path}: {len(state) - len(unexpected)} tensors of the image encoder read, {len(unexpected)} unexpected"
