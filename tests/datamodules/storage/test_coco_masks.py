"""COCO's masks: drawn by hand, packed by an encoder of the tests' own, and what is not a mask."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from datamodules.errors import DataError
from datamodules.storage.coco_masks import decode_mask, polygon_mask, unpack_runs
from tests.fakes.refer import pack, run_lengths

HEIGHT = 9
WIDTH = 7


def drawn(rows: str) -> list[list[bool]]:
    return [[pixel == "#" for pixel in row] for row in rows.split()]


@pytest.mark.parametrize(
    ("polygon", "rows"),
    [
        ([1, 1, 3, 1, 3, 4, 1, 4], "..... .##.. .##.. .##.. ....."),
        ([3, 4, 1, 4, 1, 1, 3, 1], "..... .##.. .##.. .##.. ....."),  # the other way round
        ([0, 0, 5, 0, 0, 5], "####. ###.. ##... #.... ....."),
        ([-3, -3, 2, -3, 2, 2, -3, 2], "##... ##... ..... ..... ....."),  # sticks out of the image
        ([-2, -2, 8, -2, 8, 8, -2, 8], "##### ##### ##### ##### #####"),
        (
            [0, 0, 5, 0, 5, 5, 0, 5, 0, 0, 1, 1, 1, 4, 4, 4, 4, 1, 1, 1],
            "##### #...# #...# #...# #####",
        ),  # a hole
        (
            [2.6, 1, 2.9, 1, 2.9, 4, 2.6, 4],
            "..... ..... ..... ..... .....",
        ),  # between the centres of two columns
        ([2.4, 1, 2.6, 1, 2.6, 4, 2.4, 4], "..... ..#.. ..#.. ..#.. ....."),  # across the centre of one
        ([2, 2, 2, 2, 2, 2], "..... ..... ..... ..... ....."),
        ([2, 2], "..... ..... ..... ..... ....."),
    ],
)
def test_outlines(polygon: list[float], rows: str) -> None:
    assert polygon_mask(polygon, 5, 5).tolist() == drawn(rows)


def test_parts_are_united() -> None:
    mask = decode_mask([[0, 0, 2, 0, 2, 2, 0, 2], [1, 1, 3, 1, 3, 3, 1, 3]], 4, 4)
    assert mask.tolist() == drawn("##.. ###. .##. ....")


def test_an_outline_covers_what_lies_within() -> None:
    """Of a finely drawn circle all pixels but those on its rim."""
    angles = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    circle = np.stack([40 + 30.3 * np.cos(angles), 35 + 30.3 * np.sin(angles)], axis=1).ravel().tolist()
    y, x = np.mgrid[:80, :90] + 0.5
    distance = np.hypot(x - 40, y - 35) - 30.3
    mask = polygon_mask(circle, 80, 90)
    assert mask[distance < -0.6].all()
    assert not mask[distance > 0.6].any()


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 1.0])
def test_runs_as_list_and_packed(share: float) -> None:
    rng = np.random.default_rng(3)
    for height, width in ((HEIGHT, WIDTH), (200, 331)):
        mask = rng.random((height, width)) < share
        runs = run_lengths(mask)
        text = pack(runs)
        assert unpack_runs(text) == runs
        for counts in (runs, text, text.encode()):
            decoded = decode_mask({"size": [height, width], "counts": counts}, height, width)
            assert decoded.dtype == bool
            assert (decoded == mask).all()


@pytest.mark.parametrize(
    "segmentation",
    [
        None,
        [],
        {},
        "0101",
        7,
        [[1, 2, 3]],
        [["a", "b"]],
        [[float("nan")] * 6],
        [[1e9, 0, 0, 0, 0, 1]],
        [[[1, 2], [3, 4]]],
        {"size": [WIDTH, HEIGHT], "counts": [HEIGHT * WIDTH]},
        {"size": [HEIGHT, WIDTH], "counts": [5]},
        {"size": [HEIGHT, WIDTH], "counts": [-5, 5, HEIGHT * WIDTH]},
        {"size": [HEIGHT, WIDTH], "counts": "0"},
        {"size": [HEIGHT, WIDTH], "counts": "\u20ac!"},
        {"size": [HEIGHT, WIDTH], "counts": None},
        {"size": [HEIGHT, WIDTH], "counts": "o" * 200},
        {"size": 5, "counts": [HEIGHT * WIDTH]},
    ],
    ids=repr,
)
def test_what_is_no_mask(segmentation: Any) -> None:
    with pytest.raises(DataError, match=r"mask|polygon"):
        decode_mask(segmentation, HEIGHT, WIDTH)
