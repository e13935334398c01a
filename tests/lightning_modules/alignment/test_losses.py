"""The losses of phrase alignment against loops over phrases and images."""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

from lightning_modules.alignment.losses import (
    caption_contrast,
    image_to_phrase,
    near_duplicates,
    phrase_to_image,
)
from lightning_modules.contrast import attention_pool, phrase_image_similarity

# Five phrases of three images; phrases 1 and 3 mean the same, and image 2 has a phrase of its own.
OWNER = torch.tensor([0, 0, 1, 1, 2])
DUPLICATES = torch.eye(5, dtype=torch.bool)
DUPLICATES[1, 3] = DUPLICATES[3, 1] = True
LOGITS = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))


def info_nce(positive: float, negatives: list[float]) -> float:
    return math.log(sum(math.exp(logit) for logit in [positive, *negatives])) - positive


def test_pooling_is_between_mean_and_maximum() -> None:
    cosines = torch.tensor([0.1, 0.5, 0.3])
    assert cosines.mean() < attention_pool(cosines, 0.2) < cosines.max()
    torch.testing.assert_close(attention_pool(cosines, 1e6), cosines.mean())


def test_similarity_of_each_phrase_and_image() -> None:
    generator = torch.Generator().manual_seed(1)
    phrases = F.normalize(torch.randn(4, 8, generator=generator), dim=-1)
    places = F.normalize(torch.randn(3, 5, 8, generator=generator), dim=-1)
    similarity = phrase_image_similarity(phrases, places, 0.1)
    for p in range(4):
        for b in range(3):
            expected = attention_pool(places[b] @ phrases[p], 0.1)
            torch.testing.assert_close(similarity[p, b], expected)


def test_near_duplicates() -> None:
    meaning = F.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]]), dim=-1)
    assert near_duplicates(meaning, 0.8).tolist() == [
        [True, True, False],
        [True, True, False],
        [False, False, True],
    ]


def test_phrase_to_image_leaves_out_images_that_show_it_too() -> None:
    logits = LOGITS.tolist()
    expected = 0.0
    for p, owner in enumerate(OWNER.tolist()):
        showing = {int(OWNER[q]) for q in range(5) if DUPLICATES[p, q]}
        negatives = [logits[p][b] for b in range(3) if b != owner and b not in showing]
        expected += info_nce(logits[p][owner], negatives) / 5
    torch.testing.assert_close(phrase_to_image(LOGITS, OWNER, DUPLICATES), torch.tensor(expected))


def test_image_to_phrase_leaves_out_the_images_other_phrases() -> None:
    logits = LOGITS.tolist()
    expected = 0.0
    for p, owner in enumerate(OWNER.tolist()):
        others = [q for q in range(5) if OWNER[q] != owner and not DUPLICATES[p, q]]
        expected += info_nce(logits[p][owner], [logits[q][owner] for q in others]) / 5
    torch.testing.assert_close(image_to_phrase(LOGITS, OWNER, DUPLICATES), torch.tensor(expected))


def test_a_caption_is_the_mean_of_its_phrases() -> None:
    captions = torch.stack([LOGITS[:2].mean(0), LOGITS[2:4].mean(0), LOGITS[4]])
    targets = torch.arange(3)
    expected = (F.cross_entropy(captions, targets) + F.cross_entropy(captions.T, targets)) / 2
    torch.testing.assert_close(caption_contrast(LOGITS, OWNER), expected)


def test_captions_without_phrases_take_no_part() -> None:
    """Image 1 has no phrase: its column is a negative of the others, and it asks nothing."""
    owner = torch.tensor([0, 2])
    logits = LOGITS[:2]
    to_images = F.cross_entropy(logits, owner)
    to_captions = F.cross_entropy(logits.T[[0, 2]], torch.tensor([0, 1]))
    torch.testing.assert_close(caption_contrast(logits, owner), (to_images + to_captions) / 2)
