"""A whole set to be searched: what each process collects of it, and what all of them then know.

Legend: N images, n of them of this process, U distinct texts, Q queries (an image's own texts), E feature
width, L image tokens, D their width.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from metrics.retrieval import ranks_of_right
from metrics.whole_set import WholeSet, key_numbers, of_all_processes

ROWS_AT_ONCE = 1024  # of a matrix of similarities
TEXTS_PER_PASS = 256

EmbedTexts = Callable[[list[str]], Tensor]


@dataclass
class Collected:
    """What this process has seen of a set, batch by batch.

    Attributes:
        keys: n names of images.
        captions: of each image.
        features: of each image, (E,) on the model's device.
        tokens: of each image, (L,D) float16 on the CPU, so that a GPU's memory does not grow with the set;
            empty where nobody will look at them.
        token_type: what the model wants them to be.
    """

    keys: list[str] = field(default_factory=list)
    captions: list[list[str]] = field(default_factory=list)
    features: list[Tensor] = field(default_factory=list)
    tokens: list[Tensor] = field(default_factory=list)
    token_type: torch.dtype = torch.float32

    def add(
        self, keys: Sequence[str], captions: Sequence[list[str]], features: Tensor, tokens: Tensor | None
    ) -> None:
        """Adds a batch of images."""
        self.keys += keys
        self.captions += captions
        self.features += features.float()
        if tokens is not None:
            self.token_type = tokens.dtype
            self.tokens += tokens.to("cpu", torch.float16)


@dataclass(frozen=True)
class SetIndex:
    """What is known of a whole set, the same on all processes.

    Args:
        image_features: (N,E), in the order of the numbers of their keys.
        texts: the U distinct texts, short ones first, so that those that are read together are about as long.
        text_features: (U,E).
        counts: (U,) long, how often each text stands in the set.
        queries: (Q,2) long, a text and its image; a text of two images is two queries.
        own_images: (n,) long, the images of this process in the order in which it collected them.
    """

    image_features: Tensor
    texts: list[str]
    text_features: Tensor
    counts: Tensor
    queries: Tensor
    own_images: Tensor

    @property
    def texts_of_images(self) -> list[int]:
        """How many texts each image has."""
        return torch.bincount(self.queries[:, 1], minlength=len(self.image_features)).tolist()


def index_of(collected: Collected, embed_texts: EmbedTexts, share: slice) -> SetIndex:
    """Puts together what all processes collected, and encodes each distinct text once, on one of them.

    Args:
        collected: by this process.
        embed_texts: see `lightning_modules.capabilities.CanRetrieve`.
        share: which of the texts this process encodes.

    Raises:
        ValueError: two images have the same key.
    """
    if collected.features:
        features = torch.stack(collected.features)
    else:  # on this process; of a width that all must agree upon
        features = embed_texts(["a"])[:0].float()
    images = WholeSet(features.shape[1]).to(features.device)
    images.update(collected.keys, features)
    numbers, image_features = images.compute()
    row_of_number = {number: row for row, number in enumerate(numbers.tolist())}

    captions_of_row: dict[int, list[str]] = {}
    for keys, captions in of_all_processes((collected.keys, collected.captions)):
        for number, of_image in zip(key_numbers(keys).tolist(), captions, strict=True):
            captions_of_row[row_of_number[number]] = of_image
    counts = Counter(text for of_image in captions_of_row.values() for text in of_image)
    texts = sorted(counts, key=lambda text: (len(text), text))
    place_of_text = {text: place for place, text in enumerate(texts)}
    queries = [(place_of_text[text], row) for row in sorted(captions_of_row) for text in captions_of_row[row]]
    own_numbers = key_numbers(collected.keys).tolist()
    device = features.device
    return SetIndex(
        image_features,
        texts,
        _text_features(texts, embed_texts, share, features),
        counts=torch.tensor([counts[text] for text in texts], device=device),
        queries=torch.tensor(queries, dtype=torch.long, device=device).reshape(-1, 2),
        own_images=torch.tensor(
            [row_of_number[number] for number in own_numbers], dtype=torch.long, device=device
        ),
    )


def _text_features(texts: list[str], embed_texts: EmbedTexts, share: slice, like: Tensor) -> Tensor:
    """(U,E) on the device of ``like`` (n,E); each process encodes its share."""
    whole = WholeSet(like.shape[1]).to(like.device)
    own = texts[share]
    for start in range(0, len(own), TEXTS_PER_PASS):
        part = own[start : start + TEXTS_PER_PASS]
        whole.update(part, embed_texts(part).float())
    numbers, features = whole.compute()
    return features[torch.searchsorted(numbers, key_numbers(texts).to(numbers.device))]


# Ranking by features alone. All processes rank all queries, in the same parts, so that the digits do not
# depend on their number; it is the second look that takes time.


def best_candidates(features: Tensor, others: Tensor, number: int) -> Tensor:
    """The ``number`` most similar of the others, or all of them if there are fewer.

    Args:
        features: (A,E).
        others: (B,E).
        number: how many for each.

    Returns:
        (A,min(B,number)) long.
    """
    number = min(number, len(others))
    parts = [similarities.topk(number).indices for _, similarities in _similarities(features, others)]
    return torch.cat(parts)


def contrast_ranks(index: SetIndex) -> tuple[Tensor, Tensor]:
    """The ranks (N,) of the images' best own texts, and those (Q,) of the texts' images, among all."""
    from_images = []
    for rows, similarities in _similarities(index.image_features, index.text_features):
        right = torch.zeros_like(similarities, dtype=torch.bool)
        texts, images = index.queries.unbind(dim=1)
        inside = (images >= rows.start) & (images < rows.stop)
        right[images[inside] - rows.start, texts[inside]] = True
        from_images.append(ranks_of_right(similarities, right, index.counts))
    from_texts = []
    texts, images = index.queries.unbind(dim=1)
    for rows, similarities in _similarities(index.text_features[texts], index.image_features):
        right = images[rows, None] == torch.arange(len(index.image_features), device=images.device)
        from_texts.append(ranks_of_right(similarities, right))
    return torch.cat(from_images), torch.cat(from_texts)


def _similarities(features: Tensor, others: Tensor) -> Iterator[tuple[slice, Tensor]]:
    for start in range(0, len(features), ROWS_AT_ONCE):
        rows = slice(start, min(len(features), start + ROWS_AT_ONCE))
        yield rows, features[rows] @ others.t()
