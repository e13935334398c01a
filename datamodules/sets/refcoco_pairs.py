"""Pairs of objects of RefCOCO+, asked for together: the multi-object set of HIST (section 4.2)."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.base import Split
from datamodules.errors import DataError
from datamodules.kinds.base import Source
from datamodules.kinds.grounding import Query
from datamodules.sets.object_pairs import ObjectPairSource
from datamodules.sets.refcoco import REFCOCO_PLUS, RefCOCOPlus
from datamodules.sets.refer import NamedSplit, ReferSource
from datamodules.sets.refer_annotations import object_mask
from datamodules.storage.text_files import as_text
from datamodules.storage.whole_files import write_whole

LAYOUT = replace(
    REFCOCO_PLUS,
    name="RefCOCOPairs",
    title="pairs of objects of RefCOCO+ (HIST, section 4.2)",
    judged_on="pairs of expressions with boxes and masks",
    counts=(),
)


def draw_pairs(source: ReferSource, seed: int) -> list[dict[str, Any]]:
    """Two objects of each image that has two, and one sentence of each, at random; an image's pair does not
    depend on the other images.

    HIST (section 4.2) draws two phrases an image. Nearly every object has several, so that only phrases of
    two objects give about as many pairs as the paper counts; that two objects are meant is deduced from that.

    Returns:
        ``{"image", "objects": [ref, ref], "phrase": "A and B"}`` an image; objects whose box cannot be asked
        for are not drawn.
    """
    pairs = []
    for index in range(len(source)):
        objects = _askable_objects(source, index)
        if len(objects) < 2:
            continue
        image = int(source.ids[index])
        rng = np.random.default_rng([seed, image])
        drawn = [objects[position] for position in rng.choice(len(objects), 2, replace=False)]
        phrase = " and ".join(sentences[rng.integers(len(sentences))] for _, sentences in drawn)
        pairs.append({"image": image, "objects": [ref for ref, _ in drawn], "phrase": phrase})
    return pairs


def _askable_objects(source: ReferSource, index: int) -> list[tuple[int, list[str]]]:
    """The reference and the sentences of each object of an image; two references may be to one object, of
    which the first counts.
    """
    objects: dict[int, tuple[int, list[str]]] = {}
    for row in source.objects(index):
        if Query("a thing", source.box(row), "", "").fault(row["height"], row["width"]):
            continue
        sentences = [" ".join(sentence.split()) for sentence in row["sentences"]]
        objects.setdefault(row["annotation"], (row["ref"], [text for text in sentences if text]))
    return list(objects.values())


def kept_pairs(path: Path, source: ReferSource, seed: int) -> list[dict[str, Any]]:
    """The pairs listed in ``path``; they are drawn and written there first if there is no such file.

    Raises:
        DataError: the file is no such list.
    """
    if not path.exists():
        content = {"seed": seed, "pairs": draw_pairs(source, seed)}
        write_whole(path, json.dumps(content, indent=0))
    try:
        return [_parse_pair(pair) for pair in json.loads(path.read_text(encoding="utf-8"))["pairs"]]
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise DataError(
            f"{path}: not readable as a list of pairs ({type(error).__name__}: {error}); "
            "delete it to draw anew."
        ) from error


def _parse_pair(pair: dict[str, Any]) -> dict[str, Any]:
    return {
        "image": int(pair["image"]),
        "objects": [int(ref) for ref in pair["objects"]],
        "phrase": as_text(pair["phrase"], "phrase"),
    }


class PairSource(ObjectPairSource):
    """Images with one query each, two objects joined by "and": both boxes, and the union of both masks.

    Args:
        source: the objects.
        pairs: as `draw_pairs` gives them; those of which an object is not in ``source`` are ``broken``.
    """

    published_boxes = "xywh"
    source: ReferSource

    def __init__(self, source: ReferSource, pairs: list[dict[str, Any]]) -> None:
        self.source = source
        self.pairs = []
        self.broken = list(source.broken)
        place_of_image = {int(image): place for place, image in enumerate(source.ids)}
        for pair in pairs:
            place = place_of_image.get(pair["image"])
            refs = set() if place is None else {row["ref"] for row in source.objects(place)}
            if place is not None and set(pair["objects"]) <= refs:
                self.pairs.append((place, pair))
            else:
                self.broken.append(
                    f"{pair['image']}/{pair['objects']}\ta pair of objects that are not in this split"
                )

        images = {place for place, _ in self.pairs}
        self.left_out = {"no two objects that can be asked for": len(source) - len(images)}

    def queries(self, index: int) -> list[Query]:
        """The pair, with both boxes and the union of both masks."""
        place, pair = self.pairs[index]
        row_of_ref = {row["ref"]: row for row in self.source.objects(place)}
        rows = [row_of_ref[ref] for ref in pair["objects"]]
        boxes = np.concatenate([self.source.box(row) for row in rows])
        mask = np.logical_or.reduce([object_mask(row) for row in rows])
        key = f"{pair['image']}/{'+'.join(map(str, pair['objects']))}"
        return [Query(pair["phrase"], boxes, key, key, mask)]


class RefCOCOPairs(RefCOCOPlus):
    """The multi-object set of HIST (section 4.2): for each image of RefCOCO+ with two objects "A and B", with
    the boxes and the mask of both.

    The authors' list is not published. Ours is drawn by ``pair_seed`` and kept as JSON in
    ``<cache_dir>/pairs/``; a list that lies there is judged on as it is. ``test`` is testA and testB as one
    set.

    Args:
        pair_seed: of the draw.
        root: folder of RefCOCO+, laid out as in `refcoco`.
        images, split: as for `RefCOCOPlus`.
        kwargs: as for `GroundingDataModule`.
    """

    name = "refcoco_pairs"
    layout = LAYOUT

    def __init__(
        self,
        pair_seed: int = 0,
        root: Path = Path("data/refcoco"),
        images: Path | None = None,
        split: NamedSplit | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, images, split, masks=True, **kwargs)
        self.pair_seed = pair_seed

    def evaluation_sources(self, split: Split) -> dict[str, Source]:
        """The pairs of ``val``, or of all tests together."""
        annotations = self.annotations()
        names = self.test_sets(annotations) if split == "test" else [split]
        if not names:
            return {}
        source = self.source(annotations, *names)
        path = self.cache_dir / "pairs" / f"refcoco_plus-unc-{'+'.join(names)}-seed{self.pair_seed}.json"
        return {self.name: PairSource(source, kept_pairs(path, source, self.pair_seed))}
