"""A model and a photograph: phrases in, points, boxes and heat maps out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
from datamodules.storage.images import resize_image, to_tensor
from lightning_modules.capabilities import (
    CanDescribe,
    CanGround,
    CanGroupTokens,
    CanScoreTags,
    require,
)
from metrics.decisions import Decision, Decisions, Queries, decide
from metrics.protocols import Protocol, protocol
from metrics.token_iou import words_from_tokens
from weakground.inputs import Photo, checked_phrases, pixels_of


@dataclass(frozen=True)
class GroundingResult:
    """Where the phrases are in a photograph, in its own pixels.

    Attributes:
        image: (H,W,3) uint8 RGB.
        phrases: Q texts.
        heatmaps: (Q,H,W) float32 in [0,1], larger where the phrase is.
        points: (Q,2) int, x and y of the pixel that is pointed at.
        boxes: (Q,4) float, x0, y0, x1, y1, the maximum exclusive; NaN where a map has no box.
        scores: (Q,) float in [0,1], how well each map fills its box, see `metrics.decisions.Decisions`.
        decisions: Q of them, the same as single values.
    """

    image: np.ndarray
    phrases: list[str]
    heatmaps: np.ndarray
    points: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    decisions: list[Decision]

    @classmethod
    def empty(cls, image: np.ndarray) -> Self:
        """Of a photograph in which nothing is sought."""
        height, width = image.shape[:2]
        nothing = np.zeros((0, height, width), np.float32)
        return cls(image, [], nothing, np.zeros((0, 2), int), np.zeros((0, 4)), np.zeros(0), [])

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
            photo: see `weakground.inputs.Photo`.
            phrases: one or several; the photograph is encoded once for all of them.

        Raises:
            DataError: the photograph is none, or a phrase holds no word.
        """
        texts = checked_phrases(phrases)
        image = pixels_of(photo)
        height, width = image.shape[:2]
        maps = self.heatmaps(image, texts)
        decisions = decide_on(maps, (height, width), self.rules)
        full = interpolate(maps[:, None].float(), size=(height, width), mode="bicubic", align_corners=False)
        return GroundingResult(
            image=image,
            phrases=texts,
            heatmaps=full[:, 0].clamp(0, 1).numpy(),
            points=decisions.points.flip(-1).numpy(),
            boxes=decisions.boxes.numpy(),
            scores=decisions.scores.numpy(),
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
            photo: see `weakground.inputs.Photo`.
            bank: phrases to choose from.
            regions: fixed grids, or also selective search.
            most: phrases at most; None for all that are agreed on.

        Returns:
            The phrases that were chosen, the most agreed on first, possibly none.

        Raises:
            DataError: the photograph is none, or the bank is empty.
            ModelError: the module cannot describe images, or OpenCV lacks selective search.
        """
        require(self.module, CanDescribe, "describe")
        if not bank:
            raise DataError("the bank of phrases is empty.")
        image = pixels_of(photo)
        device = next(self.module.parameters()).device
        normalised = normalise(to_tensor(image)[None].to(device), self.module.preprocessing)[0]
        (chosen,) = self.module.describe([normalised], bank, regions)
        return self.ground(image, chosen[:most]) if chosen else GroundingResult.empty(image)

    def heatmaps(self, image: np.ndarray, texts: list[str]) -> torch.Tensor:
        """The module's maps, on which points and boxes are decided.

        Args:
            image: (H,W,3) uint8 RGB.
            texts: Q phrases.

        Returns:
            (Q,h,w) float32 in [0,1] on the CPU, over the whole image, at the module's own grid or finer.
        """
        return module_heatmaps(self.module, self._batch(image, texts), self.rules.prompt).cpu()

    def tags(self, photo: Photo, caption: str) -> list[bool]:
        """Which words of a caption the module sees in its photograph, as `TagEvaluation` scores them first.

        Args:
            photo: see `weakground.inputs.Photo`.
            caption: in words, which blanks separate.

        Raises:
            ModelError: the module cannot tell.
        """
        require(self.module, CanScoreTags, "a Grounder asked for tags")
        image = pixels_of(photo)
        with torch.no_grad():
            images = self._batch(image, []).images
            (scored,) = self.module.score_tags(images, [caption.split()], ["pixel"])["pixel"]
        return scored.selected.tolist()

    def groups(self, caption: str) -> list[int | None]:
        """The group of each word of a caption, as `SpanEvaluation` scores them; None for a word that is cut
        off.

        Raises:
            ModelError: the module cannot group words.
        """
        require(self.module, CanGroupTokens, "a Grounder asked for groups")
        groups, words = words_from_tokens(*self.module.group_tokens([caption])[0])
        group_of_word = dict(zip(words, groups, strict=True))
        return [group_of_word.get(word) for word in range(len(caption.split()))]

    def _batch(self, image: np.ndarray, texts: list[str]) -> GroundingBatch:
        """A photograph as the module wants it, on its device."""
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
        return batch


def decide_on(maps: torch.Tensor, size: tuple[int, int], rules: Protocol) -> Decisions:
    """Points and boxes of maps (Q,h,w) of one photograph, each decided by itself.

    Args:
        maps: see `Grounder.heatmaps`.
        size: height and width of the photograph, in pixels.
        rules: the protocol.
    """
    one_image = torch.zeros(len(maps), dtype=torch.long)
    return decide(maps, Queries(torch.tensor([size]), one_image, torch.arange(len(maps))), rules)
