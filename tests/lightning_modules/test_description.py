"""Regions, communities and representatives are those of the public code; phrases come from a bank."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from datamodules.batches import Preprocessing
from lightning_modules.description import (
    GRID_SIDE,
    Describing,
    agreed_texts,
    as_squares,
    communities,
    crops,
    find_regions,
    grid_regions,
    nearest_phrases,
    representative,
)
from lightning_modules.errors import ModelError

DATA = Path(__file__).parents[1] / "data" / "gpp"
PLAIN = Preprocessing(4, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
CASES = np.load(DATA / "community_cases.npz")
EXPECTED = json.loads((DATA / "community_expected.json").read_text())


@pytest.mark.parametrize("case", ["clean", "mixed", "loose", "singletons", "one"])
def test_communities_are_those_of_the_public_code(case: str) -> None:
    vectors = torch.from_numpy(CASES[f"emb_{case}"])
    groups = communities(vectors)
    assert [sorted(group) for group in groups] == [sorted(group) for group in EXPECTED[case]]
    chosen = [representative(vectors, group) for group in groups]
    assert chosen == EXPECTED[f"{case}_representative"]


def test_trimmed_groups_keep_what_is_left() -> None:
    """A chain of texts, of which only neighbours are near."""
    angles = torch.tensor([0.0, 0.3, 0.6, 0.9])
    vectors = torch.stack((angles.cos(), angles.sin()), 1)
    assert communities(vectors, threshold=0.95, least=1) == [[1, 0, 2]]
    assert communities(vectors, threshold=0.95, least=1, overlap="trim") == [[1, 0, 2], [3]]


def test_grids_are_those_of_the_public_code() -> None:
    assert sorted(map(list, grid_regions())) == sorted(EXPECTED["grid_kept"])
    assert sorted(map(list, grid_regions(least_share=0))) == sorted(EXPECTED["grid_all"])


def test_crops_cover_their_part_of_an_image_of_another_shape() -> None:
    image = torch.zeros(3, 100, 300)
    image[..., 150:] = 255
    first, *_, last = crops(image, grid_regions()[:4], GRID_SIDE)
    assert first.mean() < 10
    assert last.mean() > 245
    assert first.shape == (3, 50, 151)


def test_pieces_become_squares() -> None:
    pieces = [torch.ones(3, 5, 9), torch.zeros(3, 4, 4), torch.zeros(3, 0, 7)]
    squares = as_squares(pieces, 6)
    assert squares.shape == (2, 3, 6, 6)
    torch.testing.assert_close(squares.mean(dim=(1, 2, 3)), torch.tensor([1.0, 0.0]))


class BrightOrDark(Describing):
    """Bright images are like short texts, dark ones like long texts."""

    preprocessing = PLAIN

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Only equal texts mean the same."""
        numbers = [["night", "the sun", "a dark forest"].index(text) for text in texts]
        return torch.eye(3)[numbers]

    def match(self, images: Tensor, texts: list[str]) -> Tensor:
        brightness = images.mean((1, 2, 3))
        lengths = torch.tensor([float(len(text)) for text in texts])
        return -brightness[:, None] * lengths


def test_each_region_gets_its_nearest_phrases() -> None:
    regions = torch.stack([torch.ones(3, 2, 2), -torch.ones(3, 2, 2)])
    bank = ["the sun", "night", "a dark forest"]
    assert nearest_phrases(BrightOrDark(), regions, bank, count=1) == ["night", "a dark forest"]


def test_an_image_is_described_by_what_its_parts_agree_on() -> None:
    bright = torch.ones(3, 30, 20)
    dark = -torch.ones(3, 50, 70)
    half = torch.cat([torch.ones(3, 40, 20), -torch.ones(3, 40, 20)], dim=2)
    bank = ["night", "the sun", "a dark forest"]
    described = BrightOrDark().describe([bright, dark, half, torch.ones(3, 1, 1)], bank)
    assert described[0] == described[3] == ["night", "the sun"]
    assert described[1] == ["a dark forest", "the sun"]
    assert set(described[2]) == set(bank)
    assert BrightOrDark().describe([], bank) == []


def test_what_several_regions_say_is_kept() -> None:
    texts = ["a dog", "a cat", "a dog", "a small dog"]
    vectors = torch.nn.functional.normalize(
        torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.1]]), dim=1
    )
    assert agreed_texts(texts, vectors) == ["a dog"]


@pytest.mark.skipif(hasattr(cv2, "ximgproc"), reason="this OpenCV has selective search")
def test_selective_search_needs_the_contrib_package() -> None:
    with pytest.raises(ModelError, match="opencv-contrib-python-headless"):
        find_regions(torch.zeros(3, 8, 8), PLAIN, "search")
