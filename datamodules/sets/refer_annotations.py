"""The annotation files of REFER, joined once into an index.

``instances.json`` lists images and objects as COCO does; for each way to split them, a pickle
``refs(<split_by>).p`` is a list of ``{ref_id, ann_id, image_id, split, sentences: [{sent, ...}]}``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datamodules.errors import DataError
from datamodules.storage.coco_masks import decode_mask
from datamodules.storage.index import open_index
from datamodules.storage.safe_pickle import read_plain_pickle
from datamodules.storage.text_files import as_text

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
        ("repeated", pa.int64()),  # sentences that say the same once more, and are left out
        ("box", pa.list_(pa.float64())),  # x, y, width, height
        ("segmentation", pa.string()),  # JSON: polygons, or one of the forms of run lengths
        ("fault", pa.string()),  # why the object cannot be asked for; empty if it can
    ]
)


def joined(refs: Path, instances: Path, unique: bool) -> Iterator[dict[str, Any] | str]:
    """A row of `SCHEMA` for each reference of ``refs``, with its image and object from ``instances``; a line
    for each that names no split.

    Args:
        refs: the file ``refs(<split_by>).p``.
        instances: the file ``instances.json``.
        unique: leave out sentences that a reference repeats.

    Raises:
        DataError: one of the files is damaged.
    """
    images, objects = read_instances(instances)
    references = read_plain_pickle(refs)
    if not isinstance(references, list):
        raise DataError(f"{refs} holds a {type(references).__name__} and no list of references.")
    numbers: set[int] = set()
    for position, reference in enumerate(references):
        try:
            row: dict[str, Any] = {
                "ref": int(reference["ref_id"]),
                "image": int(reference["image_id"]),
                "split": str(reference["split"]),
            }
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            yield f"{refs.name}:{position}\tno reference: {type(error).__name__} {error}"
            continue
        try:
            row |= _row(reference, images, objects, unique)
            row["fault"] = "its number was given to another reference before" if row["ref"] in numbers else ""
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            row |= _faulty(f"{type(error).__name__}: {error}")
        numbers.add(row["ref"])
        yield row


def read_instances(path: Path) -> tuple[dict[int, Any], dict[int, Any]]:
    """The images and the objects of ``instances.json`` by their numbers. Raises `DataError`."""
    try:
        content = json.loads(path.read_bytes())
        images = {int(image["id"]): image for image in content["images"]}
        objects = {int(entry["id"]): entry for entry in content["annotations"]}
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise DataError(
            f"{path}: not readable as COCO instances ({type(error).__name__}: {error})."
        ) from error
    return images, objects


def _row(
    reference: Mapping[str, Any], images: Mapping[int, Any], objects: Mapping[int, Any], unique: bool
) -> dict[str, Any]:
    image = images.get(int(reference["image_id"]))
    annotation = int(reference["ann_id"])
    entry = objects.get(annotation)
    if image is None or entry is None:
        raise ValueError(f"image {reference['image_id']} or object {annotation} is not in instances.json")
    sentences = [as_text(sentence["sent"], "expression") for sentence in reference["sentences"]]
    if not any(sentence.strip() for sentence in sentences):
        raise ValueError("it has no words")
    box = [float(value) for value in entry["bbox"]]
    if len(box) != 4:
        raise ValueError(f"its box is {entry['bbox']}")
    kept = list(dict.fromkeys(sentences)) if unique else sentences
    return {
        "annotation": annotation,
        "file_name": str(image["file_name"]),
        "height": int(image["height"]),
        "width": int(image["width"]),
        "sentences": kept,
        "repeated": len(sentences) - len(kept),
        "box": box,
        "segmentation": json.dumps(entry.get("segmentation") or []),
    }


def _faulty(fault: str) -> dict[str, Any]:
    """The columns of an object that cannot be asked for."""
    return {
        "annotation": -1,
        "file_name": "",
        "height": -1,
        "width": -1,
        "sentences": [],
        "repeated": 0,
        "box": [np.nan] * 4,
        "segmentation": "",
        "fault": fault,
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
        self.refs = folder / f"refs({split_by}).p"
        instances = folder / "instances.json"
        name = f"{folder.name}-{split_by}"
        if unique:
            name += "-unique"
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
        """``test``, or ``testA``, ``testB`` ... where the tests have letters; none where the publisher did
        not publish the test.
        """
        names: set[str] = set()
        for split in self.splits:
            if split.startswith("test"):
                letters = split.removeprefix("test")
                names.update(f"test{letter}" for letter in letters)
                if not letters:
                    names.add("test")
        return sorted(names)

    def rows(self, *splits: str) -> np.ndarray:
        """Row numbers of all of ``splits``, in the order of the file. An object in ``testAB`` is one of
        ``testA`` and of ``testB``, as in REFER's code.

        Raises:
            DataError: one of them is not there.
        """
        names: set[str] = set()
        for split in splits:
            matches = {name for name in self.splits if _belongs_to(name, split)}
            if not matches:
                raise DataError(f"{self.refs} has no split {split}, only {', '.join(self.splits)}.")
            names |= matches
        in_splits = pc.is_in(self.index.column("split"), value_set=pa.array(sorted(names)))
        return np.flatnonzero(in_splits.to_numpy())

    def rows_of_images(self, images: Sequence[int]) -> np.ndarray:
        """Row numbers of the images with these numbers, in the order of the file."""
        of_images = pc.is_in(self.index.column("image"), value_set=pa.array(images, pa.int64()))
        return np.flatnonzero(of_images.to_numpy())


def _belongs_to(name: str, split: str) -> bool:
    """Whether objects whose split is called ``name`` in the file are part of ``split``."""
    if name == split:
        return True
    letter = split.removeprefix("test") if split.startswith("test") else ""
    return bool(letter) and name.startswith("test") and letter in name.removeprefix("test")


def object_mask(row: Mapping[str, Any]) -> np.ndarray:
    """(H,W) bool of a row of `SCHEMA`. RefCLEF lists several run lengths for one object, whose union is
    meant.

    Raises:
        DataError: the mask is neither polygons nor run lengths, or does not fit the image.
    """
    segmentation = json.loads(row["segmentation"])
    parts: Sequence[Any] = [segmentation]
    if isinstance(segmentation, list) and segmentation and isinstance(segmentation[0], dict):
        parts = segmentation
    try:
        return np.logical_or.reduce([decode_mask(part, row["height"], row["width"]) for part in parts])
    except DataError as error:
        raise DataError(f"reference {row['ref']}: {error}") from error
