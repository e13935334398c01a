"""Phrases a second that `ground` finds, when the phrases of a picture share its encoding, against two ways
that do not.

    python -m benchmarks.grounding [--quick] [--device cuda]

One picture and 12 phrases, random weights, at the demonstration's size and at that of the published ALBEF
(ViT-B/16 at 256 pixels, BERT-base; about 2 GB of memory, left out by --quick). The baselines ask one phrase
at a time, as public evaluation code does, so that the picture is encoded for each; and encode it once but
hand the fusion layers a copy of its tokens for each phrase, so that keys and values are projected for each.
All must agree.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning_modules.albef.module import ALBEFPretrain
from torch import Tensor
from tqdm import tqdm

from networks.albef import ALBEF
from networks.layers.class_activation import minmax

DEMO = Path(__file__).parents[1] / "configs" / "demo"
PHRASES = [
    "a red circle",
    "the large striped blue square",
    "star",
    "two hearts",
    "a small green ring",
    "the cross",
] * 2


def random_module(full: bool, device: str) -> ALBEFPretrain:
    """The demonstration's network, or the published one; the full vocabulary is the demonstration's with
    unused words behind.
    """
    words = (DEMO / "scenes_vocab.txt").read_text().splitlines()
    sizes: dict[str, Any] = {"queue_size": 1}
    if full:
        words += [f"[unused{number}]" for number in range(30522 - len(words))]
    else:
        sizes = yaml.safe_load((DEMO / "pretrain.yaml").read_text())["model"]["init_args"]["network"][
            "init_args"
        ]
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        vocabulary = Path(folder) / "vocabulary.txt"
        vocabulary.write_text("\n".join(words))
        return ALBEFPretrain(ALBEF(**sizes), vocabulary).to(device).eval()


def one_at_a_time(module: ALBEFPretrain, image: Tensor) -> Tensor:
    first = torch.zeros(1, dtype=torch.long, device=image.device)
    return torch.cat([module.ground(image, [phrase], first) for phrase in PHRASES])


@torch.no_grad()
def copied_tokens(module: ALBEFPretrain, image: Tensor) -> Tensor:
    tokens = module.network.encode_image(image).repeat(len(PHRASES), 1, 1)
    hidden, mask = module.encode_queries(PHRASES)
    return minmax(
        module.activation_map(module.network.fuse(hidden, mask, tokens, return_attention=True), mask)
    )


def shared(module: ALBEFPretrain, image: Tensor) -> Tensor:
    return module.ground(image, PHRASES, torch.zeros(len(PHRASES), dtype=torch.long, device=image.device))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="the demonstration's size only")
    arguments = parser.parse_args()
    ways: dict[str, Callable[[ALBEFPretrain, Tensor], Tensor]] = {
        "shared": shared,
        "copied tokens": copied_tokens,
        "one at a time": one_at_a_time,
    }
    for size in ("demo",) if arguments.quick else ("demo", "full"):
        module = random_module(size == "full", arguments.device)
        side = module.network.image_size
        image = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0)).to(arguments.device)
        expected = shared(module, image)
        seconds = dict.fromkeys(ways, float("inf"))
        for _ in tqdm(range(arguments.repeats * (1 if size == "full" else 10)), desc=size):
            for name, way in ways.items():
                start = time.perf_counter()
                maps = way(module, image)
                torch.testing.assert_close(
                    maps.cpu(), expected.cpu(), rtol=0, atol=1e-3
                )  # waits for the device, too
                seconds[name] = min(seconds[name], time.perf_counter() - start)
        for name, best in seconds.items():
            print(
                f"{size}  {name:14} {len(PHRASES) / best:8.1f} phrases/s  x {best / seconds['shared']:5.2f}"
            )


if __name__ == "__main__":
    main()
