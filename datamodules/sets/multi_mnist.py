"""Multi-MNIST: pictures of a few handwritten digits, made on the fly. A caption names the digits, and says
nothing of where they are.

The paper ("Weakly Supervised Attention Learning for Textual Phrases Grounding") trains on 500,000 pictures of
1 to 4 digits with random overlap and white noise, and tests on grids of 2 x 2 and 3 x 3 digits; canvas, noise
level and overlap are not stated, and are options here.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.utilities.rank_zero import rank_zero_info

from datamodules.base import GroundingDataModule, Split
from datamodules.batches import Phrase, Preprocessing
from datamodules.errors import DataError
from datamodules.kinds.base import Source
from datamodules.kinds.captions import CaptionSource
from datamodules.kinds.grounding import GroundingSource, Query
from datamodules.storage.fetch import fetch_missing
from datamodules.storage.layout import Layout, Part, SplitCounts
from datamodules.storage.local_copy import LocalCopy
from datamodules.synthetic.digit_glyphs import Glyphs, embedded_glyphs, mnist_glyphs
from datamodules.synthetic.digit_pictures import CELL, Drawing, Picture, draw_picture

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SPLITS = {"train": 0, "val": 1, "test": 2}


def _idx_file(name: str, content: str, size: int, checksum: str) -> Part:
    folders = ("", "MNIST/raw/", "raw/")
    paths = [f"{folder}{name}{suffix}" for folder in folders for suffix in ("", ".gz")]
    return Part(
        path=f"{name}.gz",
        content=content,
        count=1,
        url=f"https://storage.googleapis.com/cvdf-datasets/mnist/{name}.gz",
        checksum=f"sha256:{checksum}",
        size=size,
        alternatives=tuple(path for path in paths if path != f"{name}.gz"),
    )


LAYOUT = Layout(
    name="MultiMNIST",
    title="MNIST, from which multi-MNIST is drawn",
    page="http://yann.lecun.com/exdb/mnist/",
    licence="unknown",
    size="12 MB",
    root="data/mnist",
    parts=(
        _idx_file(
            "train-images-idx3-ubyte",
            "60,000 digits",
            9_912_422,
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        ),
        _idx_file(
            "train-labels-idx1-ubyte",
            "their labels",
            28_881,
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        ),
        _idx_file(
            "t10k-images-idx3-ubyte",
            "10,000 digits",
            1_648_877,
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        ),
        _idx_file(
            "t10k-labels-idx1-ubyte",
            "their labels",
            4_542,
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ),
    ),
    trains_on="pictures of digits with captions",
    judged_on="digits with boxes",
    counts=(SplitCounts("train", 500_000, unit="pictures", note="drawn, as in the paper"),),
    dead_links="The publisher's own page often refuses; a mirror is used.",
    fallback="the digits that scikit-learn brings along",
)


class MultiMNISTSource(CaptionSource, GroundingSource):
    """Pictures of a split. Each digit that is there is a query ("seven") with the boxes of all its instances;
    some others are queries without a box.

    Args:
        glyphs: the digits to choose from.
        drawing: how pictures are made.
        seed: names the world from which all splits are drawn.
        split: of the three.
        size: number of pictures.
        grid: side of the grid in cells; 0 for random places.
        absent: queries of digits that are not in a picture.
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
        self.glyphs = glyphs
        self.drawing = drawing
        self.seed = seed
        self.split = split
        self.size = size
        self.grid = grid
        self.absent = absent
        self._remember_pictures()

    def _remember_pictures(self) -> None:
        # Image, captions and queries of one picture are asked for one after the other.
        self.picture = lru_cache(maxsize=2)(self._draw)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "picture"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._remember_pictures()

    def _key(self, index: int) -> tuple[int, int, int, int]:
        """What names a picture: its random numbers are drawn from this."""
        return self.seed, SPLITS[self.split], self.grid, index

    def _draw(self, index: int) -> Picture:
        return draw_picture(self.glyphs, self.drawing, self._key(index), self.grid)

    @property
    def side(self) -> int:
        """Side of a picture, in pixels."""
        return self.grid * CELL or self.drawing.canvas

    def __len__(self) -> int:
        return self.size

    def key(self, index: int) -> str:
        """The split and the number of the picture."""
        return f"{self.split}-{index}"

    def image(self, index: int) -> np.ndarray:
        """(S,S,3) uint8."""
        return np.repeat(self.picture(index).image[:, :, None], 3, axis=2)

    def captions(self, index: int) -> list[str]:
        """The digits in the order in which they were drawn, and in the opposite one."""
        names = [f"a {WORDS[label]}" for label in self.picture(index).labels]
        return [" and ".join(names), " and ".join(reversed(names))]

    def phrases(self, index: int) -> list[Phrase]:
        """Each digit, as the first caption names it: three words each with "a", its name and "and"."""
        phrases = []
        for number, label in enumerate(self.picture(index).labels):
            word = WORDS[label]
            phrases.append(Phrase(f"a {word}", word, 3 * number, 3 * number + 2))
        return phrases

    def queries(self, index: int) -> list[Query]:
        """Each digit of the picture with the boxes of all its instances, then ``absent`` others."""
        picture = self.picture(index)
        present = np.unique(picture.labels)
        rng = np.random.default_rng((*self._key(index), 1))
        missing = rng.permutation(np.setdiff1d(np.arange(len(WORDS)), present))[: self.absent]
        queries = []
        for label in [*present, *missing]:
            word = WORDS[label]
            boxes = picture.boxes[picture.labels == label].astype(np.float32)
            queries.append(Query(word, boxes, f"{self.key(index)}/{word}", word))
        return queries


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
    layout = LAYOUT

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
        _require_drawable(drawing)
        self.root = None if root is None else Path(root)
        self.download = download
        self.drawing = drawing
        self.grids = grids
        self.absent = absent
        self.keep_size = keep_size
        self.drawing_seed = drawing_seed
        self.sizes: dict[Split, int] = {"train": train_size, "val": val_size, "test": test_size}

    def glyphs(self, split: Split) -> Glyphs:
        """The digits of a split: MNIST's, fetched first if asked for, or those of scikit-learn.

        Raises:
            DatasetNotFoundError: a file of MNIST is missing.
            DataError: a file is damaged or could not be fetched.
        """
        if self.root is None:
            return embedded_glyphs(split)
        copy = LocalCopy(self.layout, self.root)
        if self.download:
            fetch_missing(copy, say=rank_zero_info)
        prefix = "t10k" if split == "test" else "train"
        for state in copy.check():
            if state.lacking and state.part.path.startswith(prefix):
                raise copy.not_found(self.root / state.part.path)
        return mnist_glyphs(self.root, split)

    def source(self, split: Split, grid: int = 0, absent: int = 0) -> MultiMNISTSource:
        """The pictures of a split. Raises `DataError` if MNIST is missing or damaged."""
        return MultiMNISTSource(
            self.glyphs(split), self.drawing, self.drawing_seed, split, self.sizes[split], grid, absent
        )

    def training_source(self) -> MultiMNISTSource:
        """The pictures of the training split."""
        return self.source("train")

    def evaluation_source(self, split: Split) -> MultiMNISTSource | None:
        """The pictures of a split without a grid; None if the split has none."""
        return self.source(split, absent=self.absent) if self.sizes[split] else None

    def evaluation_sources(self, split: Split) -> dict[str, Any]:
        """The pictures without a grid and, to test on, those of each grid."""
        sources: dict[str, Any] = dict(super().evaluation_sources(split))
        if split == "test" and sources:
            for grid in self.grids:
                sources[f"grid_{grid}x{grid}"] = self.source(split, grid, self.absent)
        return sources

    def preprocessing_of(self, source: Source) -> Preprocessing:
        """Pictures stay as they are where ``keep_size`` asks for it."""
        preprocessing = super().preprocessing_of(source)
        return replace(preprocessing, resize="keep") if self.keep_size else preprocessing


def _require_drawable(drawing: Drawing) -> None:
    """Raises `DataError` if pictures cannot be drawn so."""
    fewest, most = drawing.digits
    smallest, largest = drawing.scale
    if not 1 <= fewest <= most or drawing.canvas < CELL or not 0 < smallest <= largest <= 1.14:
        raise DataError(
            f"{drawing}: needs 1 <= digits[0] <= digits[1], a canvas of {CELL} pixels or more, and "
            "0 < scale[0] <= scale[1] <= 1.14."
        )
