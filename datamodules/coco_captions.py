"""COCO captions (Chen et al. 2015, arXiv:1504.00325), as its publishers ship them: ``train2017/``, ``val2017/`` (or 2014) and
``annotations/captions_*.json``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np

from datamodules.base import GroundingDataModule, Split
from datamodules.errors import DataError, require_paths
from datamodules.images import read_image
from datamodules.sources import CaptionSource


class COCOCaptionSource(CaptionSource):
    """The images and captions of one ``captions_<subset>.json``; images without a caption are left out.

    Raises:
        DatasetNotFoundError: the folder of images or the annotation file is missing.
        DataError: the annotation file is damaged.
    """

    def __init__(self, root: Path, subset: str) -> None:
        annotation = root / "annotations" / f"captions_{subset}.json"
        require_paths(
            "COCO",
            root,
            [subset, f"annotations/captions_{subset}.json"],
            f"{subset}/ and annotations/captions_{subset}.json",
            "Set --data...root; both are had from cocodataset.org (images and annotations_trainval).",
        )
        try:
            content = json.loads(annotation.read_bytes())
            names = {image["id"]: image["file_name"] for image in content["images"]}
            captions: dict[int, list[str]] = {}
            for entry in content["annotations"]:
                if caption := " ".join(entry["caption"].split()):
                    captions.setdefault(entry["image_id"], []).append(caption)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{annotation}: not readable as COCO captions ({type(error).__name__}: {error}).") from error
        self.images = root / subset
        self.broken = [f"{image}\tcaptions of an image that is not listed" for image in captions if image not in names]
        self.ids = [image for image in names if captions.get(image)]
        self.names = [names[image] for image in self.ids]
        self.texts = [captions[image] for image in self.ids]

    def __len__(self) -> int:
        return len(self.ids)

    def key(self, index: int) -> str:
        return str(self.ids[index])

    def image(self, index: int) -> np.ndarray:
        return read_image(self.images / self.names[index])

    def captions(self, index: int) -> list[str]:
        return self.texts[index]


class COCOCaptions(GroundingDataModule):
    """COCO captions for training. COCO has no phrases with boxes: judge on another set through `CrossDataset`.

    Args:
        root: folder of the layout above.
        year: of the release.
        kwargs: as for `GroundingDataModule`.
    """

    name = "coco"

    def __init__(self, root: Path = Path("data/coco"), year: Literal[2014, 2017] = 2014, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.root, self.year = Path(root), year

    def caption_source(self) -> COCOCaptionSource:
        return COCOCaptionSource(self.root, f"train{self.year}")

    def evaluation_source(self, split: Split) -> None:
        return None
