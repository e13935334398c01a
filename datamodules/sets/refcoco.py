"""RefCOCO, RefCOCO+ (Yu et al. 2016, arXiv:1608.00272) and RefCOCOg (Mao et al. 2016, arXiv:1511.02283):
expressions for objects of COCO's train2014.

Layout below ``root``, as REFER ships it: ``refcoco/``, ``refcoco+/``, ``refcocog/``, each with
``instances.json`` and ``refs(<split_by>).p``, and the photographs of COCO in ``train2014/``, in
``images/mscoco/images/train2014/``, in ``../coco/train2014/``, or where ``images`` says.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Literal

import numpy as np

from datamodules.base import Split
from datamodules.errors import DataError
from datamodules.kinds.base import Source
from datamodules.kinds.grounding import GroundingSource, Query
from datamodules.sets.refer import NamedSplit, ReferDataModule, ReferSource, object_mask

IMAGES = ("train2014", "images/mscoco/images/train2014", "images/train2014", "../coco/train2014")
COCO = "Set --data.images to COCO's train2014; it is had from cocodataset.org (2014 Train images)."


class RefCOCO(ReferDataModule):
    """RefCOCO. Its tests, people (testA) and other things (testB), are judged as two sets ``refcoco_testA``
    and ``refcoco_testB``.

    Args:
        root: folder of the layout above.
        images: COCO's train2014; by default one of the folders above.
        split_by: ``unc`` (by images: train, val, testA, testB) or ``google`` (by objects: train, val, test).
        split: the one split that ``test`` judges on; by default all tests.
        masks: give each query the mask of its object.
        kwargs: as for `GroundingDataModule`.
    """

    name, title, folders = "refcoco", "RefCOCO", ("refcoco", ".")
    image_folders, remedy = IMAGES, COCO

    def __init__(
        self,
        root: Path = Path("data/refcoco"),
        images: Path | None = None,
        split_by: Literal["unc", "google"] = "unc",
        split: NamedSplit | None = None,
        masks: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, images, split_by, split, masks, **kwargs)


class RefCOCOPlus(ReferDataModule):
    """RefCOCO+, whose expressions name no places. Its tests are the sets ``refcoco_plus_testA`` (people) and
    ``refcoco_plus_testB`` (other things).

    Args:
        root: folder of the layout above.
        images: COCO's train2014; by default one of the folders above.
        split: the one split that ``test`` judges on; by default all tests.
        masks: give each query the mask of its object.
        kwargs: as for `GroundingDataModule`.
    """

    name, title, folders = "refcoco_plus", "RefCOCO+", ("refcoco+", ".")
    image_folders, remedy = IMAGES, COCO

    def __init__(
        self,
        root: Path = Path("data/refcoco"),
        images: Path | None = None,
        split: NamedSplit | None = None,
        masks: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, images, "unc", split, masks, **kwargs)


class RefCOCOg(ReferDataModule):
    """RefCOCOg, with longer expressions.

    Args:
        root: folder of the layout above.
        images: COCO's train2014; by default one of the folders above.
        split_by: ``umd`` (by images: train, val, test) or ``google`` (by objects: train, val; the test was
            never published).
        split: the one split that ``test`` judges on; by default ``test``.
        masks: give each query the mask of its object.
        kwargs: as for `GroundingDataModule`.
    """

    name, title, folders = "refcocog", "RefCOCOg", ("refcocog", ".")
    image_folders, remedy = IMAGES, COCO

    def __init__(
        self,
        root: Path = Path("data/refcoco"),
        images: Path | None = None,
        split_by: Literal["umd", "google"] = "umd",
        split: NamedSplit | None = None,
        masks: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, images, split_by, split, masks, **kwargs)


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
        objects: dict[int, tuple[int, list[str]]] = {}  # two references may be to one thing
        for row in source.objects(index):
            sentences = [text for sentence in row["sentences"] if (text := " ".join(sentence.split()))]
            if not Query("a thing", source.box(row), "", "").fault(row["height"], row["width"]):
                objects.setdefault(row["annotation"], (row["ref"], sentences))
        if len(objects) < 2:
            continue
        rng = np.random.default_rng([seed, int(source.ids[index])])
        drawn = [list(objects.values())[place] for place in rng.choice(len(objects), 2, replace=False)]
        phrase = " and ".join(sentences[rng.integers(len(sentences))] for _, sentences in drawn)
        pairs.append(
            {"image": int(source.ids[index]), "objects": [ref for ref, _ in drawn], "phrase": phrase}
        )
    return pairs


def kept_pairs(path: Path, source: ReferSource, seed: int) -> list[dict[str, Any]]:
    """The pairs listed in ``path``; they are drawn and written there first if there is no such file.

    Raises:
        DataError: the file is no such list.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}")
        unfinished.write_text(
            json.dumps({"seed": seed, "pairs": draw_pairs(source, seed)}, indent=0), encoding="utf-8"
        )
        unfinished.replace(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        pairs = [
            {
                "image": int(pair["image"]),
                "objects": [int(ref) for ref in pair["objects"]],
                "phrase": str(pair["phrase"]),
            }
            for pair in content["pairs"]
        ]
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise DataError(
            f"{path}: not readable as a list of pairs ({type(error).__name__}: {error}); delete it to draw anew."
        ) from error
    return pairs


class PairSource(GroundingSource):
    """Images with one query each, two objects joined by "and": both boxes, and the union of both masks.

    Args:
        source: the objects.
        pairs: as `draw_pairs` gives them; those of which an object is not in ``source`` are ``broken``.
    """

    published_boxes = "xywh"

    def __init__(self, source: ReferSource, pairs: list[dict[str, Any]]) -> None:
        self.source, self.pairs, self.broken = source, [], list(source.broken)
        position = {int(image): index for index, image in enumerate(source.ids)}
        for pair in pairs:
            index = position.get(pair["image"])
            if index is not None and set(pair["objects"]) <= {row["ref"] for row in source.objects(index)}:
                self.pairs.append((index, pair))
            else:
                self.broken.append(
                    f"{pair['image']}/{pair['objects']}\ta pair of objects that are not in this split"
                )

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def number_of_queries(self) -> int:
        return len(self.pairs)

    def key(self, index: int) -> str:
        return self.source.key(self.pairs[index][0])

    def image(self, index: int) -> np.ndarray:
        return self.source.image(self.pairs[index][0])

    def queries(self, index: int) -> list[Query]:
        position, pair = self.pairs[index]
        objects = {row["ref"]: row for row in self.source.objects(position)}
        meant = [objects[ref] for ref in pair["objects"]]
        key = f"{pair['image']}/{'+'.join(map(str, pair['objects']))}"
        boxes = np.concatenate([self.source.box(row) for row in meant])
        return [
            Query(pair["phrase"], boxes, key, key, np.logical_or.reduce([object_mask(row) for row in meant]))
        ]


class RefCOCOPairs(RefCOCOPlus):
    """The multi-object set of HIST (section 4.2): for each image of RefCOCO+ with two objects "A and B", with
    the boxes and the mask of both.

    The authors' list is not published. Ours is drawn by ``pair_seed`` and kept as JSON in
    ``<cache_dir>/pairs/``; a list that lies there is judged on as it is. ``test`` is testA and testB as one
    set.

    Args:
        pair_seed: of the draw.
        root: folder of the layout above.
        kwargs: as for `RefCOCOPlus`.
    """

    name = "refcoco_pairs"

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
        annotations = self.annotations()
        if not (names := self.test_sets(annotations) if split == "test" else [split]):
            return {}
        source = self.source(annotations, *names)
        path = self.cache_dir / "pairs" / f"refcoco_plus-unc-{'+'.join(names)}-seed{self.pair_seed}.json"
        return {self.name: PairSource(source, kept_pairs(path, source, self.pair_seed))}
