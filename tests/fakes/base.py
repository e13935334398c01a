"""What a fake data set holds, as far as a reader must give it back."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Boxes = list[list[float]]


@dataclass(frozen=True)
class Asked:
    """A query as it was written: the image's colour and size (height, width), the phrase and its boxes
    (0-based, maximum exclusive).
    """

    colour: tuple[int, int, int]
    size: tuple[int, int]
    phrase: str
    boxes: Boxes


@dataclass
class Fake:
    """A small data set on disk.

    Attributes:
        arguments: of its datamodule.
        captions: of each readable training image, by key; None if there are no captions.
        queries: split -> evaluation set -> key -> query that must be judged.
        skipped: what must be named as unreadable, by ``train`` or evaluation set.
        useless: how many records were written that are sound, but neither learnt from nor judged, by
            ``train`` or evaluation set.
    """

    arguments: dict[str, Any]
    captions: dict[str, list[str]] | None
    queries: dict[str, dict[str, dict[str, Asked]]]
    skipped: dict[str, set[str]] = field(default_factory=dict)
    useless: dict[str, int] = field(default_factory=dict, kw_only=True)


def save_image(path: Path, colour: tuple[int, int, int], size: tuple[int, int], **options: Any) -> None:
    """An image of one colour; ``size`` is (height, width)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), colour, np.uint8)).save(path, **options)
