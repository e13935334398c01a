"""Options that vision-language backbones share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from datamodules.batches import Interpolation
from networks.layers.class_activation import Join, Relu, Target, TokenReduce

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class ImageOptions:
    """How the images of a backbone are made ready; those that are judged have the network's size.

    Args:
        mean: per channel, for pixels in [0, 1].
        std: per channel.
        interpolation: see `datamodules.batches.Preprocessing`.
        train_size: side of training images in pixels, where the network takes images of any size; None for
            the side of the images that are judged.
    """

    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD
    interpolation: Interpolation = "bicubic"
    train_size: int | None = None


@dataclass(frozen=True)
class MapOptions:
    """How a class activation map is made; see `networks.layers.class_activation`.

    Args:
        layers: the text layers whose cross-attention is explained, counted from 0; None for the network's
            default, which is the 9th layer in all public code. The map is the mean over them. In networks
            that are trained from scratch, which of the layers localises is a matter of chance.
        heads: what is shown and judged, as pairs of a layer and one of its heads, both counted from 0; None
            for the mean over all heads of ``layers``. HIST judges BLIP by (7, 9) and (8, 9), which its text
            calls L8H10 and L9H10.
        combine: how the maps of ``heads`` are joined, see `networks.layers.class_activation.join_maps`.
        train_on: what a loss on maps sees: all heads of the ``layers``, or the ``heads``.
        target: what the map is the gradient of: the matching logit as in all public codes. The cross-entropy
            (HIST's text taken literally) has the opposite sign and vanishes for confident matches.
        relu: where negative gradients are dropped: ``per_element`` (codes), or ``after_mean``.
        tokens: how tokens are averaged. ``mean_all`` (codes) divides by the longest text of the batch,
            ``mean_valid`` by the text's own length.
        queries_per_pass: phrases grounded at once; bounds the memory.
    """

    layers: Sequence[int] | None = None
    heads: Sequence[tuple[int, int]] | None = None
    combine: Join = "mean"
    train_on: Literal["layers", "heads"] = "layers"
    target: Target = "itm_logit"
    relu: Relu = "per_element"
    tokens: TokenReduce = "mean_valid"
    queries_per_pass: int = 128


@dataclass(frozen=True)
class NegativeOptions:
    """How the hard negatives of image-text matching are drawn.

    Args:
        power: the soft-max weights are raised to this power; 1 is ALBEF's. From scratch, 1 kept matching at
            chance for over a thousand steps where 0.3 did not.
        exclude: pairs that are never drawn: the ``diagonal`` as in the public codes; rows of the
            ``same_text`` too; or every text that is ``mentioned`` by some caption of the other image (known
            for phrases only; captions are treated as ``same_text``).
    """

    power: float = 1.0
    exclude: Literal["diagonal", "same_text", "mentioned"] = "diagonal"


@dataclass(frozen=True)
class ContrastDistillation:
    """How much of the momentum model is in the targets.

    Args:
        share: of the momentum model in the targets of ITC, ramped up linearly over the first epoch.
    """

    share: float = 0.4


@dataclass(frozen=True)
class DistillationOptions(ContrastDistillation):
    """How much of the momentum model is in the targets, those of masked language modelling included.

    Args:
        share: of the momentum model in the targets of ITC and MLM, ramped up linearly over the first epoch.
            0 leaves the momentum model out of MLM.
        legacy_mlm: the distillation of SelfEQ's and AMC's code, whose log-soft-max runs over the token axis.
    """

    legacy_mlm: bool = False
