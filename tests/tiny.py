"""Every method at a size at which a step takes milliseconds, as a configuration file, and what a run leaves.

The arguments of a method lie in the file ``tiny.py`` beside its tests.
"""

from __future__ import annotations

import json
from copy import deepcopy
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml

from lightning_modules.catalogue import METHODS

ROOT = Path(__file__).parents[1]
LOADING = {
    "batch_size": 4,
    "eval_batch_size": 2,
    "num_workers": 0,
    "train_size": 12,
    "val_size": 3,
    "test_size": 7,
}
SCENES = {"class_path": "Scenes", "init_args": {"image_size": 32, **LOADING}}
SCENE_WORDS = str(ROOT / "configs" / "demo" / "scenes_vocab.txt")
GROUNDING = [
    {"class_path": "GroundingEvaluation", "init_args": {"protocols": ["clean", "selfeq"]}},
    {"class_path": "Pictures"},
]


class Tiny(NamedTuple):
    """A method at its smallest.

    Args:
        model: its arguments.
        data: what it is trained and judged on.
        evaluation: the callbacks that judge it.
        monitor: a metric to keep the best checkpoint by.
    """

    model: dict[str, Any]
    data: dict[str, Any]
    evaluation: list[dict[str, Any]]
    monitor: str


def tiny_of(method: type) -> Any:
    """A listed method's `Tiny`, or a backbone's configuration: its entry in ``TINY`` of the file ``tiny.py``
    beside its tests.
    """
    folder = f"tests.{'.'.join(method.__module__.split('.')[:2])}"
    try:
        return import_module(f"{folder}.tiny").TINY[method.__name__]
    except (ModuleNotFoundError, KeyError):
        path = f"{folder.replace('.', '/')}/tiny.py"
        raise LookupError(
            f"{method.__name__} is listed in the catalogue; give it an entry in TINY of {path}."
        ) from None


def tiny_config(name: str = "VisionLanguagePretrain") -> dict[str, Any]:
    """A run of four steps of a listed method; three steps make an epoch."""
    method = next(method for method in METHODS if method.__name__ == name)
    tiny = deepcopy(tiny_of(method))
    trainer = {
        "accelerator": "cpu",
        "max_steps": 4,
        "logger": False,
        "enable_model_summary": False,
        "log_every_n_steps": 1,
    }
    return {
        "trainer": {**trainer, "callbacks": tiny.evaluation},
        "model": {"class_path": name, "init_args": tiny.model},
        "data": tiny.data,
    }


def write_config(path: Path, content: dict[str, Any]) -> str:
    """Writes a configuration; returns its path as text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return str(path)


def last_checkpoint(folder: Path) -> dict[str, Any]:
    """What a run's last checkpoint holds."""
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)


def metrics(folder: Path) -> dict[str, Any]:
    """What a run's test measured."""
    return json.loads((folder / "test" / "metrics.json").read_text())


def differences(first: Any, second: Any, place: str = "") -> list[str]:
    """Where two nests of containers, tensors and plain values differ in any bit."""
    if isinstance(first, torch.Tensor):
        equal = (
            isinstance(second, torch.Tensor) and first.dtype == second.dtype and torch.equal(first, second)
        )
        return [] if equal else [place]
    if isinstance(first, dict):
        if not isinstance(second, dict) or first.keys() != second.keys():
            return [f"{place} keys"]
        pairs = {f"{place}.{key}": (first[key], second[key]) for key in first}
    elif isinstance(first, list | tuple):
        if len(first) != len(second):
            return [f"{place} length"]
        pairs = {f"{place}[{n}]": pair for n, pair in enumerate(zip(first, second, strict=True))}
    else:
        return [] if first == second else [f"{place}: {first} and {second}"]
    return [line for below, pair in pairs.items() for line in differences(*pair, below)]
