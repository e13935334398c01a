"""Options of text group discovery."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lightning_modules.text_group.losses import Reduction

# GroupViT's images; its hub's preprocessor says CLIP's statistics, with which it was not trained.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class TextOptions:
    """How captions become tokens.

    Args:
        vocabulary: None for CLIP's 49,408 byte pairs; or a file, see
            `lightning_modules.text_group.tokenizer.tokenizer_of`.
        openers: file of the words that open a new unit of a caption, see
            `lightning_modules.text_group.tokenizer.read_openers`; the tokens of a unit then go to the same
            group. None in the paper.
        max_tokens: longest caption, start and end included.
    """

    vocabulary: Path | None = None
    openers: Path | None = None
    max_tokens: int = 77


@dataclass(frozen=True)
class LossWeights:
    """Weights of the losses. 0 leaves a loss out, work and all (the paper's table 4).

    Args:
        contrastive: of the loss with images.
        reconstruction: lambda, of the loss of reading the caption back; 1 in the paper.
        balance: of `lightning_modules.text_group.losses.balance_loss`, which asks every caption to use all of
            its groups; 0 in the paper.
    """

    contrastive: float = 1.0
    reconstruction: float = 1.0
    balance: float = 0.0


@dataclass(frozen=True)
class ReconstructionOptions:
    """What the reconstruction chooses from, and how it is averaged.

    Args:
        reduction: see `lightning_modules.text_group.losses.target_weights`. The paper's equation prints a sum
            over the batch beside a contrastive mean.
        candidates: words among which it chooses: those of the ``vocabulary`` (the paper's), or those of this
            process's ``batch``, which costs a fraction and, on Flickr30k, led to better groups.
    """

    reduction: Reduction = "token_mean"
    candidates: Literal["vocabulary", "batch"] = "vocabulary"


@dataclass(frozen=True)
class MemoryOptions:
    """Bounds of the memory; they change no result.

    Args:
        cache_chunk: captions encoded at a time (gradient caching), whatever the batch; None encodes all at
            once.
        logits_chunk: rows of vocabulary logits at a time.

    Raises:
        ValueError: a chunk of no captions.
    """

    cache_chunk: int | None = None
    logits_chunk: int = 1024

    def __post_init__(self) -> None:
        if self.cache_chunk is not None and self.cache_chunk < 1:
            raise ValueError(f"cache_chunk must be at least 1, not {self.cache_chunk}; leave it out for none")
