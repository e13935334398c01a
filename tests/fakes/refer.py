"""The layout of REFER: ``instances.json`` and ``refs(<split_by>).p``, a real pickle of protocol 2; every way
to write a mask, and every fault.
"""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.fakes.base import Asked, Fake, save_image

SIZE = (40, 60)  # height, width
# Sentences, box as x, y, width, height, and how the mask is written. An object's mask fills the part of its
# box that is in the image.
SOUND: list[tuple[list[str], list[float], str]] = [
    (["the man on left", "guy", "the man on left"], [10.5, 4.25, 20.25, 30.5], "polygons"),
    (["red  box sticking out"], [40, 20, 30, 30], "runs"),
    (["crowd"], [0, 0, 60, 40], "packed"),
]


@dataclass
class ReferFake(Fake):
    """Also holds the masks, by the keys of their queries."""

    masks: dict[str, np.ndarray] = field(default_factory=dict)


def mask_of(box: list[float]) -> np.ndarray:
    """Whole pixels of a box, within the image."""
    x, y, width, height = (round(value) for value in box)
    mask = np.zeros(SIZE, bool)
    mask[max(0, y) : max(0, y + height), max(0, x) : max(0, x + width)] = True
    return mask


def run_lengths(mask: np.ndarray) -> list[int]:
    """Lengths of the runs column by column, those outside of the mask first."""
    flat = np.concatenate([[False], mask.T.ravel(), [not mask.T.ravel()[-1]]])
    ends = np.flatnonzero(flat[1:] != flat[:-1])
    return np.diff(ends, prepend=0).tolist()


def pack(runs: list[int]) -> str:
    """Run lengths as COCO's string: differences to the last but one, five bits a character."""
    text = ""
    for n, run in enumerate(runs):
        value = run - runs[n - 2] if n > 2 else run
        while True:
            bits = value & 31
            value >>= 5
            last = value == (-1 if bits & 16 else 0)
            text += chr(48 + bits + (0 if last else 32))
            if last:
                break
    return text


def segmentation(box: list[float], form: str) -> Any:
    """The mask of a box: ``polygons`` (two, which share a side), ``runs``, ``packed``, or RefCLEF's list of
    ``packed_list`` (two, which overlap).
    """
    if form == "none":
        return []
    mask = mask_of(box)
    size = {"size": list(SIZE)}
    if form == "polygons":
        x, y, width, height = (round(value) for value in box)
        middle = x + width // 2
        return [
            [left, y, right, y, right, y + height, left, y + height]
            for left, right in ((x, middle), (middle, x + width))
        ]
    if form == "runs":
        return {"counts": run_lengths(mask), **size}
    if form == "packed":
        return {"counts": pack(run_lengths(mask)), **size}
    top = mask & (np.arange(SIZE[0]) < 15)[:, None]
    return [{"counts": pack(run_lengths(part)), **size} for part in (top, mask)]


@dataclass
class Faults:
    """What `Writer.faulty` wrote.

    Attributes:
        images: their numbers; the file of the second is missing.
        left_out: names that opening must report.
        unasked: names that reading must report.
        sound: the one query that can be asked nevertheless.
    """

    images: list[int]
    left_out: set[str]
    unasked: set[str]
    sound: dict[str, Asked]


@dataclass
class Writer:
    """Collects images, objects and references; numbers are given as they come.

    Args:
        images: folder of the images.
        file_name: of an image, with ``{}`` for its number.
        unique: repeated sentences are asked once.
        form: of all masks; by default each object's own.
    """

    images: Path
    file_name: str
    unique: bool = False
    form: str | None = None
    listed: list[dict[str, Any]] = field(default_factory=list)
    objects: list[dict[str, Any]] = field(default_factory=list)
    references: list[Any] = field(default_factory=list)
    masks: dict[str, np.ndarray] = field(default_factory=dict)

    def image(self, colour: tuple[int, int, int] | None) -> int:
        """Its number; without a colour the file is missing."""
        number = 1000 + 7 * len(self.listed)
        name = self.file_name.format(number)
        self.listed.append({"id": number, "width": SIZE[1], "height": SIZE[0], "file_name": name})
        if colour:
            save_image(self.images / name, colour, SIZE, quality=95)
        return number

    def object(
        self,
        image: int,
        split: str,
        sentences: list[str],
        box: list[float],
        form: str = "polygons",
        **changes: Any,
    ) -> int:
        """The number of a reference to a new object."""
        annotation = 5000 + len(self.objects)
        ref = changes.get("ref_id", 100 + len(self.references))
        written = {
            "id": annotation,
            "image_id": image,
            "category_id": 1,
            "bbox": box,
            "segmentation": segmentation(box, form if form == "none" else self.form or form),
        }
        self.objects.append(written | {"area": 1.0, "iscrowd": int(form != "polygons")})
        sentences_written = [
            {"raw": text.upper(), "sent": text, "sent_id": n, "tokens": text.split()}
            for n, text in enumerate(sentences)
        ]
        reference = {
            "ref_id": ref,
            "ann_id": annotation,
            "image_id": image,
            "split": split,
            "category_id": 1,
            "sentences": sentences_written,
            "file_name": "x",
        }
        self.references.append(reference | changes)
        return ref

    def sound(self, split: str, colour: tuple[int, int, int]) -> tuple[int, list[int], dict[str, Asked]]:
        """An image with the objects of `SOUND`: its number, those of its references, and its queries."""
        image = self.image(colour)
        refs: list[int] = []
        queries: dict[str, Asked] = {}
        for sentences, box, form in SOUND:
            ref = self.object(image, split, sentences, box, form)
            refs.append(ref)
            x, y, width, height = box
            for n, text in enumerate(dict.fromkeys(sentences) if self.unique else sentences):
                queries[f"{ref}/{n}"] = Asked(colour, SIZE, text, [[x, y, x + width, y + height]])
                self.masks[f"{ref}/{n}"] = mask_of(box)
        return image, refs, queries

    def faulty(self, split: str, taken: int) -> Faults:
        """Objects with every fault; ``taken`` is the number of a reference that is there."""
        outside = self.image((9, 9, 9))
        gone = self.image(None)
        half = self.object(outside, split, ["", "said well"], [5, 5, 10, 10])
        self.masks[f"{half}/1"] = mask_of([5, 5, 10, 10])
        unasked = [
            half,
            self.object(outside, split, ["beyond the border"], [60, 5, 10, 10]),
            self.object(outside, split, ["without area"], [5, 5, 0, 10]),
            self.object(outside, split, ["not a number"], [5, 5, 9, 10]),
        ]
        self.objects[-1]["bbox"] = [float("nan"), 5, 5, 10]
        unasked.append(self.object(gone, split, ["nothing to see"], [5, 5, 9, 10]))
        left_out = {
            self.object(outside, split, ["a number twice"], [5, 5, 9, 10], ref_id=taken),
            self.object(outside, split, [" ", ""], [5, 5, 9, 10]),
            self.object(outside, split, ["no such object"], [5, 5, 9, 10], ann_id=77),
            self.object(outside, split, ["three numbers"], [5, 5, 9], "none"),
            self.object(outside, split, ["no list of words"], [5, 5, 9, 10]),
        }
        self.references[-1]["sentences"] = None
        sound = {f"{half}/1": Asked((9, 9, 9), SIZE, "said well", [[5, 5, 15, 15]])}
        return Faults(
            [outside, gone],
            {str(ref) for ref in left_out},
            {f"{ref}/0" for ref in unasked},
            sound,
        )

    def write(self, folder: Path, split_by: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        content = {
            "images": self.listed,
            "annotations": self.objects,
            "categories": [{"id": 1, "name": "thing"}],
        }
        (folder / "instances.json").write_text(json.dumps(content))
        (folder / f"refs({split_by}).p").write_bytes(pickle.dumps(self.references, protocol=2))
