"""Phrases a second that `ground` finds, when the phrases of a picture share its encoding, against two ways
that do not.

    python -m benchmarks.grounding [--size tiny] [--device cuda]

One picture and 12 phrases, random weights, at the demonstration's size and at that of the published ALBEF
(ViT-B/16 at 256 pixels, BERT-base; about 2 GB of memory, left out at the tiny size). The baselines ask one
phrase at a time, as public evaluation code does, so that the picture is encoded for each; and encode it once
but hand the fusion layers a copy of its tokens for each phrase, so that keys and values are projected for
each. All must agree.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from benchmarks._common import Report, Size, best_seconds, rate_row, report
from benchmarks.hist_step import DEMO, demo_network
from lightning_modules.backbones.albef import ALBEFBackbone
from lightning_modules.pretraining.module import VisionLanguagePretrain
from networks.albef import ALBEF
from networks.layers.class_activation import minmax
from networks.layers.momentum_contrast import ContrastSize

PHRASES = [
    "a red circle",
    "the large striped blue square",
    "star",
    "two hearts",
    "a small green ring",
    "the cross",
] * 2


def random_module(full: bool, device: str) -> VisionLanguagePretrain:
    """The demonstration's network, or the published one, whose vocabulary has unused words behind."""
    words = (DEMO / "scenes_vocab.txt").read_text().splitlines()
    if full:
        words += [f"[unused{number}]" for number in range(30522 - len(words))]
        torch.manual_seed(0)
        network = ALBEF(contrast=ContrastSize(queue_size=1))
    else:
        network = demo_network()
    with tempfile.TemporaryDirectory() as folder:
        vocabulary = Path(folder) / "vocabulary.txt"
        vocabulary.write_text("\n".join(words))
        return VisionLanguagePretrain(ALBEFBackbone(network, vocabulary)).to(device).eval()


def one_at_a_time(module: VisionLanguagePretrain, image: Tensor) -> Tensor:
    """Encodes the picture for each phrase."""
    first = torch.zeros(1, dtype=torch.long, device=image.device)
    return torch.cat([module.ground(image, [phrase], first) for phrase in PHRASES])


@torch.no_grad()
def copied_tokens(module: VisionLanguagePretrain, image: Tensor) -> Tensor:
    """Encodes the picture once, and copies its tokens for each phrase."""
    tokens = module.network.encode_image(image).repeat(len(PHRASES), 1, 1)
    every = torch.arange(len(PHRASES), device=image.device)
    return minmax(module.backbone.raw_maps(tokens, PHRASES, every))


def shared(module: VisionLanguagePretrain, image: Tensor) -> Tensor:
    """Encodes the picture once for all phrases."""
    return module.ground(image, PHRASES, torch.zeros(len(PHRASES), dtype=torch.long, device=image.device))


WAYS: dict[str, Callable[[VisionLanguagePretrain, Tensor], Tensor]] = {
    "shared": shared,
    "copied tokens": copied_tokens,
    "one at a time": one_at_a_time,
}


def finished_maps(way: str, module: VisionLanguagePretrain, image: Tensor) -> Tensor:
    """The maps on the CPU, so that the device was waited for."""
    return WAYS[way](module, image).cpu()


def compare(network: str, repeats: int, device: str) -> dict[str, float]:
    """Seconds that each way takes with the network called "demo" or "full"."""
    module = random_module(network == "full", device)
    side = module.network.image_size
    image = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0)).to(device)
    ways = {name: partial(finished_maps, name, module, image) for name in WAYS}
    for way in ways.values():
        torch.testing.assert_close(way(), ways["shared"](), rtol=0, atol=1e-3)
    return best_seconds(ways, repeats)


def run(size: Size, device: str = "cpu") -> Report:
    """How often as fast the shared encoding is as each other way."""
    repeats = {"demo": 1} if size == "tiny" else {"demo": 30, "full": 3}
    lines = []
    rows = []
    for network, number in repeats.items():
        seconds = compare(network, number, device)
        for name, best in seconds.items():
            ratio = best / seconds["shared"]
            lines.append(f"{network}  {name:14} {len(PHRASES) / best:8.1f} phrases/s  x {ratio:5.2f}")
        speeds = {name: len(PHRASES) / best for name, best in seconds.items()}
        for name in ("one at a time", "copied tokens"):
            path = f"ground, the {network} network, {len(PHRASES)} phrases of an image"
            rows.append(rate_row(path, "phrases", speeds["shared"], speeds[name], name))
    return Report(lines, rows)


def main(argv: Sequence[str] | None = None) -> None:
    report(run, __doc__, argv, device="cpu")


if __name__ == "__main__":
    main()
