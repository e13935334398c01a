"""Weights from files: read without running code from them, and put into one named part of a module."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lightning_modules.errors import ModelError
from lightning_modules.torch_files import read_torch_file


@dataclass(frozen=True)
class PartFile:
    """A part of a module that starts from a file.

    Args:
        part: dotted name of the part, e.g. ``network``.
        path: the file; None to start from the part's own random weights.
        option: the command-line option that names the file.
        only_to_train: the part is not needed to judge a trained module.
    """

    part: str
    path: Path | None
    option: str
    only_to_train: bool = False

    def load(self, module: nn.Module) -> str:
        """Reads the file into the part of ``module``, see `load_into`."""
        return self.load_into(module.get_submodule(self.part))

    def load_into(self, network: nn.Module) -> str:
        """Reads the file into the part itself; it must hold every tensor of it.

        The part may have a method ``adapt_state_dict``, which brings the layouts in which its weights are
        published to its own names, and ``optional_weights``, pieces of the names of what such a file may
        lack.

        Returns:
            What was loaded, missing and unexpected, as one line.

        Raises:
            ModelError: no such file, another kind of file, or weights that are damaged, not complete, or of
                another model or size.
        """
        assert self.path is not None, "a part without a file is not loaded"
        state = read_weights(self.path, self.part, self.option)
        try:
            adapt = getattr(network, "adapt_state_dict", dict)
            adapted = adapt(state)
            _check_numbers(adapted)
            missing = self._missing(network, adapted)
            _, unexpected = network.load_state_dict(adapted, strict=False)
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"{self.path}: {_one_line(error)} ({self.option} names this file).") from error
        loaded = len(adapted) - len(unexpected)
        line = f"{self.path}: {loaded} tensors of {self.part} loaded"
        if missing:
            line += f", {_listed(len(missing), 'missing', missing)}"
        if unexpected:
            line += f", {_listed(len(unexpected), 'unexpected', unexpected)}"
        return line

    def _missing(self, network: nn.Module, adapted: Mapping[str, Any]) -> list[str]:
        """The tensors of the part that the file lacks.

        Raises:
            ModelError: it may not lack them, or holds nothing of the part.
        """
        own = network.state_dict()
        missing = [name for name in own if name not in adapted]
        loaded = len(own) - len(missing)
        optional = getattr(network, "optional_weights", ())
        needed = [name for name in missing if not any(piece in name for piece in optional)]
        if not loaded or needed:
            raise ModelError(
                f"{self.path} does not fit {self.part}: {loaded} of its {len(adapted)} tensors do, "
                f"{_listed(len(needed), 'missing', needed)}; {self.option} names this file."
            )
        return missing


def _check_numbers(state: Mapping[str, Any]) -> None:
    """Raises `ValueError` if a tensor holds NaN, which would spread to everything that is computed."""
    for name, tensor in state.items():
        if isinstance(tensor, Tensor) and tensor.is_floating_point() and tensor.isnan().any():
            raise ValueError(f"{name} holds NaN; get the file again")


def _one_line(error: Exception) -> str:
    """The first line of an error that says something; torch begins with the class."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if len(lines) > 1 and lines[0].startswith("Error(s) in loading"):
        return lines[1].rstrip(".")
    return lines[0] if lines else type(error).__name__


def _listed(count: int, what: str, names: Sequence[str]) -> str:
    if not names:
        return f"{count} {what}"
    dots = " ..." if len(names) > 3 else ""
    return f"{count} {what} ({', '.join(names[:3])}{dots})"


def digest(weights: Mapping[str, Tensor]) -> str:
    """A fingerprint of weights by their names, by which a checkpoint knows a part that it does not hold."""
    fingerprint = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        fingerprint.update(name.encode())
        fingerprint.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return fingerprint.hexdigest()[:16]


def read_weights(path: Path, part: str = "network", option: str = "--model.pretrained") -> dict[str, Tensor]:
    """The content of a weights file: ``.safetensors``, or a torch file.

    Of a checkpoint of this project, the tensors of one part, or of its network where it has no such part. An
    official torch file may hold objects of its authors' code, such as a configuration, or a whole module: of
    those only the tensors are made, see `lightning_modules.torch_files`.

    Args:
        path: of the file.
        part: whose tensors are wanted.
        option: the command-line option that names the file, for messages.

    Raises:
        ModelError: no such file, or nothing that can be read safely.
    """
    if not path.is_file():
        raise ModelError(
            f"pre-trained weights {path.absolute()} not found; set {option}, "
            "or leave it out to start from scratch."
        )
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        content = read_torch_file(path)
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise ModelError(
            f"{path}: not readable as weights without running code from it ({reason})."
        ) from error
    if not isinstance(content, dict):
        raise ModelError(f"{path}: holds a {type(content).__name__}, not a dictionary of tensors.")
    for names in (content, content.get("model"), content.get("state_dict")):
        if isinstance(names, dict) and not all(isinstance(name, str) for name in names):
            raise ModelError(f"{path}: not readable as weights, for some of its names are no texts.")
    if "state_dict" in content and "pytorch-lightning_version" in content:
        state = content["state_dict"]
        return _below(state, part) or _below(state, "network")
    return content


def _below(state: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    prefix = f"{part}."
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
