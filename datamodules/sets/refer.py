"""The layout of REFER (Yu et al. 2016, arXiv:1608.00272; Kazemzadeh et al. 2014): expressions for single
objects, with boxes and masks.

A folder a data set (``refclef``, ``refcoco``, ``refcoco+``, ``refcocog``) holds ``instances.json`` and
``refs(<split_by>).p``; `refer_annotations` reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow.compute as pc

from datamodules.base import GroundingDataModule, Split
from datamodules.errors import DataError
from datamodules.kinds.base import Source
from datamodules.kinds.captions import CaptionSource
from datamodules.kinds.grounding import GroundingSource, Query
from datamodules.sets.refer_annotations import ReferAnnotations, object_mask
from datamodules.storage.images import read_image
from datamodules.storage.layout import Layout
from datamodules.storage.local_copy import LocalCopy

NamedSplit = Literal["val", "test", "testA", "testB", "testC"]
PAGE = "https://github.com/lichengunc/refer"
DEAD_LINKS = (
    "The original server (bvisionweb1.cs.unc.edu) has been down since 2022; web.archive.org keeps copies."
)


def archive(name: str) -> str:
    """How to obtain an archive of the original server by hand."""
    address = f"https://bvisionweb1.cs.unc.edu/licheng/referit/data/{name}"
    return f"unpack {name}, a copy of which is at https://web.archive.org/web/2022/{address}"


class ReferSource(CaptionSource, GroundingSource):
    """Some of the references, grouped by image; each sentence is a query, and its own chain: the reference
    codes judge every sentence.

    Args:
        annotations: all references.
        rows: those that are meant.
        images: folder of the images.
        masks: decode each object's mask.
        whole_pixels: boxes are cut to integers, and objects whose box ends beyond the image are left out, as
            in the reference code of MultiGrounding.
        judged: the boxes matter, so that images must be of the size that they are for.
    """

    published_boxes = "xywh"

    def __init__(
        self,
        annotations: ReferAnnotations,
        rows: np.ndarray,
        images: Path,
        masks: bool = False,
        whole_pixels: bool = False,
        judged: bool = True,
    ) -> None:
        self.index = annotations.index
        self.images = images
        self.masks = masks
        self.judged = judged
        self.whole_pixels = whole_pixels
        sound = pc.equal(self.index.column("fault"), "").to_numpy()[rows]
        self.broken = list(self.index.broken)
        for row in rows[~sound].tolist():
            self.broken.append(f"{self.index.value(row, 'ref')}\t{self.index.value(row, 'fault')}")
        rows = rows[sound]
        self.left_out: dict[str, int] = {}
        if whole_pixels:
            inside = np.asarray([row for row in rows.tolist() if self._inside(row)], dtype=np.int64)
            self.left_out["a box that ends beyond the image"] = self._sentences(np.setdiff1d(rows, inside))
            rows = inside
        if judged:
            repeated = int(self.index.column("repeated").to_numpy()[rows].sum())
            self.left_out["says again what another sentence says"] = repeated
        images_of_rows = self.index.column("image").to_numpy()[rows]
        ids, first, group = np.unique(images_of_rows, return_index=True, return_inverse=True)
        order = np.argsort(first)  # images as they first appear
        rank = np.argsort(order)[group]
        self.ids = ids[order]
        self.rows = rows[np.argsort(rank, kind="stable")]
        self.ends = np.append(0, np.cumsum(np.bincount(rank)))
        self._queries = self._sentences(rows)

    def _sentences(self, rows: np.ndarray) -> int:
        """How many sentences some references have."""
        return int(pc.list_value_length(self.index.column("sentences")).to_numpy()[rows].sum())

    def _inside(self, row: int) -> bool:
        x, y, width, height = self.index.value(row, "box")
        return bool(
            (x + width) / self.index.value(row, "width") <= 1
            and (y + height) / self.index.value(row, "height") <= 1
        )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def number_of_queries(self) -> int:
        """Sentences in all."""
        return self._queries

    def key(self, index: int) -> str:
        """The photograph's number."""
        return str(self.ids[index])

    def image(self, index: int) -> np.ndarray:
        """(H,W,3) uint8 RGB. Raises `DataError` if it cannot be read or, where boxes matter, is not of the
        size that the boxes are for.
        """
        row = self.index.row(int(self.rows[self.ends[index]]))
        size = (row["height"], row["width"]) if self.judged else None
        return read_image(self.images / row["file_name"], size=size)

    def captions(self, index: int) -> list[str]:
        """All sentences about its objects, without those that are empty."""
        captions = []
        for row in self._rows(index):
            for sentence in self.index.value(row, "sentences"):
                captions.append(" ".join(sentence.split()))
        return [caption for caption in captions if caption]

    def objects(self, index: int) -> list[dict[str, Any]]:
        """The objects of an image, as rows of `SCHEMA`."""
        return [self.index.row(row) for row in self._rows(index)]

    def _rows(self, index: int) -> list[int]:
        return self.rows[self.ends[index] : self.ends[index + 1]].tolist()

    def sample_keys(self, index: int) -> list[str]:
        """Those of its sentences."""
        keys = []
        for row in self._rows(index):
            reference = self.index.value(row, "ref")
            keys += [f"{reference}/{number}" for number in range(len(self.index.value(row, "sentences")))]
        return keys

    def box(self, row: Mapping[str, Any]) -> np.ndarray:
        """(1,4) float32 xyxy of an object."""
        x, y, width, height = row["box"]
        corners = np.asarray([[x, y, x + width, y + height]])
        if self.whole_pixels:
            corners = np.trunc(corners)
        return corners.astype(np.float32)

    def queries(self, index: int) -> list[Query]:
        """Each sentence about each object."""
        queries = []
        for row in self.objects(index):
            box = self.box(row)
            mask = object_mask(row) if self.masks else None
            for number, sentence in enumerate(row["sentences"]):
                key = f"{row['ref']}/{number}"
                queries.append(Query(sentence, box, key, key, mask))
        return queries


class ReferDataModule(GroundingDataModule):
    """Base of the data sets in this layout.

    Attributes:
        layout: of the data set.
        folders: where the annotations may lie, below ``root``.
        image_folders: where the images may lie, below ``root``.
        unique: leave out sentences that a reference repeats.
        whole_pixels: as for `ReferSource`.

    Args:
        root: folder of the data set.
        images: folder of the images; by default the first of ``image_folders`` that is there.
        split_by: whose split, see `refs`.
        split: the one split that ``test`` judges on; by default all that are called test.
        masks: give each query the mask of its object.
        kwargs: as for `GroundingDataModule`.
    """

    layout: ClassVar[Layout]
    folders: tuple[str, ...]
    image_folders: tuple[str, ...]
    unique = False
    whole_pixels = False

    def __init__(
        self,
        root: Path,
        images: Path | None,
        split_by: str,
        split: NamedSplit | None = None,
        masks: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.root = Path(root)
        self.images = None if images is None else Path(images)
        self.split_by = split_by
        self.split = split
        self.masks = masks

    @property
    def refs(self) -> str:
        """Whose ``refs(...).p`` is read."""
        return self.split_by

    @property
    def local_copy(self) -> LocalCopy:
        """The files of the data set on this machine."""
        return LocalCopy(self.layout, self.root, {"split_by": self.split_by, "images": self.images})

    def annotations(self) -> ReferAnnotations:
        """All references. Raises `DatasetNotFoundError`."""
        folders = [self.root / folder for folder in self.folders]
        folder = next((folder for folder in folders if (folder / "instances.json").exists()), folders[0])
        self.local_copy.require(folder, folder / "instances.json", folder / f"refs({self.refs}).p")
        return ReferAnnotations(folder, self.refs, self.cache_dir, self.unique)

    def image_folder(self) -> Path:
        """The folder of the photographs. Raises `DatasetNotFoundError`."""
        if self.images is None:
            return self.local_copy.first_existing(*(self.root / folder for folder in self.image_folders))
        return self.local_copy.first_existing(self.images)

    def rows(self, annotations: ReferAnnotations, *splits: str) -> np.ndarray:
        """The references of some splits."""
        return annotations.rows(*splits)

    def source(
        self, annotations: ReferAnnotations, *splits: str, masks: bool = False, judged: bool = True
    ) -> ReferSource:
        """The images and objects of some splits."""
        rows = self.rows(annotations, *splits)
        return ReferSource(annotations, rows, self.image_folder(), masks, self.whole_pixels, judged)

    def test_sets(self, annotations: ReferAnnotations) -> list[str]:
        """What ``test`` judges on."""
        return [self.split] if self.split else annotations.test_sets()

    def training_source(self) -> ReferSource:
        """The images and sentences of the training split."""
        return self.source(self.annotations(), "train", judged=False)

    def evaluation_sources(self, split: Split) -> dict[str, Source]:
        """The objects of ``val``, or of each set to test on."""
        annotations = self.annotations()
        names = self.test_sets(annotations) if split == "test" else [split]
        sources: dict[str, Source] = {}
        for name in names:
            full_name = self.name if name == split else f"{self.name}_{name}"
            sources[full_name] = self.source(annotations, name, masks=self.masks)
        return sources

    def evaluation_source(self, split: Split) -> Source | None:
        """The only set of a split. Raises `DataError` if there are several."""
        sources = self.evaluation_sources(split)
        if len(sources) > 1:
            raise DataError(
                f"{self.layout.title} has {len(sources)} sets to test on, {' and '.join(sources)}: "
                "list it once for each, with its `split`."
            )
        return next(iter(sources.values()), None)
