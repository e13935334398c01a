"""COCO 2017 with a class for every pixel: COCO-Object (80 things and background) and COCO-Stuff (Caesar et
al. 2018, arXiv:1612.03716; 171 classes). 5,000 images to be judged on.

Layout below ``root``, as its publishers ship it: ``val2017/<id>.jpg`` (or ``images/val2017/``) and
``stuffthingmaps_trainval2017/val2017/<id>.png`` (or ``annotations/val2017/``), whose numbers are COCO's
category numbers less one, 255 where nothing is marked. What MMSegmentation (``<id>_labelTrainIds.png``) and
TCL (``<id>_instanceTrainIds.png``) make of them lies in the same folder, and goes first. COCO-Object can also
be drawn from ``annotations/instances_val2017.json``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from datamodules.base import GroundingDataModule, Split
from datamodules.batches import IGNORED
from datamodules.errors import DataError
from datamodules.kinds.segmentation import SegmentationSource
from datamodules.sets import coco_files
from datamodules.sets.class_names import BACKGROUND, COCO_STUFF, COCO_STUFF_IDS, COCO_THING_IDS, COCO_THINGS
from datamodules.storage.coco_masks import decode_mask
from datamodules.storage.images import read_image
from datamodules.storage.index import Rows, open_index, stream_json
from datamodules.storage.label_maps import (
    Labelled,
    LabelMapSource,
    in_order,
    read_label_map,
    table,
    to_labels,
)
from datamodules.storage.layout import Layout, Part, SplitCounts
from datamodules.storage.local_copy import LocalCopy

OBJECT_NAMES = (BACKGROUND, *COCO_THINGS)
OBJECT_LABELS = in_order(COCO_THING_IDS, first=1)  # by category number
ROWS = pa.schema(
    {
        "key": pa.string(),
        "file": pa.string(),
        "height": pa.int32(),
        "width": pa.int32(),
        "masks": pa.list_(pa.string()),  # "segmentation" as json, the largest object first
        "labels": pa.list_(pa.uint8()),
    }
)
MAP_FOLDERS = ("stuffthingmaps_trainval2017", "annotations", "stuffthingmaps")

LABEL_MAPS = Part(
    path=f"{MAP_FOLDERS[0]}/val2017/*.png",
    content="label maps",
    count=5_000,
    url="http://calvin.inf.ed.ac.uk/wp-content/uploads/data/cocostuffdataset/stuffthingmaps_trainval2017.zip",
    unpack=MAP_FOLDERS[0],
    alternatives=tuple(f"{folder}/val2017/*.png" for folder in MAP_FOLDERS[1:]),
)
STUFF_LAYOUT = Layout(
    name="COCOStuff",
    title="COCO-Stuff",
    page="https://github.com/nightrome/cocostuff",
    licence=f"COCO-Stuff's annotations CC BY 4.0; {coco_files.LICENCE}",
    size="about 2 GB",
    root="data/coco",
    parts=(coco_files.photographs("val2017"), LABEL_MAPS),
    judged_on="171 classes of pixels",
    counts=(
        SplitCounts("val", 5_000),
        SplitCounts("test", 5_000, note="the same: papers judge on val2017"),
    ),
)
OBJECT_LAYOUT = replace(
    STUFF_LAYOUT,
    name="COCOObject",
    title="COCO-Object",
    options={"labels": "stuffthingmaps"},
    parts=(
        coco_files.photographs("val2017"),
        replace(LABEL_MAPS, needed_if={"labels": "stuffthingmaps"}),
        coco_files.annotation_file("instances_val2017", "outlines", {"labels": "instances"}),
    ),
    judged_on="80 classes of pixels and background",
)


class COCOLabelMaps(LabelMapSource):
    """COCO-Stuff or COCO-Object from label maps.

    Args:
        root: folder of the data set, laid out as above.
        stuff: 171 classes (COCO-Stuff); otherwise 80 things, and all stuff is background (COCO-Object).
        subset: ``val2017`` or ``train2017``.

    Raises:
        DatasetNotFoundError: the folder of images or of label maps is missing.
        DataError: there is no label map.
    """

    def __init__(self, root: Path, stuff: bool, subset: str = "val2017") -> None:
        copy = LocalCopy(STUFF_LAYOUT if stuff else OBJECT_LAYOUT, root)
        self.converted = "_labelTrainIds" if stuff else "_instanceTrainIds"
        images = coco_files.image_folder(copy, subset)
        maps = copy.first_existing(*(root / folder / subset for folder in MAP_FOLDERS))
        classes = COCO_STUFF if stuff else OBJECT_NAMES
        files = [Labelled(name, images / f"{name}.jpg", path) for name, path in self._maps(maps).items()]
        super().__init__(files, classes, table(in_order(range(len(classes)))))
        if stuff:
            labels = in_order(COCO_STUFF_IDS)
            other_categories = IGNORED
        else:
            labels = OBJECT_LABELS
            other_categories = 0
        # The label maps hold category numbers less one.
        stored_labels = {category - 1: label for category, label in labels.items()}
        self.by_category = table(stored_labels, others=other_categories)

    def _maps(self, folder: Path) -> dict[str, Path]:
        """Image -> its label map, a converted one if there is one. Raises `DataError` if there is none."""
        maps: dict[str, Path] = {}
        for path in sorted(folder.glob("*.png")):  # "<id>.png" comes before "<id>_..."
            name, mark, _ = path.stem.partition("_")
            if not mark or path.stem.endswith(self.converted):
                maps[name] = path
        if not maps:
            raise DataError(
                f"{folder} holds no label map; it must hold <id>.png or <id>{self.converted}.png."
            )
        return maps

    def labels(self, index: int) -> np.ndarray:
        """(H,W) uint8 labels in the order of the class names; `IGNORED` where nothing is judged."""
        path = self.files[index].labels
        numbering = self.by_number if path.stem.endswith(self.converted) else self.by_category
        return to_labels(read_label_map(path), numbering, path)


class COCOInstances(SegmentationSource):
    """COCO-Object drawn from the outlines of ``instances_<subset>.json``: smaller objects lie on larger ones,
    crowds count as their category, and images without any object are background throughout.

    Args:
        root: folder of the data set, laid out as above.
        subset: ``val2017`` or ``train2017``.
        cache_dir: where the index goes if ``root`` cannot be written.

    Raises:
        DatasetNotFoundError: the folder of images or the annotation file is missing.
        DataError: the annotation file is damaged.
    """

    class_names = OBJECT_NAMES

    def __init__(self, root: Path, subset: str = "val2017", cache_dir: Path = Path(".cache")) -> None:
        copy = LocalCopy(OBJECT_LAYOUT, root, {"labels": "instances"})
        self.images = coco_files.image_folder(copy, subset)
        annotation = root / "annotations" / f"instances_{subset}.json"
        copy.require(annotation)
        self.index = open_index(
            root,
            annotation.stem,
            [annotation],
            ROWS,
            lambda: instance_rows(annotation),
            cache_dir=cache_dir,
        )
        self.broken = self.index.broken
        if not len(self.index):
            raise DataError(f"{annotation} lists no image.")

    def __len__(self) -> int:
        return len(self.index)

    def key(self, index: int) -> str:
        """The photograph's name without extension."""
        return self.index.value(index, "key")

    def image(self, index: int) -> np.ndarray:
        """(H,W,3) uint8 RGB. Raises `DataError` if it cannot be read."""
        return read_image(self.images / self.index.value(index, "file"))

    def labels(self, index: int) -> np.ndarray:
        """(H,W) uint8: 0 background, 1 to 80 things."""
        row = self.index.row(index)
        labels = np.zeros((row["height"], row["width"]), dtype=np.uint8)
        for mask, label in zip(row["masks"], row["labels"], strict=True):
            labels[decode_mask(json.loads(mask), *labels.shape)] = label
        return labels


def instance_rows(path: Path) -> Rows:
    """Rows of `ROWS` from an annotation file, and a line for each annotation that cannot be used. Raises
    `DataError`.
    """
    objects_by_image: dict[int, list[tuple[float, int, str]]] = {}
    yield from _read_objects(path, objects_by_image)
    for number, image in enumerate(stream_json(path, "images.item")):
        try:
            objects = sorted(objects_by_image.pop(image["id"], []))
            row: dict[str, Any] = {
                "key": Path(image["file_name"]).stem,
                "file": image["file_name"],
                "height": int(image["height"]),
                "width": int(image["width"]),
            }
        except (KeyError, TypeError, ValueError) as error:
            yield f"image {number}\tnot an image of COCO ({type(error).__name__}: {error})"
            continue
        row["masks"] = [mask for _, _, mask in objects]
        row["labels"] = [label for _, label, _ in objects]
        yield row
    for image in objects_by_image:
        yield f"image {image}\tobjects of an image that is not listed"


def _read_objects(path: Path, objects: dict[int, list[tuple[float, int, str]]]) -> Iterator[str]:
    """Fills in (negative area, label, mask as json) by image; a line for each that cannot be read."""
    for number, annotation in enumerate(stream_json(path, "annotations.item")):
        try:
            mask = json.dumps(annotation["segmentation"], separators=(",", ":"))
            label = OBJECT_LABELS[annotation["category_id"]]
            area = float(annotation["area"])
            objects.setdefault(annotation["image_id"], []).append((-area, label, mask))
        except (KeyError, TypeError, ValueError) as error:
            name = annotation.get("id", number) if isinstance(annotation, dict) else number
            yield f"annotation {name}\tnot an object of COCO ({type(error).__name__}: {error})"


class COCOObject(GroundingDataModule):
    """COCO-Object: 80 things and background. Both ``validate`` and ``test`` judge on val2017, as the papers
    do.

    Args:
        root: folder of the data set, laid out as above.
        labels: ``stuffthingmaps`` as TCL and TTD have them, or ``instances``, drawn from the outlines of
            instances_val2017.json. The two differ where objects overlap, and in what is ignored.
        kwargs: as for `GroundingDataModule`.
    """

    name = "coco_object"
    layout = OBJECT_LAYOUT

    def __init__(
        self,
        root: Path = Path("data/coco"),
        labels: Literal["stuffthingmaps", "instances"] = "stuffthingmaps",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.root = Path(root)
        self.labels = labels

    def evaluation_source(self, split: Split) -> SegmentationSource:
        """The images of val2017, for every split."""
        if self.labels == "instances":
            return COCOInstances(self.root, cache_dir=self.cache_dir)
        return COCOLabelMaps(self.root, stuff=False)


class COCOStuff(GroundingDataModule):
    """COCO-Stuff, 171 classes, without background. Both ``validate`` and ``test`` judge on val2017, as the
    papers do.

    Args:
        root: folder of the data set, laid out as above.
        kwargs: as for `GroundingDataModule`.
    """

    name = "coco_stuff"
    layout = STUFF_LAYOUT

    def __init__(self, root: Path = Path("data/coco"), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.root = Path(root)

    def evaluation_source(self, split: Split) -> COCOLabelMaps:
        """The images of val2017, for every split."""
        return COCOLabelMaps(self.root, stuff=True)
