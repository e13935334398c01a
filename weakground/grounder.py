"""A model and a photograph: phrases in, points, boxes and heat maps out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from lightning.fabric.utilities.apply_func import move_data_to_device
from torch.nn.functional import interpolate

from callbacks.heatmaps import module_heatmaps
from callbacks.pictures.gallery import contact_sheet
from callbacks.pictures.grounding import draw
from datamodules.batches import GroundingBatch, normalise, prepare_images
from datamodules.errors import DataError
from datamodules.storage.images import read_image, resize_image, to_tensor
from lightning_modules.capabilities import CanDescribe, CanGround, require
from metrics.decisions import Decision, Queries, decide
from metrics.protocols import Protocol, protocol

Photo = str | Path | np.ndarray


@dataclass(frozen=True)
class GroundingResult:
    """Where the phrases are in a photograph, in its own pixels.

    Attributes:
        image: (H,W,3) uint8 RGB.
        phrases: Q texts.
        heatmaps: (Q,H,W) float32 in [0,1], larger where the phrase is.
        points: (Q,2) int, x and y of the pixel that is pointed at.
        boxes: (Q,4) float, x0, y0, x1, y1, the maximum exclusive; NaN where a map has no box.
    """

    image: np.ndarray
    phrases: list[str]
    heatmaps: np.ndarray
    points: np.ndarray
    boxes: np.ndarray
    decisions: list[Decision]

    @classmethod
    def empty(cls, image: np.ndarray) -> Self:
        """Of a photograph in which nothing is sought."""
        height, width = image.shape[:2]
        nothing = np.zeros((0, height, width), np.float32)
        return cls(image, [], nothing, np.zeros((0, 2), int), np.zeros((0, 4)), [])

    def picture(self, columns: int = 1) -> np.ndarray:
        """The photograph beside each phrase's heat map with its point and box: (H,W,3) uint8 RGB."""
        nowhere = torch.zeros(0, 4)
        size = (self.image.shape[0], self.image.shape[1])
        panels = [
            draw(self.image, phrase, decision, nowhere, size)
            for phrase, decision in zip(self.phrases, self.decisions, strict=True)
        ]
        return contact_sheet(panels, columns)

    def show(self) -> Any:
        """The picture as a Pillow image, which a notebook displays."""
        from PIL import Image

        return Image.fromarray(self.picture())

    def heatmap_picture(self, query: int) -> np.ndarray:
        """A heat map as (H,W) uint8."""
        return (255 * self.heatmaps[query]).round().astype(np.uint8)


class Grounder:
    """Finds phrases in photographs with any module that can ground.

    Args:
        module: in evaluation mode, e.g. from `weakground.load`.
        rules: decides on point and box; by default ``clean``, see `metrics.protocols`.

    Raises:
        ModelError: the module cannot ground.
    """

    def __init__(self, module: Any, rules: Protocol | str = "clean") -> None:
        require(module, CanGround, "a Grounder")
        self.module = module.eval()
        self.rules = protocol(rules)

    def ground(self, photo: Photo, phrases: Sequence[str] | str) -> GroundingResult:
        """Finds phrases in a photograph.

        Args:
            photo: a file, or (H,W,3) uint8 RGB.
            phrases: one or several; the photograph is encoded once for all of them.

        Raises:
            DataError: the file is no image, or a phrase is empty.
        """
        texts = [phrases] if isinstance(phrases, str) else list(phrases)
        texts = [" ".join(text.split()) for text in texts]
        if not texts or not all(texts):
            raise DataError("a phrase is empty: say what is to be found, such as 'the dog on the left'.")
        image = photo if isinstance(photo, np.ndarray) else read_image(Path(photo))
        height, width = image.shape[:2]
        maps = self._heatmaps(image, texts)
        one_image = torch.zeros(len(texts), dtype=torch.long)
        sizes = torch.tensor([[height, width]])
        decisions = decide(maps, Queries(sizes, one_image, torch.arange(len(texts))), self.rules)
        full = interpolate(maps[:, None].float(), size=(height, width), mode="bicubic", align_corners=False)
        return GroundingResult(
            image=image,
            phrases=texts,
            heatmaps=full[:, 0].clamp(0, 1).numpy(),
            points=decisions.points.flip(-1).numpy(),
            boxes=decisions.boxes.numpy(),
            decisions=[decisions.on(query) for query in range(len(texts))],
        )

    def describe(
        self,
        photo: Photo,
        bank: Sequence[str],
        regions: Literal["grid", "search"] = "grid",
        most: int | None = None,
    ) -> GroundingResult:
        """Finds what is where in a photograph of which nothing is said (the WWbL task).

        Parts of the photograph get the phrases of a bank that are most like them; phrases on which several
        parts agree are then found in it, see `lightning_modules.description`.

        Args:
            photo: a file, or (H,W,3) uint8 RGB.
            bank: phrases to choose from.
            regions: fixed grids, or also selective search.
            most: phrases at most; None for all that are agreed on.

        Returns:
            The phrases that were chosen, the most agreed on first, possibly none.

        Raises:
            DataError: the file is no image, or the bank is empty.
            ModelError: the module cannot describe images, or OpenCV lacks selective search.
        """
        require(self.module, CanDescribe, "describe")
        if not bank:
            raise DataError("the bank of phrases is empty.")
        image = photo if isinstance(photo, np.ndarray) else read_image(Path(photo))
        device = next(self.module.parameters()).device
        normalised = normalise(to_tensor(image)[None].to(device), self.module.preprocessing)[0]
        (chosen,) = self.module.describe([normalised], bank, regions)
        return self.ground(image, chosen[:most]) if chosen else GroundingResult.empty(image)

    def _heatmaps(self, image: np.ndarray, texts: list[str]) -> torch.Tensor:
        """(Q,h,w) on the CPU."""
        preprocessing = self.module.preprocessing
        batch = GroundingBatch(
            images=to_tensor(resize_image(image, preprocessing))[None],
            phrases=texts,
            image_of_query=torch.zeros(len(texts), dtype=torch.long),
            chain_of_query=torch.arange(len(texts)),
            boxes=[],
            sizes=torch.tensor([image.shape[:2]]),
            image_keys=["photograph"],
            keys=texts,
        )
        batch = move_data_to_device(batch, next(self.module.parameters()).device)
        prepare_images(batch, preprocessing)
        return module_heatmaps(self.module, batch, self.rules.prompt).cpu()
