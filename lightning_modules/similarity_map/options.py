"""Options of g (WWbL) and of g++."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from datamodules.batches import Interpolation
from lightning_modules.optimisation import Optimisation
from lightning_modules.similarity_map.losses import AreaNorm, Pairs, Reduction
from lightning_modules.teacher import TeacherOptions

HALF = (0.5, 0.5, 0.5)

# Stochastic gradient descent with a constant rate: that of the public code of g, and that of g++'s paper.
# The papers say 3e-4 for g.
TRAINING = Optimisation(lr=1.2e-3, optimizer="sgd", weight_decay=1e-4, decayed="all", schedule="constant")
SELF_TRAINING = Optimisation(lr=1e-4, optimizer="sgd", weight_decay=1e-4, decayed="all", schedule="constant")

# g as it was, as in g++'s paper.
FROZEN_TEACHER = TeacherOptions("frozen")


@dataclass(frozen=True)
class ImageOptions:
    """How images are made ready: squashed to a square, with pixels in [-1,1].

    Args:
        train_size: side of training images in pixels.
        eval_size: side of images that are judged; the public code trains at 304 and judges at 224.
        mean: per channel, for pixels in [0,1].
        std: per channel.
        interpolation: see `datamodules.batches.Preprocessing`.
    """

    train_size: int = 304
    eval_size: int = 224
    mean: tuple[float, float, float] = HALF
    std: tuple[float, float, float] = HALF
    interpolation: Interpolation = "bilinear"


@dataclass(frozen=True)
class TextOptions:
    """Which texts are learnt, and how they are written.

    Args:
        source: what training shows: one of an image's ``captions`` (COCO's captions, Visual Genome's
            regions), or a phrase of one (``phrases``).
        prompt: put before each text. A phrase that already begins with it gets no second one, since the
            protocol ``wwbl`` prompts by itself.
        drop_words: probability with which a word of a training text is left out; the public code of g has 0.2
            for captions of COCO, and 0 for regions of Visual Genome.
        lower: in lower case, as the public code writes the regions of Visual Genome.
    """

    source: Literal["captions", "phrases"] = "captions"
    prompt: str = "image of "
    drop_words: float = 0.0
    lower: bool = True


@dataclass(frozen=True)
class CLIPUse:
    """How the encoder of images and texts, which stays as it is, is used.

    The last two say what L_fore and L_back compare, see `lightning_modules.similarity_map.losses`.

    Args:
        pretrained: file of its weights: an official one, or a checkpoint of this project.
        precision: of its arithmetic. The public code runs it in float16 on a GPU, gradients included.
        own_normalisation: give it images with its own mean and deviation. The public code gives it those of
            g, in [-1,1]. What a mask takes away is the mean of g's images in either case, a middle grey.
        pairs: ``diagonal`` as in the papers' equations, or ``all`` as in the public code of g.
        absolute_background: absolute cosines in L_back, as in the public code of g.
    """

    pretrained: Path | None = None
    precision: Literal["float32", "bf16"] = "float32"
    own_normalisation: bool = False
    pairs: Pairs = "diagonal"
    absolute_background: bool = False


CLIP_OF_PUBLIC_CODE = CLIPUse(pairs="all", absolute_background=True)


@dataclass(frozen=True)
class LossWeights:
    """Weights of the losses of g; 0 leaves a loss out, work and all.

    Args:
        area: of L_reg.
        relevance: of L_rmap.
        background: of L_back.
        foreground: of L_fore.
    """

    area: float = 0.25
    relevance: float = 16.0
    background: float = 0.5
    foreground: float = 0.25


# The three weightings that the public code has had, the last of them the default.
WEIGHTS_OF_VERSION_1 = LossWeights(area=0.25, relevance=4.0, background=0.5, foreground=0.25)
WEIGHTS_OF_VERSION_1_1 = LossWeights(area=1.0, relevance=4.0, background=1.0, foreground=1.0)
WEIGHTS_OF_THE_LAST_VERSION = LossWeights()


@dataclass(frozen=True)
class SelfTrainingWeights:
    """Weights of the losses of g++, 1 in the paper; 0 leaves a loss out, work and all (the paper's table 2).

    Args:
        pseudo: of L_pseudo.
        foreground: of L_fore.
        background: of L_back.
        area: of L_reg.
        pseudo_reduction: of L_pseudo over pixels. The paper does not say; a sum would leave nothing to the
            other losses.
        area_norm: of L_reg.
    """

    pseudo: float = 1.0
    foreground: float = 1.0
    background: float = 1.0
    area: float = 1.0
    pseudo_reduction: Reduction = "mean"
    area_norm: AreaNorm = "mean"
