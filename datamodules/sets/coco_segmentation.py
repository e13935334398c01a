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
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from datamodules.base import GroundingDataModule, Split
from datamodules.batches import IGNORED
from datamodules.errors import DataError, DatasetNotFoundError, require_paths
from datamodules.kinds.segmentation import SegmentationSource
from datamodules.sets.class_names import BACKGROUND, COCO_STUFF, COCO_STUFF_IDS, COCO_THING_IDS, COCO_THINGS
from datamodules.sets.coco_captions import image_folder
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

REMEDY = "Set --data.root; the images are had from cocodataset.org, stuffthingmaps_trainval2017.zip from github.com/nightrome/cocostuff."
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


def map_folder(dataset: str, root: Path, subset: str) -> Path:
    """The folder of label maps of a subset. Raises `DatasetNotFoundError`."""
    folders = [
        root / parent / subset for parent in ("stuffthingmaps_trainval2017", "annotations", "stuffthingmaps")
    ]
    found = next((folder for folder in folders if folder.is_dir()), None)
    if found is None:
        raise DatasetNotFoundError(dataset, folders[0], "<id>.png, a label map for each image", REMEDY)
    return found


class COCOLabelMaps(LabelMapSource):
    """COCO-Stuff or COCO-Object from label maps.

    Args:
        root: folder of the layout above.
        stuff: 171 classes (COCO-Stuff); otherwise 80 things, and all stuff is background (COCO-Object).
        subset: ``val2017`` or ``train2017``.

    Raises:
        DatasetNotFoundError: the folder of images or of label maps is missing.
        DataError: there is no label map.
    """

    def __init__(self, root: Path, stuff: bool, subset: str = "val2017") -> None:
        dataset, self.converted = (
            ("COCO-Stuff", "_labelTrainIds") if stuff else ("COCO-Object", "_instanceTrainIds")
        )
        images, maps = image_folder(root, subset), map_folder(dataset, root, subset)
        paths: dict[str, Path] = {}
        for path in sorted(maps.glob("*.png")):  # "<id>.png" comes before "<id>_..."
            name, mark, _ = path.stem.partition("_")
            if not mark or path.stem.endswith(self.converted):
                paths[name] = path
        if not paths:
            raise DataError(f"{maps} holds no label map; it must hold <id>.png or <id>{self.converted}.png.")
        classes = COCO_STUFF if stuff else OBJECT_NAMES
        super().__init__(
            [Labelled(name, images / f"{name}.jpg", path) for name, path in paths.items()],
            classes,
            table(in_order(range(len(classes)))),
        )
        if stuff:
            self.by_category = table(
                {number - 1: label for number, label in in_order(COCO_STUFF_IDS).items()}, others=IGNORED
            )
        else:
            self.by_category = table({number - 1: label for number, label in OBJECT_LABELS.items()}, others=0)

    def labels(self, index: int) -> np.ndarray:
        path = self.files[index].labels
        return to_labels(
            read_label_map(path),
            self.by_number if path.stem.endswith(self.converted) else self.by_category,
            path,
        )


class COCOInstances(SegmentationSource):
    """COCO-Object drawn from the outlines of ``instances_<subset>.json``: smaller objects lie on larger ones,
    crowds count as their category, and images without any object are background throughout.

    Args:
        root: folder of the layout above.
        subset: ``val2017`` or ``train2017``.
        cache_dir: where the index goes if ``root`` cannot be written.

    Raises:
        DatasetNotFoundError: the folder of images or the annotation file is missing.
        DataError: the annotation file is damaged.
    """

    class_names = OBJECT_NAMES

    def __init__(self, root: Path, subset: str = "val2017", cache_dir: Path = Path(".cache")) -> None:
        self.images = image_folder(root, subset)
        name = f"annotations/instances_{subset}.json"
        require_paths(
            "COCO-Object",
            root,
            [name],
            name,
            "Set --data.root; it is had from cocodataset.org (annotations_trainval2017.zip).",
        )
        self.index = open_index(
            root,
            f"instances_{subset}",
            [root / name],
            ROWS,
            lambda: instance_rows(root / name),
            cache_dir=cache_dir,
        )
        self.broken = self.index.broken
        if not len(self.index):
            raise DataError(f"{root / name} lists no image.")

    def __len__(self) -> int:
        return len(self.index)

    def key(self, index: int) -> str:
        return self.index.value(index, "key")

    def image(self, index: int) -> np.ndarray:
        return read_image(self.images / self.index.value(index, "file"))

    def labels(self, index: int) -> np.ndarray:
        row = self.index.row(index)
        labels = np.zeros((row["height"], row["width"]), dtype=np.uint8)
        for mask, label in zip(row["masks"], row["labels"], strict=True):
            labels[decode_mask(json.loads(mask), *labels.shape)] = label
        return labels


def instance_rows(path: Path) -> Rows:
    """Rows of ``ROWS`` from an annotation file, and a line for each annotation that says nothing. Raises
    `DataError`.
    """
    objects: dict[int, list[tuple[float, int, str]]] = {}
    for n, annotation in enumerate(stream_json(path, "annotations.item")):
        try:
            mask, label = (
                json.dumps(annotation["segmentation"], separators=(",", ":")),
                OBJECT_LABELS[annotation["category_id"]],
            )
            objects.setdefault(annotation["image_id"], []).append((-float(annotation["area"]), label, mask))
        except (KeyError, TypeError, ValueError) as error:
            yield f"annotation {annotation.get('id', n) if isinstance(annotation, dict) else n}\tnot an object of COCO ({type(error).__name__}: {error})"
    for n, image in enumerate(stream_json(path, "images.item")):
        try:
            found = sorted(objects.pop(image["id"], []))
            row = {
                "key": Path(image["file_name"]).stem,
                "file": image["file_name"],
                "height": int(image["height"]),
                "width": int(image["width"]),
            }
        except (KeyError, TypeError, ValueError) as error:
            yield f"image {n}\tnot an image of COCO ({type(error).__name__}: {error})"
            continue
        yield row | {"masks": [mask for _, _, mask in found], "labels": [label for _, label, _ in found]}
    yield from (f"image {image}\tobjects of an image that is not listed" for image in objects)


class COCOObject(GroundingDataModule):
    """COCO-Object: 80 things and background. Both ``validate`` and ``test`` judge on val2017, as the papers
    do.

    Args:
        root: folder of the layout above.
        labels: ``stuffthingmaps`` as TCL and TTD have them, or ``instances``, drawn from the outlines of
            instances_val2017.json. The two differ where objects overlap, and in what is ignored.
        kwargs: as for `GroundingDataModule`.
    """

    name = "coco_object"

    def __init__(
        self,
        root: Path = Path("data/coco"),
        labels: Literal["stuffthingmaps", "instances"] = "stuffthingmaps",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.root, self.labels = Path(root), labels

    def caption_source(self) -> None:
        return None

    def evaluation_source(self, split: Split) -> SegmentationSource:
        return (
            COCOInstances(self.root, cache_dir=self.cache_dir)
            if self.labels == "instances"
            else COCOLabelMaps(self.root, stuff=False)
        )


class COCOStuff(GroundingDataModule):
    """COCO-Stuff, 171 classes, without background. Both ``validate`` and ``test`` judge on val2017, as the
    papers do.

    Args:
        root: folder of the layout above.
        kwargs: as for `GroundingDataModule`.
    """

    name = "coco_stuff"

    def __init__(self, root: Path = Path("data/coco"), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.root = Path(root)

    def caption_source(self) -> None:
        return None

    def evaluation_source(self, split: Split) -> COCOLabelMaps:
        return COCOLabelMaps(self.root, stuff=True)
