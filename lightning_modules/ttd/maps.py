"""Similarity maps of a batch: of its captions, and of the candidates for tags in them.

Legend: N images with a caption each, M different texts, S maps of an image (its caption's, then its tags'), Q
tags of all captions, D numbers of a vector, h x w cells of a map.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_modules.contrast import phrase_image_similarity
from lightning_modules.tags import candidates
from lightning_modules.ttd.losses import Maps
from networks.layers.precision import full_precision


class BatchTexts(NamedTuple):
    """The captions of a batch and the candidates for tags in them.

    Args:
        texts: captions and candidates, each different text once, to be encoded together.
        text_of_map: (N,S) long, into ``texts``: the caption, then its candidates. Shorter rows are filled up
            with the caption.
        is_tag: (N,S) bool, where a map is that of a candidate.
    """

    texts: list[str]
    text_of_map: Tensor
    is_tag: Tensor


def texts_of(captions: Sequence[str]) -> BatchTexts:
    """The texts of captions.

    Example:
        >>> texts_of(["a dog", "the dog and a cat"]).texts
        ['a dog', 'dog', 'the dog and a cat', 'cat']
        >>> texts_of(["a dog", "the dog and a cat"]).text_of_map.tolist()
        [[0, 1, 0], [2, 1, 3]]
    """
    place: dict[str, int] = {}
    rows = []
    for caption in captions:
        texts = [caption, *candidates(caption.split()).texts]
        rows.append([place.setdefault(text, len(place)) for text in texts])
    longest = max(len(row) for row in rows)
    filled = [row + row[:1] * (longest - len(row)) for row in rows]
    is_tag = [[0 < number < len(row) for number in range(longest)] for row in rows]
    return BatchTexts(list(place), torch.tensor(filled), torch.tensor(is_tag))


def similarity_maps(pixels: Tensor, vectors: Tensor, texts: BatchTexts) -> Tensor:
    """Cosines of each image's pixels with its own texts.

    Args:
        pixels: (N,D,h,w), of length 1.
        vectors: (M,D) of ``texts.texts``, of length 1.
        texts: see `BatchTexts`.

    Returns:
        (N,S,h,w), in float32 at least.
    """
    own = vectors[texts.text_of_map.to(vectors.device)]
    with torch.autocast(pixels.device.type, enabled=False):
        return torch.einsum("ndhw,nsd->nshw", full_precision(pixels), full_precision(own))


def as_maps(similarity: Tensor, texts: BatchTexts, valid: Tensor | None) -> Maps:
    """(N,S,h,w) cosines or soft masks as the losses take them."""
    is_tag = texts.is_tag.to(similarity.device)
    return Maps(similarity[:, 0], similarity[is_tag], is_tag.nonzero()[:, 0], valid)


def valid_cells(padding: Tensor | None, grid: tuple[int, int]) -> Tensor | None:
    """(N,H,W) bool, where pixels are padding -> (N,h,w) bool, the cells of which half or more is none."""
    if padding is None:
        return None
    return F.adaptive_avg_pool2d((~padding).float(), grid) >= 0.5


def caption_similarity(
    pixels: Tensor, captions: Tensor, valid: Tensor | None, temperature: float | None
) -> Tensor:
    """How similar all captions and all images are.

    Args:
        pixels: (N,D,h,w), of length 1.
        captions: (N,D), of length 1.
        valid: (N,h,w) bool, cells that are no padding; None for all.
        temperature: see `lightning_modules.ttd.options.ContrastOptions`.

    Returns:
        (N,N), captions by images.
    """
    places = full_precision(pixels if valid is None else pixels * valid[:, None]).flatten(2).transpose(1, 2)
    captions = full_precision(captions)
    with torch.autocast(pixels.device.type, enabled=False):
        if temperature is None:
            return captions @ F.normalize(places.sum(dim=1), dim=1).T
        return phrase_image_similarity(captions, places, temperature)
