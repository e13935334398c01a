"""Visual Genome (Krishna et al. 2017, arXiv:1602.07332): 108,077 photographs with 5.4 million regions, each a
phrase and a box.

Layout below ``root``, as its publishers ship it (v1.2 or later): ``region_descriptions.json``,
``image_data.json`` (may be absent), and the photographs in ``VG_100K/`` and ``VG_100K_2/``, wherever one of
them lies. Split lists: ``data_splits.pickle`` or ``densecap_splits.json``. The places in which the reference
codes keep these files (``VG_Annotations/``, ``VG_Splits/``, ``VG_Images/``) are looked in, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from datamodules.base import GroundingDataModule, Split
from datamodules.errors import DataError
from datamodules.kinds.boxed_phrases import BoxedSource
from datamodules.kinds.captions import CaptionSource
from datamodules.kinds.grounding import Query
from datamodules.sets.visual_genome_regions import SCHEMA, count_short_phrases, region_rows, split_images
from datamodules.storage.images import read_image
from datamodules.storage.index import ArrowIndex, open_index
from datamodules.storage.layout import Layout, Part, SplitCounts
from datamodules.storage.local_copy import LocalCopy

Splits = Literal["akbari", "densecap"]
SPLIT_FILES = {"akbari": "data_splits.pickle", "densecap": "densecap_splits.json"}
ANNOTATION_FOLDERS = ("", "annotations", "VG_Annotations", "VG_Splits")
IMAGE_FOLDERS = ("VG_100K", "VG_100K_2", "VG_Images", "images", "images/VG_100K", "images/VG_100K_2")

PAGE = "https://homes.cs.washington.edu/~ranjay/visualgenome/"
IMAGES = ("VG_Images/*.jpg", "images/*.jpg", "images/VG_100K/*.jpg")


def _annotations(name: str, content: str, **facts: Any) -> Part:
    alternatives = tuple(f"{folder}/{name}" for folder in ANNOTATION_FOLDERS[1:])
    return Part(name, content, 1, alternatives=alternatives, **facts)


LAYOUT = Layout(
    name="VisualGenome",
    title="Visual Genome",
    page=PAGE,
    licence="annotations CC BY 4.0; the photographs are Flickr's (YFCC100M, COCO) under their own licences",
    size="about 15 GB",
    root="data/visual_genome",
    options={"split": "akbari"},
    parts=(
        Part(
            "VG_100K/*.jpg",
            "photographs, part 1",
            url="https://cs.stanford.edu/people/rak248/VG_100K_2/images.zip",
            unpack=".",
            alternatives=IMAGES,
        ),
        Part(
            "VG_100K_2/*.jpg",
            "photographs, part 2",
            url="https://cs.stanford.edu/people/rak248/VG_100K_2/images2.zip",
            unpack=".",
            alternatives=(*IMAGES, "images/VG_100K_2/*.jpg"),
        ),
        _annotations(
            "region_descriptions.json",
            "phrases with boxes",
            url=f"{PAGE}data/dataset/region_descriptions.json.zip",
            unpack=".",
        ),
        _annotations(
            "image_data.json",
            "sizes of the photographs",
            url=f"{PAGE}data/dataset/image_data.json.zip",
            unpack=".",
            optional=True,
        ),
        _annotations(
            SPLIT_FILES["akbari"],
            "split list",
            by_hand="from https://github.com/hassanhub/MultiGrounding (data/visual_genome/VG_Splits)",
            needed_if={"split": "akbari"},
        ),
        _annotations(
            SPLIT_FILES["densecap"],
            "split list",
            by_hand="from https://github.com/jcjohnson/densecap (info)",
            needed_if={"split": "densecap"},
        ),
    ),
    trains_on="images with phrases",
    judged_on="phrases with boxes",
    counts=(
        SplitCounts(
            "train",
            90_599,
            needed_if={"split": "akbari"},
            note="as the reference codes of MultiGrounding and WWbL split",
        ),
        SplitCounts(
            "test", 17_478, needed_if={"split": "akbari"}, note="the images that are in COCO's val2014, too"
        ),
        SplitCounts("train", 77_398, needed_if={"split": "densecap"}, note="as the papers quote"),
        SplitCounts("val", 5_000, needed_if={"split": "densecap"}),
        SplitCounts("test", 5_000, needed_if={"split": "densecap"}),
    ),
    dead_links="visualgenome.org, which many scripts name, is not reliable. "
    "In all: 108,077 images, 5,408,689 regions.",
)


def annotation_paths(root: Path, name: str) -> list[Path]:
    """Where a file of annotations may lie."""
    return [root / folder / name for folder in ANNOTATION_FOLDERS]


def open_regions(root: Path, cache_dir: Path = Path(".cache"), splits: Splits = "akbari") -> ArrowIndex:
    """All images that have a region, of the columns of `SCHEMA`.

    Args:
        root: folder of the data set, laid out as above.
        cache_dir: for the index, where ``root`` cannot be written.
        splits: whose split list is wanted, too; only named if something is missing.

    Raises:
        DatasetNotFoundError: the region descriptions are missing.
        DataError: a file is damaged.
    """
    copy = LocalCopy(LAYOUT, root, {"split": splits})
    descriptions = copy.first_existing(*annotation_paths(root, "region_descriptions.json"))
    sizes = [path for path in annotation_paths(root, "image_data.json") if path.is_file()]
    image_data = sizes[0] if sizes else None
    return open_index(
        root,
        "regions",
        [descriptions, *sizes[:1]],
        SCHEMA,
        lambda: region_rows(descriptions, image_data),
        cache_dir=cache_dir,
    )


class VisualGenomeSplit(CaptionSource, BoxedSource):
    """The images of a split with their regions: the phrases as captions, the boxes as queries.

    Args:
        root: folder of the data set, laid out as above.
        splits: see `VisualGenome`.
        split: of these.
        max_words: phrases of more words are left out.
        merge: equal phrases of an image are one query with several boxes.
        cache_dir: of the datamodule.

    Raises:
        DatasetNotFoundError: a part of the layout is missing.
        DataError: a file is damaged, or there is no such split.
    """

    published_boxes = "xywh"

    def __init__(
        self,
        root: Path,
        splits: Splits,
        split: Split,
        max_words: int = 79,
        merge: bool = False,
        cache_dir: Path = Path(".cache"),
    ) -> None:
        copy = LocalCopy(LAYOUT, root, {"split": splits})
        folders = [root / folder for folder in IMAGE_FOLDERS]
        copy.first_existing(*folders)
        self.folders = [folder for folder in folders if folder.is_dir()]
        self.index = open_regions(root, cache_dir, splits)
        self.max_words = max_words
        self.merge = merge
        self.judged = split != "train"
        listing = copy.first_existing(*annotation_paths(root, SPLIT_FILES[splits]))
        listed = split_images(listing, split)
        in_split = np.isin(self.index.column("image").to_numpy(), list(listed))
        phrases = count_short_phrases(self.index, max_words)
        self.rows = np.flatnonzero(in_split & (phrases > 0))
        if not len(self.rows):
            raise DataError(
                f"Visual Genome: no image of {listing} ({split}) has a region in {self.index.path}; "
                "are both of the same data set?"
            )
        self.left_out = self._useless(in_split, phrases, listed)
        self.broken = list(self._broken(set(map(str, listed))))

    def _useless(self, in_split: np.ndarray, phrases: np.ndarray, listed: set[int]) -> dict[str, int]:
        """By reason, what is sound, but neither learnt from nor judged."""
        short = int(phrases[self.rows].sum())
        self.regions = short
        too_long = f"more than {self.max_words} words"
        if not self.judged:
            used = set(self.index.column("image").to_numpy()[self.rows].tolist())
            broken = {line.partition("\t")[0] for line in self.index.broken}
            without = [image for image in listed - used if str(image) not in broken]
            return {f"no phrase, or none of at most {self.max_words} words": len(without)}
        if self.merge:
            self.regions = sum(len(set(self.captions(index))) for index in range(len(self)))
        every = count_short_phrases(self.index, np.iinfo(np.uint16).max)[in_split]
        return {too_long: int(every.sum()) - short, "the same phrase of its image": short - self.regions}

    def _broken(self, listed: set[str]) -> Iterator[str]:
        """What the index left out of this split; in training, where records are images, without regions."""
        for line in self.index.broken:
            image, _, region = line.split("\t")[0].partition("/")
            if (image in listed or not image.isdigit()) and (self.judged or not region):
                yield line

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def number_of_queries(self) -> int:
        """Regions in all, or different phrases of each image where equal ones are merged."""
        return self.regions

    def key(self, index: int) -> str:
        """The photograph's number."""
        return str(self._value(index, "image"))

    def _value(self, index: int, column: str) -> Any:
        return self.index.value(int(self.rows[index]), column)

    def image(self, index: int) -> np.ndarray:
        """(H,W,3) uint8 RGB. Raises `DataError` if it cannot be read or, where boxes matter, is not of the
        size that the boxes are of.
        """
        return self.boxed_image(index) if self.judged else read_image(self._path(index))

    def boxed_image(self, index: int) -> np.ndarray:
        """See `BoxedSource.boxed_image`."""
        size = (self._value(index, "height"), self._value(index, "width"))
        return read_image(self._path(index), size=size if all(size) else None)

    def _path(self, index: int) -> Path:
        paths = [folder / f"{self.key(index)}.jpg" for folder in self.folders]
        return next((path for path in paths if path.exists()), paths[0])

    def captions(self, index: int) -> list[str]:
        """The phrases of at most ``max_words`` words."""
        phrases = self._value(index, "phrases")
        words = self._value(index, "words")
        return [phrase for phrase, count in zip(phrases, words, strict=True) if count <= self.max_words]

    def queries(self, index: int) -> list[Query]:
        """The phrases of at most ``max_words`` words with their boxes."""
        image = self.key(index)
        boxes = self._value(index, "boxes")
        numbers = self._value(index, "regions").tolist()
        phrases = self._value(index, "phrases")
        # By phrase or by region, the places in the row.
        places: dict[str | int, list[int]] = {}
        for place in np.flatnonzero(self._value(index, "words") <= self.max_words).tolist():
            places.setdefault(phrases[place] if self.merge else numbers[place], []).append(place)
        queries = []
        for same in places.values():
            region = numbers[same[0]]
            queries.append(Query(phrases[same[0]], boxes[same], f"{image}/{region}", str(region)))
        return queries


class VisualGenome(GroundingDataModule):
    """Visual Genome: trains on the phrases of regions, and is judged on their boxes.

    Args:
        root: folder of the data set, laid out as above.
        split: ``akbari`` (Akbari et al. 2019, arXiv:1811.11683; the reference codes of g and MultiGrounding):
            90,599 images to train on and 17,478 to test, the latter those that are in COCO's validation set;
            none to choose by. ``densecap`` (Johnson et al. 2016, arXiv:1511.07571; the numbers that papers on
            weak grounding quote): 77,398 to train on, 5,000 each to choose and to test. Results of the papers
            that published code are of the former.
        max_words: phrases of more words are neither learnt nor asked: 79 in the reference code of g, 9 in
            MultiGrounding's.
        merge: ask equal phrases of an image as one query with several boxes, as MultiGrounding does; the
            reference code of g asks each region for itself.
        kwargs: as for `GroundingDataModule`.
    """

    name = "visual_genome"
    layout = LAYOUT

    def __init__(
        self,
        root: Path = Path("data/visual_genome"),
        split: Splits = "akbari",
        max_words: int = 79,
        merge: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.root = Path(root)
        self.split = split
        self.max_words = max_words
        self.merge = merge

    def training_source(self) -> VisualGenomeSplit:
        """The phrases of the training split."""
        return self._open("train")

    def evaluation_source(self, split: Split) -> VisualGenomeSplit | None:
        """The regions of a split; None for ``val`` of the Akbari split, which has none."""
        if self.split == "akbari" and split == "val":
            return None
        return self._open(split)

    def _open(self, split: Split) -> VisualGenomeSplit:
        return VisualGenomeSplit(self.root, self.split, split, self.max_words, self.merge, self.cache_dir)
