"""FOIL-COCO (Shekhar et al. 2017, arXiv:1705.01359): COCO captions, each with copies in which one noun is
wrong (a "foil").

Layout: ``root`` holds ``foilv1.0_test_2017.json`` as its publishers ship it (198,960 captions, about 99,000
    pairs), ``images`` COCO's ``val2014/``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from datamodules.base import GroundingDataModule, Split
from datamodules.errors import DataError, require_paths
from datamodules.kinds.pairs import PairRankSource, RankedPair
from datamodules.storage.images import read_image
from datamodules.storage.index import Rows, open_index, stream_json

REMEDY = "Set --data.root and --data.images; the captions are had from foilunitn.github.io, the images (val2014) from cocodataset.org."
GROUP = "foil"
ROWS = pa.schema({"key": pa.string(), "file": pa.string(), "original": pa.string(), "foil": pa.string()})


def foil_pairs(path: Path) -> Rows:
    """Rows of ``ROWS``, every foil with the caption that it was made from, and a line for each record that
    says nothing. Raises `DataError`.
    """
    files, originals, broken = {}, {}, set()
    for n, image in enumerate(stream_json(path, "images.item")):
        try:
            files[image["id"]] = str(image["file_name"])
        except (KeyError, TypeError) as error:
            yield f"image {n}\tnot an image of FOIL-COCO ({type(error).__name__}: {error})"
    for n, caption in enumerate(stream_json(path, "annotations.item")):
        try:
            text = " ".join(caption["caption"].split())
            caption["foil_id"], caption["image_id"]
            if not text or not isinstance(caption["foil"], bool):
                raise ValueError("an empty caption" if not text else f"foil is {caption['foil']!r}")
            if not caption["foil"]:
                originals[caption["id"]] = text
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            broken.add(n)
            yield f"caption {n}\tnot a caption of FOIL-COCO ({type(error).__name__}: {error})"
    for n, caption in enumerate(stream_json(path, "annotations.item")):
        if n in broken or not caption["foil"]:
            continue
        if caption["id"] not in originals:
            yield f"foil {caption['foil_id']}\tthe caption {caption['id']} that it was made from is missing"
        else:
            file = files.get(caption["image_id"], f"COCO_val2014_{int(caption['image_id']):012d}.jpg")
            yield {
                "key": str(caption["foil_id"]),
                "file": file,
                "original": originals[caption["id"]],
                "foil": " ".join(caption["caption"].split()),
            }


class FoilCOCOSource(PairRankSource):
    """All foils of one file, each paired with the caption that it was made from.

    Args:
        root: folder of ``foilv1.0_<subset>_2017.json``.
        images: folder of the photographs.
        subset: ``test`` or ``train``.
        cache_dir: where the index goes if ``root`` cannot be written.

    Raises:
        DatasetNotFoundError: the file or the folder of images is missing.
        DataError: the file is damaged or holds no pair.
    """

    def __init__(
        self, root: Path, images: Path, subset: str = "test", cache_dir: Path = Path(".cache")
    ) -> None:
        name = f"foilv1.0_{subset}_2017.json"
        require_paths("FOIL-COCO", root, [name], name, REMEDY)
        require_paths("FOIL-COCO", images, [], "COCO_val2014_*.jpg", REMEDY)
        self.images = images
        self.index = open_index(
            root, f"foil_{subset}", [root / name], ROWS, lambda: foil_pairs(root / name), cache_dir=cache_dir
        )
        self.broken = self.index.broken
        if not len(self.index):
            raise DataError(f"{root / name} holds no foil with the caption that it was made from.")

    def __len__(self) -> int:
        return len(self.index)

    def key(self, index: int) -> str:
        return self.index.value(index, "key")

    def pair(self, index: int) -> RankedPair:
        row = self.index.row(index)
        return RankedPair((row["file"], row["original"]), (row["file"], row["foil"]), GROUP)

    def image_named(self, name: str) -> np.ndarray:
        return read_image(self.images / name)


class FoilCOCO(GroundingDataModule):
    """FOIL-COCO. Both ``validate`` and ``test`` judge on its test file.

    Args:
        root: folder of ``foilv1.0_test_2017.json``.
        images: folder of COCO's val2014 photographs.
        kwargs: as for `GroundingDataModule`.
    """

    name = "foil_coco"

    def __init__(
        self, root: Path = Path("data/foil_coco"), images: Path = Path("data/coco/val2014"), **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.root, self.images = Path(root), Path(images)

    def caption_source(self) -> None:
        return None

    def evaluation_source(self, split: Split) -> FoilCOCOSource:
        return FoilCOCOSource(self.root, self.images, cache_dir=self.cache_dir)
