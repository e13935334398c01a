"""Multi-MNIST: pictures of a few handwritten digits, made on the fly. A caption names the digits, and says
nothing of where they are.

The paper ("Weakly Supervised Attention Learning for Textual Phrases Grounding") trains on 500,000 pictures of
1 to 4 digits with random overlap and white noise, and tests on grids of 2 x 2 and 3 x 3 digits; canvas, noise
level and overlap are not stated, and are options here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from datamodules.base import GroundingDataModule, Split
from datamodules.batches import Phrase, Preprocessing
from datamodules.errors import DataError
from datamodules.kinds.base import Source
from datamodules.kinds.captions import CaptionSource
from datamodules.kinds.grounding import GroundingSource, Query
from datamodules.synthetic.digit_glyphs import Glyphs, embedded_glyphs, mnist_glyphs

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
CELL = 32  # pixels of a grid's cell
TRIES = 24  # places drawn for a digit, of which the first that overlaps little enough is taken
SPLITS = {"train": 0, "val": 1, "test": 2}


@dataclass(frozen=True)
class Drawing:
    """How a picture is made.

    Args:
        canvas: side in pixels of pictures without a grid.
        digits: fewest and most digits of a picture.
        scale: of MNIST's 28 pixels, smallest and largest.
        overlap: each picture draws from [0, this] how much the boxes of its digits may overlap (IoU).
        noise: each picture draws the standard deviation of its white noise from [0, this], white being 1.
    """

    canvas: int = 64
    digits: tuple[int, int] = (1, 4)
    scale: tuple[float, float] = (0.8, 1.1)
    overlap: float = 0.3
    noise: float = 0.2


@dataclass(frozen=True)
class Picture:
    """``image`` (S,S) uint8, ``labels`` (n,), ``boxes`` (n,4) xyxy: the tight box of each digit's ink, before
    noise and whatever lies over it.
    """

    image: np.ndarray
    labels: np.ndarray
    boxes: np.ndarray


def draw_picture(glyphs: Glyphs, drawing: Drawing, key: tuple[int, ...], grid: int = 0) -> Picture:
    """The picture that ``key`` (seed, split, index) names, the same on every machine: digits at random
    places, or one in each cell of ``grid`` x ``grid``.

    Digits are joined by the brighter pixel. In a grid they keep their size and lie anywhere in their cell of
    32 pixels.
    """
    rng = np.random.default_rng(key)
    count = grid * grid or int(rng.integers(drawing.digits[0], drawing.digits[1] + 1))
    side = grid * CELL or drawing.canvas
    canvas = np.zeros((side, side), np.uint8)
    chosen = rng.integers(len(glyphs.labels), size=count)
    sides = np.rint(28 * rng.uniform(*drawing.scale, size=count)).astype(int).tolist()
    allowed = rng.uniform(0, drawing.overlap)
    places = rng.random((count, TRIES, 2))
    boxes = np.zeros((count, 4), np.int64)
    for n, (row, size) in enumerate(zip(chosen, sides, strict=True)):
        ink = _tight(cv2.resize(glyphs.images[row], (size, size), interpolation=cv2.INTER_LINEAR))
        height, width = ink.shape
        if grid:
            corner = np.array([n // grid, n % grid]) * CELL
            top, left = corner + (places[n, 0] * (CELL - height + 1, CELL - width + 1)).astype(int)
        else:
            corners = (places[n] * (side - height + 1, side - width + 1)).astype(int)
            top, left = corners[_least_overlapping(corners, height, width, boxes[:n], allowed)]
        boxes[n] = left, top, left + width, top + height
        window = canvas[top : top + height, left : left + width]
        np.maximum(window, ink, out=window)
    noisy = canvas + rng.standard_normal(canvas.shape, dtype=np.float32) * np.float32(
        255 * rng.uniform(0, drawing.noise)
    )
    return Picture(np.rint(noisy).clip(0, 255).astype(np.uint8), glyphs.labels[chosen], boxes)


def _tight(glyph: np.ndarray) -> np.ndarray:
    """The part of a glyph that holds its ink."""
    x, y, width, height = cv2.boundingRect(glyph)
    return glyph[y : y + height, x : x + width]


def _least_overlapping(
    corners: np.ndarray, height: int, width: int, boxes: np.ndarray, allowed: float
) -> int:
    """The first of the places (y, x) whose box overlaps each of ``boxes`` by an IoU of at most ``allowed``;
    if there is none, the one that does least.
    """
    if not len(boxes):
        return 0
    top, left = corners[:, :1], corners[:, 1:]
    across = np.minimum(left + width, boxes[:, 2]) - np.maximum(left, boxes[:, 0])
    down = np.minimum(top + height, boxes[:, 3]) - np.maximum(top, boxes[:, 1])
    shared = across.clip(0) * down.clip(0)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    worst = (shared / (height * width + areas - shared)).max(1)
    return int((worst <= allowed).argmax() if (worst <= allowed).any() else worst.argmin())


class MultiMNISTSource(CaptionSource, GroundingSource):
    """``size`` pictures. Each digit that is there is a query ("seven") with the boxes of all its instances;
    ``absent`` others are queries without a box.
    """

    def __init__(
        self,
        glyphs: Glyphs,
        drawing: Drawing,
        seed: int,
        split: Split,
        size: int,
        grid: int = 0,
        absent: int = 0,
    ) -> None:
        self.glyphs, self.drawing, self.seed, self.split, self.size, self.grid, self.absent = (
            glyphs,
            drawing,
            seed,
            split,
            size,
            grid,
            absent,
        )
        self.picture = lru_cache(maxsize=2)(
            self._draw
        )  # image, captions and queries of one picture are asked for one after the other

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "picture"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.picture = lru_cache(maxsize=2)(self._draw)

    def _draw(self, index: int) -> Picture:
        return draw_picture(
            self.glyphs, self.drawing, (self.seed, SPLITS[self.split], self.grid, index), self.grid
        )

    @property
    def side(self) -> int:
        """Of a picture, in pixels."""
        return self.grid * CELL or self.drawing.canvas

    def __len__(self) -> int:
        return self.size

    def key(self, index: int) -> str:
        return f"{self.split}-{index}"

    def image(self, index: int) -> np.ndarray:
        return np.repeat(self.picture(index).image[:, :, None], 3, axis=2)

    def captions(self, index: int) -> list[str]:
        """The digits in the order in which they were drawn, and in the opposite one."""
        names = [f"a {WORDS[label]}" for label in self.picture(index).labels]
        return [" and ".join(names), " and ".join(reversed(names))]

    def phrases(self, index: int) -> list[Phrase]:
        labels = self.picture(index).labels
        return [Phrase(f"a {WORDS[label]}", WORDS[label], 3 * n, 3 * n + 2) for n, label in enumerate(labels)]

    def queries(self, index: int) -> list[Query]:
        picture = self.picture(index)
        present = np.unique(picture.labels)
        rng = np.random.default_rng((self.seed, SPLITS[self.split], self.grid, index, 1))
        missing = rng.permutation(np.setdiff1d(np.arange(len(WORDS)), present))[: self.absent]
        boxes = {
            int(label): picture.boxes[picture.labels == label].astype(np.float32)
            for label in [*present, *missing]
        }
        return [
            Query(WORDS[label], found, f"{self.key(index)}/{WORDS[label]}", WORDS[label])
            for label, found in boxes.items()
        ]


class MultiMNIST(GroundingDataModule):
    """Multi-MNIST: trains on 1 to 4 digits, is tested on the same (``multi_mnist``) and on grids
    (``grid_2x2``, ``grid_3x3``), with unseen digits.

    Args:
        root: folder of MNIST; without it, the 8 x 8 digits that scikit-learn ships are scaled up (their
            training and test writers differ, too).
        download: fetch MNIST into ``root`` if it is not there.
        drawing: how pictures are made.
        train_size, val_size, test_size: number of pictures; the paper trains on 500,000.
        grids: sides of the grids of the test split; each has ``test_size`` pictures.
        absent: queries of digits that are not there, for each picture to be judged on. They have no box.
        keep_size: give pictures to the model as they are, whatever its image size; for fully convolutional
            models.
        drawing_seed: names the world from which all splits are drawn.
        kwargs: as for `GroundingDataModule`.
    """

    name = "multi_mnist"

    def __init__(
        self,
        root: Path | None = None,
        download: bool = False,
        drawing: Drawing = Drawing(),
        train_size: int = 500_000,
        val_size: int = 500,
        test_size: int = 2_000,
        grids: tuple[int, ...] = (2, 3),
        absent: int = 1,
        keep_size: bool = False,
        drawing_seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if (
            not 1 <= drawing.digits[0] <= drawing.digits[1]
            or drawing.canvas < CELL
            or not 0 < drawing.scale[0] <= drawing.scale[1] <= 1.14
        ):
            raise DataError(
                f"{drawing}: needs 1 <= digits[0] <= digits[1], a canvas of {CELL} pixels or more, and 0 < scale[0] <= scale[1] <= 1.14."
            )
        self.root, self.download, self.drawing, self.grids, self.absent = (
            root,
            download,
            drawing,
            grids,
            absent,
        )
        self.keep_size, self.drawing_seed = keep_size, drawing_seed
        self.sizes: dict[Split, int] = {"train": train_size, "val": val_size, "test": test_size}

    def source(self, split: Split, grid: int = 0, absent: int = 0) -> MultiMNISTSource:
        """The pictures of a split. Raises `DataError` if MNIST is missing or damaged."""
        glyphs = (
            embedded_glyphs(split)
            if self.root is None
            else mnist_glyphs(Path(self.root), split, self.download)
        )
        return MultiMNISTSource(
            glyphs, self.drawing, self.drawing_seed, split, self.sizes[split], grid, absent
        )

    def caption_source(self) -> MultiMNISTSource:
        return self.source("train")

    def evaluation_source(self, split: Split) -> MultiMNISTSource | None:
        return self.source(split, absent=self.absent) if self.sizes[split] else None

    def evaluation_sources(self, split: Split) -> dict[str, Any]:
        found: dict[str, Any] = dict(super().evaluation_sources(split))
        if split == "test" and found:
            found |= {f"grid_{grid}x{grid}": self.source(split, grid, self.absent) for grid in self.grids}
        return found

    def preprocessing_of(self, source: Source) -> Preprocessing:
        """Pictures stay as they are where ``keep_size`` asks for it."""
        preprocessing = super().preprocessing_of(source)
        return replace(preprocessing, resize="keep") if self.keep_size else preprocessing
