"""Every method at a size at which a step takes milliseconds, as a configuration file, and ways to run it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml

ROOT = Path(__file__).parents[1]
NETWORK = {
    "image_size": 32,
    "patch_size": 8,
    "vision_width": 16,
    "vision_depth": 1,
    "vision_heads": 2,
    "text_width": 16,
    "text_depth": 3,
    "text_heads": 2,
    "text_intermediate": 32,
    "fusion_layer": 1,
    "cam_layers": [1],
    "vocab_size": 67,
    "max_positions": 32,
    "dropout": 0.1,
    "embed_dim": 8,
    "queue_size": 32,
}
ALBEF = {
    "network": {"class_path": "ALBEF", "init_args": NETWORK},
    "vocabulary": str(ROOT / "configs" / "demo" / "scenes_vocab.txt"),
    "optimisation": {"lr": 1e-3, "schedule": "one_cycle"},
    "negative_mask": "same_text",
}
BACKBONE = {"width": 4, "blocks": [1], "strides": [1]}
LOADING = {
    "batch_size": 4,
    "eval_batch_size": 2,
    "num_workers": 0,
    "train_size": 12,
    "val_size": 3,
    "test_size": 7,
}
SCENES = {"class_path": "Scenes", "init_args": {"image_size": 32, **LOADING}}
DIGITS = {
    "class_path": "MultiMNIST",
    "init_args": {"drawing": {"canvas": 32, "digits": [1, 2]}, "grids": [], **LOADING},
}
SPANS = {"class_path": "SceneCaptions", "init_args": dict(LOADING)}
WORDS = [{"class_path": "SpanEvaluation"}, {"class_path": "GroupPictures"}]
GROUPS = {
    "network": {
        "class_path": "TextGroupTransformer",
        "init_args": {
            "groups": 2,
            "width": 16,
            "heads": 2,
            "depth": 1,
            "group_depth": 1,
            "vocab_size": 67,
            "max_positions": 32,
            "embed_dim": 8,
        },
    },
    "vocabulary": str(ROOT / "configs" / "demo" / "scenes_vocab.txt"),
    "max_tokens": 32,
    "contrastive_weight": 0.0,
    "optimisation": {"lr": 1e-3, "schedule": "one_cycle"},
}
GROUNDING = [
    {"class_path": "GroundingEvaluation", "init_args": {"protocols": ["clean", "selfeq"]}},
    {"class_path": "Pictures"},
]
MAPS = [{"class_path": "MapEvaluation"}, {"class_path": "Pictures"}]


class Tiny(NamedTuple):
    """A method at its smallest: its arguments, data and evaluations, and a metric to keep the best checkpoint
    by.
    """

    model: dict[str, Any]
    data: dict[str, Any]
    evaluation: list[dict[str, Any]]
    monitor: str


TINY = {
    "ALBEFPretrain": Tiny(ALBEF, SCENES, GROUNDING, "val/scenes/clean/pointing_game"),
    "HISTFinetune": Tiny(ALBEF, SCENES, GROUNDING, "val/scenes/clean/pointing_game"),
    "DigitPretrain": Tiny(
        {"backbone": BACKBONE, "image_size": 32}, DIGITS, MAPS, "val/multi_mnist/map/average_iou"
    ),
    "TextGroupDiscovery": Tiny(GROUPS, SPANS, WORDS, "val/scene_captions/subword/tiou"),
    "MCBAttention": Tiny(
        {"backbone": BACKBONE, "text_width": 8, "sketch": 32, "hidden": 8, "image_size": 32},
        DIGITS,
        MAPS,
        "val/multi_mnist/map/average_iou",
    ),
}


def tiny_config(method: str = "ALBEFPretrain") -> dict[str, Any]:
    """A run of four steps; three steps make an epoch."""
    tiny = deepcopy(TINY[method])
    trainer = {
        "accelerator": "cpu",
        "max_steps": 4,
        "logger": False,
        "enable_model_summary": False,
        "log_every_n_steps": 1,
    }
    return {
        "trainer": {**trainer, "callbacks": tiny.evaluation},
        "model": {"class_path": method, "init_args": tiny.model},
        "data": tiny.data,
    }


def write_config(path: Path, content: dict[str, Any]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return str(path)


def last_checkpoint(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)


def metrics(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "test" / "metrics.json").read_text())


def differences(first: Any, second: Any, place: str = "") -> list[str]:
    """Where two nests of containers, tensors and plain values differ in any bit."""
    if isinstance(first, torch.Tensor):
        return (
            []
            if isinstance(second, torch.Tensor) and torch.equal(first, second) and first.dtype == second.dtype
            else [place]
        )
    if isinstance(first, dict):
        if not isinstance(second, dict) or first.keys() != second.keys():
            return [f"{place} keys"]
        return [found for key in first for found in differences(first[key], second[key], f"{place}.{key}")]
    if isinstance(first, list | tuple):
        if len(first) != len(second):
            return [f"{place} length"]
        return [
            found
            for n, (one, other) in enumerate(zip(first, second, strict=True))
            for found in differences(one, other, f"{place}[{n}]")
        ]
    return [] if first == second else [f"{place}: {first} and {second}"]


def start(*arguments: str) -> subprocess.Popen[str]:
    """``python cli.py ...`` in a process of its own, in the repository's folder."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "WANDB_MODE": "disabled", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, str(ROOT / "cli.py"), *arguments]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str], seconds: float = 180.0) -> tuple[int, str]:
    """Its exit code and all that it printed."""
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
        raise AssertionError(f"still running after {seconds} s:\n{output[-3000:]}") from None
    return process.returncode, output
