"""HIST's losses as the paper writes them, and a batch for them."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from datamodules.batches import PhraseBatch
from lightning_modules.backbones.albef import MaskedTexts
from lightning_modules.backbones.options import DistillationOptions, MapOptions
from lightning_modules.hist.module import HISTFinetune
from networks.layers.class_activation import minmax
from networks.layers.tokenizer import Tokens
from tests.lightning_modules.conftest import (
    MAP_LAYERS,
)

Build = Callable[..., Any]
NO_DISTILLATION = {"distillation": DistillationOptions(share=0.0)}
PARTNERS: dict[str, list[str | None]] = {
    "none": [None, None, None, None],
    "all": ["the blue hat", "a car", "big tree", "the old man on the left"],
    "some": [None, "a small car of the old man", None, "the dog"],
}


def hist_batch(partners: str = "some", rows: int = 4) -> PhraseBatch:
    generator = torch.Generator().manual_seed(1)
    phrases = ["A red dog", "the tall man", "small green car on the left", "Hat."]
    images = torch.randn(4, 3, 32, 32, generator=generator)
    return PhraseBatch(
        images[:rows],
        phrases[:rows],
        ["dog", "man", "car", "hat"][:rows],
        PARTNERS[partners][:rows],
        list("0123")[:rows],
    )


def mask_first_word(tokens: Tokens) -> MaskedTexts:
    chosen = torch.zeros_like(tokens.ids, dtype=torch.bool)
    chosen[:, 1] = True
    return MaskedTexts(tokens, tokens.ids.masked_fill(chosen, 4), chosen)


def map_options(**changes: Any) -> dict[str, MapOptions]:
    return {"maps": MapOptions(layers=MAP_LAYERS, **changes)}


class OneByOne:
    """HIST's losses as the paper writes them: every text in passes of its own, with an image that is encoded
    for it alone.

    The switches are those of the module; ``mean_all`` divides by the longest text of the same kind, as
    separate passes would.
    """

    def __init__(self, module: HISTFinetune, batch: PhraseBatch, distillation: float) -> None:
        self.network = copy.deepcopy(module.network)
        self.backbone = module.backbone
        self.tokenizer = module.backbone.tokenizer
        self.module = module
        self.batch = batch
        self.rows = range(len(batch))
        self.distillation = distillation
        with torch.no_grad():
            parameters = dict(self.network.named_parameters())
            for name, twin in parameters.items():
                if "_m." in name:
                    twin.mul_(self.network.momentum).add_(
                        parameters[name.replace("_m.", ".")], alpha=1 - self.network.momentum
                    )

    def ids(self, text: str) -> Tensor:
        return self.tokenizer([self.backbone.clean(text)]).ids

    def fuse(self, ids: Tensor, row: int, momentum: bool = False, **options: Any) -> Any:
        ones = torch.ones_like(ids)
        image = self.network.encode_image(self.batch.images[row : row + 1], momentum)
        return self.network.fuse(
            self.network.encode_text(ids, ones, momentum), ones, image, momentum=momentum, **options
        )

    def features(self, texts: list[str], momentum: bool) -> tuple[Tensor, Tensor]:
        network = self.network
        images = [
            network.image_feature(network.encode_image(self.batch.images[row : row + 1], momentum), momentum)
            for row in self.rows
        ]
        hidden = [
            network.encode_text(self.ids(text), torch.ones_like(self.ids(text)), momentum) for text in texts
        ]
        return torch.cat(images), torch.cat([network.text_feature(one, momentum) for one in hidden])

    def alignment(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        """ITC and ITM of one text for each image."""
        network = self.network
        (images, words) = self.features(texts, momentum=False)
        momentum_images, momentum_words = (tensor.detach() for tensor in self.features(texts, momentum=True))
        contrast: list[Tensor] = []
        negatives: list[list[int]] = []
        for online, momentum, keys in (
            (images, momentum_images, torch.cat([momentum_words, network.text_queue.t()])),
            (words, momentum_words, torch.cat([momentum_images, network.image_queue.t()])),
        ):
            nearest = []
            for row in self.rows:
                logits = keys @ online[row] / network.temp
                target = self.distillation * F.softmax(keys @ momentum[row] / network.temp, dim=0).detach()
                target[row] += 1 - self.distillation
                contrast.append(-(target * F.log_softmax(logits, dim=0)).sum())
                nearest.append(
                    max(
                        (other for other in self.rows if other != row), key=lambda other: logits[other].item()
                    )
                )
            negatives.append(nearest)
        matching: list[Tensor] = []
        for row in self.rows:
            for text, image, label in (
                (row, row, 1),
                (negatives[0][row], row, 0),
                (row, negatives[1][row], 0),
            ):
                logits = network.match_logits(self.fuse(self.ids(texts[text]), image).hidden)
                matching.append(-F.log_softmax(logits, dim=1)[0, label])
        return torch.stack(contrast).mean(), torch.stack(matching).mean()

    def language(self) -> Tensor:
        losses = []
        for row in self.rows:
            ids = self.ids(self.batch.phrases[row])
            masked = mask_first_word(Tokens(ids, torch.ones_like(ids))).masked_ids
            prediction = F.log_softmax(self.network.mlm_logits(self.fuse(masked, row).hidden[0, 1]), dim=-1)
            teacher = F.softmax(
                self.network.mlm_logits(self.fuse(masked, row, momentum=True).hidden[0, 1], momentum=True),
                dim=-1,
            ).detach()
            losses.append(
                -(1 - self.distillation) * prediction[ids[0, 1]]
                - self.distillation * (teacher * prediction).sum()
            )
        return torch.stack(losses).mean()

    def raw_map(self, text: str, row: int, longest: int) -> Tensor:
        fused = self.fuse(
            self.ids(text), row, attention_layers=self.backbone.training_reading.layers, create_graph=True
        )
        logits = self.network.match_logits(fused.hidden)[0]
        target = {
            "itm_logit": logits[1],
            "itm_loss": F.cross_entropy(logits, torch.tensor(1)),
            "log_probability": F.log_softmax(logits, dim=0)[1],
        }[self.backbone.maps.target]
        length = {"mean_all": longest, "sum": 1}.get(self.backbone.maps.tokens)
        maps = []
        for attention in fused.attentions:
            (gradient,) = torch.autograd.grad(target, attention, create_graph=True)
            product = (gradient.clamp(min=0) if self.backbone.maps.relu == "per_element" else gradient)[
                0, :, :, 1:
            ] * attention[0, :, :, 1:]
            if self.backbone.maps.tokens == "mean_no_special":
                product = product[:, 1 : product.shape[1] - len(self.tokenizer.closing_ids)]
            maps.append(
                (product.mean(dim=0).sum(dim=0) / (length or product.shape[1])).clamp(min=0).view(4, 4)
            )
        return torch.stack(maps).mean(dim=0)

    def addition(self) -> Tensor:
        losses = []
        pairs = [
            (row, partner)
            for row, partner in zip(self.rows, self.batch.partners, strict=True)
            if partner is not None
        ]
        texts = [
            (self.batch.phrases[row], partner, f"{self.batch.phrases[row]} and {partner}")
            for row, partner in pairs
        ]
        longest = [max(self.ids(text).shape[1] for text in kind) for kind in zip(*texts, strict=True)]
        for (row, _), triple in zip(pairs, texts, strict=True):
            maps = [self.raw_map(text, row, length) for text, length in zip(triple, longest, strict=True)]
            if self.module.addition.maps == "minmax":
                maps = [minmax(one) for one in maps]
            joined = (
                torch.maximum(maps[0], maps[1])
                if self.module.addition.combine == "max"
                else maps[0] + maps[1]
            )
            joined = joined.clamp(max=1) if self.module.addition.combine == "clamp" else joined
            difference = (joined - maps[2]).abs()
            losses.append(difference.mean() if self.module.addition.maps == "minmax" else difference.sum())
        return torch.stack(losses).mean() if losses else torch.zeros(())

    def terms(self) -> dict[str, Tensor]:
        terms = dict(zip(("itc", "itm"), self.alignment(self.batch.phrases), strict=True)) | {
            self.backbone.language_term: self.language()
        }
        if self.module.weights.subject:
            terms |= zip(("subject_itc", "subject_itm"), self.alignment(self.batch.subjects), strict=True)
        if self.module.weights.add:
            terms["add"] = self.addition()
        return terms


class BLIPOneByOne(OneByOne):
    """The same on BLIP, whose texts begin with another token for each purpose."""

    def begun_with(self, token: str, ids: Tensor) -> Tensor:
        first = {"[DEC]": self.backbone.decode_id, "[ENC]": self.backbone.encode_id}[token]
        return torch.tensor([[first, *ids[0, 1:].tolist()]])

    def fuse(self, ids: Tensor, row: int, momentum: bool = False, **options: Any) -> Any:
        assert not momentum, "nothing of BLIP's momentum model looks at texts and images at once"
        image = self.network.encode_image(self.batch.images[row : row + 1])
        return self.network.fuse(self.begun_with("[ENC]", ids), torch.ones_like(ids), image, **options)

    def language(self) -> Tensor:
        """All tokens of all phrases weigh alike."""
        losses = []
        smoothing = self.backbone.label_smoothing
        for row in self.rows:
            ids = self.ids(self.batch.phrases[row])
            image = self.network.encode_image(self.batch.images[row : row + 1])
            for length in range(1, ids.shape[1]):
                read = self.begun_with("[DEC]", ids[:, :length])
                logits = self.network.next_token_logits(read, torch.ones_like(read), image)[0, -1]
                surprise = -F.log_softmax(logits, dim=-1)
                losses.append((1 - smoothing) * surprise[ids[0, length]] + smoothing * surprise.mean())
        return torch.stack(losses).mean()


REFERENCES = {"ALBEFBackbone": OneByOne, "BLIPBackbone": BLIPOneByOne}


def one_by_one(module: HISTFinetune, batch: PhraseBatch, distillation: float) -> OneByOne:
    """The losses of a module's backbone, text by text; a new backbone is listed in ``REFERENCES``."""
    return REFERENCES[type(module.backbone).__name__](module, batch, distillation)


def counted(network: Any) -> Counter[str]:
    """Counts what a network is asked to do from now on."""
    calls: Counter[str] = Counter()

    def wrap(name: str) -> None:
        original = getattr(network, name)

        def wrapper(*arguments: Any, **options: Any) -> Any:
            kind = f"{name} momentum" if options.get("momentum") else name
            calls[kind] += 1
            calls[f"{kind} rows"] += len(arguments[0]) if arguments else 0
            calls["maps"] += bool(options.get("attention_layers"))
            return original(*arguments, **options)

        setattr(network, name, wrapper)

    for name in ("encode_image", "update_momentum", "fuse", "next_token_logits"):
        if hasattr(network, name):
            wrap(name)
    return calls
