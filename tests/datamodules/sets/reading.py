"""Reading all of a data set, and a folder of images of which one may be malformed."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from datamodules.base import GroundingDataModule
from datamodules.errors import DataError
from datamodules.kinds.catalogue import kind_of
from datamodules.sets.image_caption_folder import ImageCaptionFolder
from tests.datamodules.feeding import PLAIN

RED = (200, 40, 30)


class End(NamedTuple):
    """How reading ended: samples that came out, and a line for each that was left out."""

    kept: int
    skipped: list[str]


def read_all(datamodule: GroundingDataModule) -> End:
    """Opens what is trained and tested on, and reads every sample. Raises `DataError` if it cannot be
    opened.
    """
    kept = 0
    skipped: list[str] = []
    training: Any = datamodule.training_source()
    if training is not None:
        skipped += training.broken
        texts = training.questions if hasattr(training, "questions") else training.captions
        for index in range(len(training)):
            try:
                assert texts(index)
                kept += training.image(index).shape[-1] == 3
            except DataError as error:
                skipped.append(f"{training.key(index)}\t{error}")
    for source in datamodule.evaluation_sources("test").values():
        skipped += source.broken
        view = kind_of(source).view(source, PLAIN)
        for index in range(len(view)):
            sample, lines = view[index]
            kept += sample is not None
            skipped += lines
    return End(kept, skipped)


def picture(size: tuple[int, int] = (20, 12)) -> Image.Image:
    """Red at the left, black at the right; (width, height)."""
    image = Image.new("RGB", size)
    image.paste(RED, (0, 0, size[0] // 2, size[1]))
    return image


def encoded(form: str, image: Image.Image | None = None, **options: Any) -> bytes:
    """A file of a picture."""
    target = io.BytesIO()
    (image or picture()).save(target, form, **options)
    return target.getvalue()


def folder_with(root: Path, name: str, content: bytes) -> ImageCaptionFolder:
    """A folder of a sound image and another one, with a caption and a query each."""
    (root / "images").mkdir()
    (root / "images" / name).write_bytes(content)
    (root / "images" / "sound.png").write_bytes(encoded("PNG"))
    captions = [{"image": image, "caption": "a thing"} for image in (name, "sound.png")]
    queries = [{"image": image, "phrase": "it", "boxes": [[0, 0, 5, 5]]} for image in (name, "sound.png")]
    for file, rows in (("c.jsonl", captions), ("q.jsonl", queries)):
        (root / file).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return ImageCaptionFolder(
        root / "images", root / "c.jsonl", test_queries=root / "q.jsonl", cache_dir=root / "cache"
    )
