"""The layout of REFER (Yu et al. 2016, arXiv:1608.00272; Kazemzadeh et al. 2014): expressions for single
objects, with boxes and masks.

A folder a data set (``refclef``, ``refcoco``, ``refcoco+``, ``refcocog``) holds ``instances.json``, which
lists images and objects as COCO does, and for each way to split them a pickle ``refs(<split_by>).p``: a list
of ``{ref_id, ann_id, image_id, split, sentences: [{sent, ...}]}``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datamodules.base import GroundingDataModule, Split
from datamodules.errors import DataError, DatasetNotFoundError, require_paths
from datamodules.kinds.base import Source
from datamodules.kinds.captions import CaptionSource
from datamodules.kinds.grounding import GroundingSource, Query
from datamodules.storage.coco_masks import decode_mask
from datamodules.storage.images import read_image
from datamodules.storage.index import open_index
from datamodules.storage.safe_pickle import read_plain_pickle

NamedSplit = Literal["val", "test", "testA", "testB", "testC"]
SERVER = "The original server (bvisionweb1.cs.unc.edu/licheng/referit/data) is gone; web.archive.org keeps copies of its archives."
SCHEMA = pa.schema(
    [
        ("ref", pa.int64()),
        ("annotation", pa.int64()),
        ("image", pa.int64()),
        ("split", pa.string()),
        ("file_name", pa.string()),
        ("height", pa.int64()),
        ("width", pa.int64()),
        ("sentences", pa.list_(pa.string())),
        ("box", pa.list_(pa.float64())),  # x, y, width, height
        ("segmentation", pa.string()),  # JSON: polygons, or one of the forms of run lengths
        ("fault", pa.string()),  # why the object cannot be asked for; empty if it can
    ]
)


def joined(refs: Path, instances: Path, unique: bool) -> Iterator[dict[str, Any] | str]:
    """A row of `SCHEMA` for each reference of ``refs``, with its image and object from ``instances``; a line
    for each that names no split.

    Args:
        refs, instances: the two files.
        unique: leave out sentences that a reference repeats.

    Raises:
        DataError: one of the files is damaged.
    """
    try:
        content = json.loads(instances.read_bytes())
        images = {int(image["id"]): image for image in content["images"]}
        objects = {int(entry["id"]): entry for entry in content["annotations"]}
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise DataError(
            f"{instances}: not readable as COCO instances ({type(error).__name__}: {error})."
        ) from error
    references = read_plain_pickle(refs)
    if not isinstance(references, list):
        raise DataError(f"{refs} holds a {type(references).__name__} and no list of references.")
    seen: set[Any] = set()
    for number, reference in enumerate(references):
        try:
            row = {
                "ref": int(reference["ref_id"]),
                "image": int(reference["image_id"]),
                "split": str(reference["split"]),
            }
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            yield f"{refs.name}:{number}\tno reference: {type(error).__name__} {error}"
            continue
        try:
            row |= _row(reference, images, objects, unique)
            row["fault"] = "its number was given to another reference before" if row["ref"] in seen else ""
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            row |= dict.fromkeys(("annotation", "height", "width"), -1) | dict.fromkeys(
                ("file_name", "segmentation"), ""
            )
            row |= {"sentences": [], "box": [np.nan] * 4, "fault": f"{type(error).__name__}: {error}"}
        seen.add(row["ref"])
        yield row


def _row(
    reference: Mapping[str, Any], images: Mapping[int, Any], objects: Mapping[int, Any], unique: bool
) -> dict[str, Any]:
    image, entry = images.get(int(reference["image_id"])), objects.get(annotation := int(reference["ann_id"]))
    if image is None or entry is None:
        raise ValueError(f"image {reference['image_id']} or object {annotation} is not in instances.json")
    sentences = [str(sentence["sent"]) for sentence in reference["sentences"]]
    if not any(sentence.strip() for sentence in sentences):
        raise ValueError("it has no words")
    if len(box := [float(value) for value in entry["bbox"]]) != 4:
        raise ValueError(f"its box is {entry['bbox']}")
    return {
        "annotation": annotation,
        "file_name": str(image["file_name"]),
        "height": int(image["height"]),
        "width": int(image["width"]),
        "sentences": list(dict.fromkeys(sentences)) if unique else sentences,
        "box": box,
        "segmentation": json.dumps(entry.get("segmentation") or []),
    }


class ReferAnnotations:
    """All references of one ``refs(<split_by>).p``, indexed once and memory-mapped.

    Args:
        folder: holds the two files.
        split_by: whose split.
        cache_dir: for the index, where ``folder`` cannot be written.
        unique: leave out sentences that a reference repeats.

    Raises:
        DataError: one of the files is damaged.
    """

    def __init__(
        self, folder: Path, split_by: str, cache_dir: Path = Path(".cache"), unique: bool = False
    ) -> None:
        self.refs, instances = folder / f"refs({split_by}).p", folder / "instances.json"
        name = f"{folder.name}-{split_by}{'-unique' if unique else ''}"
        self.index = open_index(
            folder,
            name,
            [self.refs, instances],
            SCHEMA,
            lambda: joined(self.refs, instances, unique),
            cache_dir=cache_dir,
        )
        self.splits: list[str] = sorted(pc.unique(self.index.column("split")).to_pylist())

    def test_sets(self) -> list[str]:
        """``test``, or ``testA``, ``testB`` ... where the tests have letters; none where the publisher kept
        the test to himself.
        """
        tests = [name for name in self.splits if name.startswith("test")]
        return sorted(
            {found for name in tests for found in ([f"test{letter}" for letter in name[4:]] or ["test"])}
        )

    def rows(self, *splits: str) -> np.ndarray:
        """Row numbers of all of ``splits``, in the order of the file. An object in ``testAB`` is one of
        ``testA`` and of ``testB``, as in REFER's code.

        Raises:
            DataError: one of them is not there.
        """
        names = set()
        for split in splits:
            letter = split[4:] if split.startswith("test") else ""
            found = {
                name
                for name in self.splits
                if name == split or (letter and name.startswith("test") and letter in name[4:])
            }
            if not found:
                raise DataError(f"{self.refs} has no split {split}, only {', '.join(self.splits)}.")
            names |= found
        return np.flatnonzero(
            pc.is_in(self.index.column("split"), value_set=pa.array(sorted(names))).to_numpy()
        )

    def rows_of_images(self, images: Sequence[int]) -> np.ndarray:
        """Row numbers of the images with these numbers, in the order of the file."""
        return np.flatnonzero(
            pc.is_in(self.index.column("image"), value_set=pa.array(images, pa.int64())).to_numpy()
        )


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
    """

    published_boxes = "xywh"

    def __init__(
        self,
        annotations: ReferAnnotations,
        rows: np.ndarray,
        images: Path,
        masks: bool = False,
        whole_pixels: bool = False,
    ) -> None:
        self.index, self.images, self.masks, self.whole_pixels = (
            annotations.index,
            images,
            masks,
            whole_pixels,
        )
        sound = pc.equal(self.index.column("fault"), "").to_numpy()[rows]
        self.broken = [
            *self.index.broken,
            *(
                f"{self.index.value(row, 'ref')}\t{self.index.value(row, 'fault')}"
                for row in rows[~sound].tolist()
            ),
        ]
        rows = np.asarray(
            [row for row in rows[sound].tolist() if not whole_pixels or self._inside(row)], dtype=np.int64
        )
        ids, first, group = np.unique(
            self.index.column("image").to_numpy()[rows], return_index=True, return_inverse=True
        )
        order = np.argsort(first)  # images as they first appear
        rank = np.argsort(order)[group]
        self.ids, self.rows = ids[order], rows[np.argsort(rank, kind="stable")]
        self.ends = np.append(0, np.cumsum(np.bincount(rank)))
        self._queries = int(pc.list_value_length(self.index.column("sentences")).to_numpy()[rows].sum())

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
        return self._queries

    def key(self, index: int) -> str:
        return str(self.ids[index])

    def image(self, index: int) -> np.ndarray:
        return read_image(self.images / self.index.value(int(self.rows[self.ends[index]]), "file_name"))

    def captions(self, index: int) -> list[str]:
        sentences = (sentence for row in self._rows(index) for sentence in self.index.value(row, "sentences"))
        return [text for sentence in sentences if (text := " ".join(sentence.split()))]

    def objects(self, index: int) -> list[dict[str, Any]]:
        """The objects of an image, as rows of `SCHEMA`."""
        return [self.index.row(row) for row in self._rows(index)]

    def _rows(self, index: int) -> list[int]:
        return self.rows[self.ends[index] : self.ends[index + 1]].tolist()

    def box(self, row: Mapping[str, Any]) -> np.ndarray:
        """(1,4) float32 xyxy of an object."""
        x, y, width, height = row["box"]
        corners = np.asarray([[x, y, x + width, y + height]])
        return (np.trunc(corners) if self.whole_pixels else corners).astype(np.float32)

    def queries(self, index: int) -> list[Query]:
        found = []
        for row in self.objects(index):
            box, mask = self.box(row), object_mask(row) if self.masks else None
            for number, sentence in enumerate(row["sentences"]):
                found.append(Query(sentence, box, key := f"{row['ref']}/{number}", key, mask))
        return found


def object_mask(row: Mapping[str, Any]) -> np.ndarray:
    """(H,W) bool of a row of `SCHEMA`. RefCLEF lists several run lengths for one object, whose union is
    meant.

    Raises:
        DataError: the mask is neither polygons nor run lengths, or does not fit the image.
    """
    segmentation = json.loads(row["segmentation"])
    parts: Sequence[Any] = (
        segmentation
        if isinstance(segmentation, list) and segmentation and isinstance(segmentation[0], dict)
        else [segmentation]
    )
    try:
        return np.logical_or.reduce([decode_mask(part, row["height"], row["width"]) for part in parts])
    except DataError as error:
        raise DataError(f"reference {row['ref']}: {error}") from error


class ReferDataModule(GroundingDataModule):
    """Base of the data sets in this layout.

    Attributes:
        title: in messages.
        folders: where the annotations may lie, below ``root``.
        image_folders: where the images may lie, below ``root``.
        remedy: where the images are had.
        unique: leave out sentences that a reference repeats.

    Args:
        root: folder of the data set.
        images: folder of the images; by default the first of ``image_folders`` that is there.
        split_by: whose split, see `refs`.
        split: the one split that ``test`` judges on; by default all that are called test.
        masks: give each query the mask of its object.
        kwargs: as for `GroundingDataModule`.
    """

    title: str
    folders: tuple[str, ...]
    image_folders: tuple[str, ...]
    remedy: str
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
        self.root, self.split_by, self.split, self.masks = Path(root), split_by, split, masks
        self.images = images if images is None else Path(images)

    @property
    def refs(self) -> str:
        """Whose ``refs(...).p`` is read."""
        return self.split_by

    def annotations(self) -> ReferAnnotations:
        """Raises `DatasetNotFoundError`."""
        folders = [self.root / folder for folder in self.folders]
        folder = next((folder for folder in folders if (folder / "instances.json").exists()), folders[0])
        holds = f"instances.json and refs({self.refs}).p"
        require_paths(
            self.title,
            folder,
            ["instances.json", f"refs({self.refs}).p"],
            holds,
            f"Set --data.root. {SERVER}",
        )
        return ReferAnnotations(folder, self.refs, self.cache_dir, self.unique)

    def image_folder(self) -> Path:
        """Raises `DatasetNotFoundError`."""
        places = (
            [self.root / folder for folder in self.image_folders] if self.images is None else [self.images]
        )
        if found := next((place for place in places if place.is_dir()), None):
            return found
        raise DatasetNotFoundError(self.title, places[0], "the photographs", self.remedy)

    def rows(self, annotations: ReferAnnotations, *splits: str) -> np.ndarray:
        """The references of some splits."""
        return annotations.rows(*splits)

    def source(self, annotations: ReferAnnotations, *splits: str, masks: bool = False) -> ReferSource:
        """The images and objects of some splits."""
        return ReferSource(
            annotations, self.rows(annotations, *splits), self.image_folder(), masks, self.whole_pixels
        )

    def test_sets(self, annotations: ReferAnnotations) -> list[str]:
        """What ``test`` judges on."""
        return [self.split] if self.split else annotations.test_sets()

    def caption_source(self) -> ReferSource:
        return self.source(self.annotations(), "train")

    def evaluation_sources(self, split: Split) -> dict[str, Source]:
        annotations = self.annotations()
        names = self.test_sets(annotations) if split == "test" else [split]
        return {
            self.name if name == split else f"{self.name}_{name}": self.source(
                annotations, name, masks=self.masks
            )
            for name in names
        }

    def evaluation_source(self, split: Split) -> Source | None:
        found = self.evaluation_sources(split)
        if len(found) > 1:
            raise DataError(
                f"{self.title} has {len(found)} sets to test on, {' and '.join(found)}: list it once for each, with its `split`."
            )
        return next(iter(found.values()), None)
