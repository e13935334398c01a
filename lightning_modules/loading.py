"""Reading the files in which weights are published, without running code from them."""

from __future__ import annotations

import pickle
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from lightning_modules.errors import ModelError


def read_weights(path: Path) -> dict[str, Tensor]:
    """The content of a weights file: ``.safetensors``, or a torch file. Of a checkpoint of this project, the
    tensors of the network.

    An official torch file may hold objects of its authors' code beside its tensors, such as a configuration:
    those are not made, see `Ignored`.

    Raises:
        ModelError: no such file, or nothing that can be read safely.
    """
    if not path.is_file():
        raise ModelError(
            f"pre-trained weights {path.absolute()} not found; set --model.pretrained, or leave it out to start from scratch."
        )
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        content = _read_torch_file(path)
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise ModelError(
            f"{path}: not readable as weights without running code from it ({reason})."
        ) from error
    if not isinstance(content, dict):
        raise ModelError(f"{path}: holds a {type(content).__name__}, not a dictionary of tensors.")
    if "state_dict" in content and "pytorch-lightning_version" in content:
        return {
            key.removeprefix("network."): value
            for key, value in content["state_dict"].items()
            if key.startswith("network.")
        }
    return content


def _read_torch_file(path: Path) -> Any:
    """What PyTorch itself reads safely; published files that hold more than tensors by an unpickler that
    loads nothing but tensors.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        return torch.load(path, map_location="cpu", pickle_module=_tensors_only, weights_only=False)


class Ignored:
    """Stands for any object of a file that is no tensor; nothing of the class that it names is loaded or run."""

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
    *(
        ("torch", f"{kind}Storage")
        for kind in ("Float", "Half", "BFloat16", "Double", "Long", "Int", "Bool", "Byte")
    ),
}


class _TensorUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return super().find_class(module, name) if (module, name) in TENSOR_PARTS else Ignored


_tensors_only = ModuleType("tensors_only")  # what torch.load wants in place of the module `pickle`
_tensors_only.Unpickler = _TensorUnpickler  # type: ignore[attr-defined]
_tensors_only.load = lambda file, **options: _TensorUnpickler(file, **options).load()  # type: ignore[attr-defined]
