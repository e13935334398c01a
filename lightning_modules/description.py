"""What is where in a photograph of which nothing is said (the WWbL task): texts are found, then their places.

Shaharabany, Tewel and Wolf 2022, "What is Where by Looking", arXiv:2206.09358, section 3.3: regions of the
photograph get a text each; texts that several regions agree on are kept, one of each community; the model
finds these in the photograph. The paper's captioner is BLIP. Where none is at hand, a region gets the phrase
of a bank that is nearest to it.

Legend: N images, R regions, M texts, D numbers of a vector, S pixels of the side of a square.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from datamodules.batches import Preprocessing, denormalise
from lightning_modules.errors import ModelError

GRID_SIDE = 224  # pixels of the square in which regions are given
GRID_SHARES = (1 / 2, 1 / 3, 1 / 4)
CROP_SIDE = 224  # pixels of the squares that regions are resized to
Overlap = Literal["discard", "trim"]
Regions = Literal["grid", "search"]


class Region(NamedTuple):
    """A rectangle of an image, in pixels."""

    x: int
    y: int
    width: int
    height: int


def grid_regions(side: int = GRID_SIDE, least_share: float = 0.1) -> list[Region]:
    """The fixed grids of WWbL's code: squares of a half, a third and a quarter of a square image.

    Args:
        side: of the image, in pixels.
        least_share: of the image that a region must cover; the code's tenth drops the quarters.

    Example:
        >>> len(grid_regions()), grid_regions()[1]
        (13, Region(x=0, y=113, width=113, height=113))
    """
    regions = []
    for share in GRID_SHARES:
        step = int(side * share) + 1
        starts = range(0, side, step)
        if step * step > least_share * side * side:
            regions += [Region(x, y, step, step) for x in starts for y in starts]
    return regions


def searched_regions(image: np.ndarray, least_share: float = 0.1) -> list[Region]:
    """The regions of OpenCV's selective search (fast mode), in their order from the upper left.

    Args:
        image: (H,W,3) uint8 RGB.
        least_share: of the image that a region must cover.

    Raises:
        ModelError: this OpenCV has no selective search.
    """
    modules: Any = cv2
    if not hasattr(modules, "ximgproc"):
        raise ModelError(
            "selective search is in opencv-contrib-python-headless, which is not installed; install it in "
            "place of opencv-python-headless, or take the regions 'grid'."
        )
    search = modules.ximgproc.segmentation.createSelectiveSearchSegmentation()
    search.setBaseImage(np.ascontiguousarray(image[..., ::-1]))
    search.switchToSelectiveSearchFast()
    height, width = image.shape[:2]
    regions = [Region(*map(int, rectangle)) for rectangle in search.process()]
    large = {region for region in regions if region.width * region.height > least_share * height * width}
    return sorted(large, key=lambda region: (region.y, region.x, region.height, region.width))


def find_regions(image: Tensor, preprocessing: Preprocessing, how: Regions) -> list[Region]:
    """The regions of an image (3,H,W), normalised by ``preprocessing``, in pixels of a square of `GRID_SIDE`.

    Raises:
        ModelError: this OpenCV has no selective search.
    """
    if how == "grid":
        return grid_regions()
    pixels = denormalise(image, preprocessing)
    square = cv2.resize(pixels, (GRID_SIDE, GRID_SIDE), interpolation=cv2.INTER_AREA)
    return [*searched_regions(square), *grid_regions()]


def communities(
    vectors: Tensor, threshold: float = 0.85, least: int = 2, overlap: Overlap = "discard"
) -> list[list[int]]:
    """Groups of texts that mean nearly the same, the largest first.

    Around each text lies the group of all that are at least as near as the threshold, the nearest first. A
    group is taken if none of its members is in one taken before (``discard``, sentence-transformers 2.2.0, as
    WWbL's code uses it), or without these members as long as enough remain (``trim``, later versions).

    Args:
        vectors: (M,D) of length 1.
        threshold: least cosine within a group.
        least: members of a group.
        overlap: what becomes of groups that overlap.

    Example:
        >>> communities(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]))
        [[0, 2]]
    """
    groups = []
    for similarities in vectors @ vectors.T:
        order = similarities.argsort(descending=True, stable=True)
        members = order[similarities[order] >= threshold].tolist()
        if len(members) >= least:
            groups.append(members)
    groups.sort(key=len, reverse=True)
    taken: set[int] = set()
    kept = []
    for members in groups:
        fresh = [member for member in members if member not in taken]
        if len(fresh) < least or (overlap == "discard" and len(fresh) < len(members)):
            continue
        kept.append(fresh)
        taken.update(fresh)
    return kept


def representative(vectors: Tensor, members: Sequence[int]) -> int:
    """The member nearest to the mean of its group.

    Args:
        vectors: (M,D) of length 1.
        members: of the group.
    """
    own = vectors[list(members)]
    mean = own.mean(0)
    return members[int((own @ (mean / mean.norm())).argmax())]


def crops(image: Tensor, regions: Sequence[Region], side: int) -> list[Tensor]:
    """The regions of an image, given for a square one of ``side`` pixels, each of its own size: (3,h,w)."""
    height, width = image.shape[1:]
    pieces = []
    for region in regions:
        rows = slice(region.y * height // side, min(region.y + region.height, side) * height // side)
        columns = slice(region.x * width // side, min(region.x + region.width, side) * width // side)
        pieces.append(image[:, rows, columns])
    return pieces


def as_squares(pieces: Sequence[Tensor], side: int) -> Tensor:
    """Pieces of images (3,h,w), each resized to a square: (R,3,S,S). Pieces without a pixel are left out."""
    squares = []
    for piece in pieces:
        if piece.numel():
            squares.append(F.interpolate(piece[None], (side, side), mode="bicubic", antialias=True))
    return torch.cat(squares)


def agreed_texts(texts: Sequence[str], vectors: Tensor, overlap: Overlap = "discard") -> list[str]:
    """One text of each community, the largest community first; equal texts are said once.

    Args:
        texts: of all regions.
        vectors: (M,D) of length 1, of these texts.
        overlap: see `communities`.
    """
    chosen = [texts[representative(vectors, members)] for members in communities(vectors, overlap=overlap)]
    return list(dict.fromkeys(chosen))


@torch.no_grad()
def nearest_phrases(module: Any, regions: Tensor, bank: Sequence[str], count: int = 2) -> list[str]:
    """What is seen in regions, in the phrases of a bank.

    Args:
        module: can ``match``.
        regions: (R,3,S,S) images of the regions, normalised for the module.
        bank: M phrases.
        count: phrases of each region.
    """
    similarities = module.match(regions, list(bank))
    nearest = similarities.topk(min(count, len(bank)), dim=1).indices
    return [bank[index] for index in nearest.flatten().tolist()]


class Describing:
    """A base of methods that say what parts of images show; see `lightning_modules.capabilities.CanDescribe`.

    Attributes:
        preprocessing: of the method's images.
    """

    preprocessing: Preprocessing

    @abstractmethod
    def match(self, images: Tensor, texts: list[str]) -> Tensor:
        """See `lightning_modules.capabilities.CanMatch`."""

    @abstractmethod
    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """(M,D), a vector of length 1 for each text, by which texts are compared."""

    @torch.no_grad()
    def describe(
        self, images: Sequence[Tensor], bank: Sequence[str], regions: Regions = "grid"
    ) -> list[list[str]]:
        """See `lightning_modules.capabilities.CanDescribe`."""
        return [self._agreed(image, bank, regions) for image in images]

    def _agreed(self, image: Tensor, bank: Sequence[str], regions: Regions) -> list[str]:
        places = find_regions(image, self.preprocessing, regions)
        pieces = [image, *crops(image, places, GRID_SIDE)]
        texts = nearest_phrases(self, as_squares(pieces, CROP_SIDE), bank)
        return agreed_texts(texts, self.encode_texts(texts))
