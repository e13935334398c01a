"""What a torch file holds, without running code of those who wrote it.

Three kinds are published: dictionaries of tensors, which torch itself reads safely; pickles with objects of
their authors' classes, down to whole modules; and TorchScript archives, as of OpenAI's CLIP. Of the last two
only the tensors are made; stand-ins take the places of all other objects.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

TENSOR_PARTS = {
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
    ("collections", "OrderedDict"),
    *(
        ("torch", f"{kind}Storage")
        for kind in ("Float", "Half", "BFloat16", "Double", "Long", "Int", "Bool", "Byte")
    ),
}


class StandIn:
    """Stands for any object of a file that is no tensor; nothing of its class is loaded or run.

    Attributes:
        state: what the object consisted of, if it was kept as a dictionary.
        dump_patches: torch asks modules for it.
    """

    dump_patches = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.state: dict[Any, Any] = {}

    def __new__(cls, *args: Any, **kwargs: Any) -> StandIn:
        """Pickles make objects without initialising them."""
        stand_in = super().__new__(cls)
        stand_in.state = {}
        return stand_in

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, dict):
            self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, value: Any) -> None:
        """Lists are filled so while they are read."""


def read_torch_file(path: Path) -> Any:
    """The content of a torch file; of a whole module, its tensors by their names."""
    if _is_torchscript(path):
        return tensors_of(_read_torchscript(path))
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        content = torch.load(path, map_location="cpu", pickle_module=_tensors_only, weights_only=False)
    return tensors_of(content) if isinstance(content, StandIn) else content


def tensors_of(module: StandIn) -> dict[str, Tensor]:
    """The tensors of a module and of the modules within it, as its ``state_dict`` would name them."""
    members: dict[str, Any] = dict(module.state)
    for group in ("_parameters", "_buffers", "_modules"):
        members |= module.state.get(group) or {}
    tensors = {}
    for name, member in members.items():
        if isinstance(member, Tensor):
            tensors[name] = member.detach()
        elif isinstance(member, StandIn):
            tensors |= {f"{name}.{below}": tensor for below, tensor in tensors_of(member).items()}
    return tensors


class _TensorUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return super().find_class(module, name) if (module, name) in TENSOR_PARTS else StandIn


def _load_tensors_only(file: Any, **options: Any) -> Any:
    return _TensorUnpickler(file, **options).load()


_tensors_only = ModuleType("tensors_only")  # what torch.load wants in place of the module `pickle`
_tensors_only.Unpickler = _TensorUnpickler  # type: ignore[attr-defined]
_tensors_only.load = _load_tensors_only  # type: ignore[attr-defined]


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _read_torchscript(path: Path) -> Any:
    """The module of a TorchScript archive: a pickle of its attributes, and a file for each storage."""
    with zipfile.ZipFile(path) as archive:
        root = archive.namelist()[0].split("/")[0]
        unpickler = _ArchiveUnpickler(io.BytesIO(archive.read(f"{root}/data.pkl")))
        unpickler.read_storage = lambda key: archive.read(f"{root}/data/{key}")
        return unpickler.load()


class _ArchiveUnpickler(_TensorUnpickler):
    read_storage: Any

    def persistent_load(self, pid: Any) -> Any:
        """A storage: its kind, its number within the archive, and its device."""
        _, kind, key, _, size = pid
        content = bytearray(self.read_storage(key)) if size else bytearray()
        storage = torch.UntypedStorage(len(content))
        if content:
            storage.copy_(torch.frombuffer(content, dtype=torch.uint8).untyped_storage())
        return torch.storage.TypedStorage(wrap_storage=storage, dtype=kind.dtype, _internal=True)
