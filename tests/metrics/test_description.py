"""Answers and their score, counted by hand."""

from __future__ import annotations

import torch

from metrics.decisions import Queries
from metrics.description import DescriptionScore, nearest_texts
from metrics.grounding import GroundingScore

SIZES = torch.tensor([[8, 8], [8, 8]])
# Image 0 has three queries, of which the first two are one chain; image 1 has one.
IMAGE_OF_QUERY = torch.tensor([0, 0, 0, 1])
CHAINS = torch.tensor([0, 0, 1, 2])
BOXES = [torch.tensor([box]) for box in ([0.0, 0, 4, 4], [0.0, 0, 4, 4], [4.0, 4, 8, 8], [0.0, 0, 8, 8])]


def unit(*angles: float) -> torch.Tensor:
    values = torch.tensor(angles)
    return torch.stack((values.cos(), values.sin()), dim=1)


def corner(row: int, column: int) -> torch.Tensor:
    heatmap = torch.zeros(8, 8)
    heatmap[row : row + 4, column : column + 4] = 1
    heatmap[row + 1, column + 1] = 2
    return heatmap


def test_the_nearest_text_of_the_same_image_answers() -> None:
    queries = unit(0.0, 0.5, 1.4, 0.1)
    texts = unit(0.1, 1.5, 0.1)
    image_of_text = torch.tensor([0, 0, 1])
    alone = torch.arange(4)
    assert nearest_texts(queries, texts, IMAGE_OF_QUERY, image_of_text, alone).tolist() == [0, 0, 1, 2]
    assert nearest_texts(queries, texts[:2], IMAGE_OF_QUERY, image_of_text[:2], alone).tolist() == [
        0,
        0,
        1,
        -1,
    ]
    assert nearest_texts(queries, texts[:0], IMAGE_OF_QUERY, image_of_text[:0], alone).tolist() == [-1] * 4


def test_mentions_of_a_chain_are_answered_alike() -> None:
    """Alone the first would be answered by text 0; the mean of both, at .6, is nearer to text 1."""
    queries = unit(0.2, 1.0, 1.4, 0.1)
    texts = unit(0.1, 0.7)
    image_of_text = torch.tensor([0, 0])
    alone = nearest_texts(queries, texts, IMAGE_OF_QUERY, image_of_text, torch.arange(4))
    together = nearest_texts(queries, texts, IMAGE_OF_QUERY, image_of_text, CHAINS)
    assert alone.tolist() == [0, 1, 1, -1]
    assert together.tolist() == [1, 1, 1, -1]


def test_both_denominators() -> None:
    """Two of three queries of image 0 are hit; nothing was found in image 1."""
    score = DescriptionScore("clean")
    maps = torch.stack([corner(0, 0), corner(0, 4)])
    answers = torch.tensor([0, 0, 1, -1])
    score.update(maps, answers, Queries(SIZES, IMAGE_OF_QUERY, CHAINS), BOXES)
    numbers = {name: (estimate.value, estimate.n) for name, estimate in score.compute().items()}
    numbers.pop("mean_iou")
    assert numbers == {
        "pointing_game": (2 / 4, 4),
        "box_accuracy": (2 / 4, 4),
        "pointing_game_answered": (2 / 3, 3),
        "box_accuracy_answered": (2 / 3, 3),
        "answered": (3 / 4, 4),
    }
    score.reset()
    assert score.compute()["answered"].n == 0


def test_nothing_was_found_anywhere() -> None:
    score = DescriptionScore("wwbl")
    nothing = torch.full((4,), -1)
    score.update(torch.zeros(0, 8, 8), nothing, Queries(SIZES, IMAGE_OF_QUERY, CHAINS), BOXES)
    numbers = score.compute()
    assert (numbers["pointing_game"].value, numbers["pointing_game"].n) == (0.0, 3)  # chains
    assert numbers["pointing_game_answered"].n == 0


def test_where_all_is_answered_it_is_the_score_of_the_maps() -> None:
    maps = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))
    answers = torch.tensor([1, 1, 0, 2])
    plain = GroundingScore("wwbl")
    plain.update(maps[answers], BOXES, IMAGE_OF_QUERY, CHAINS, SIZES)
    score = DescriptionScore("wwbl")
    score.update(maps, answers, Queries(SIZES, IMAGE_OF_QUERY, CHAINS), BOXES)
    numbers = score.compute()
    assert {name: numbers[name] for name in plain.compute()} == plain.compute()
