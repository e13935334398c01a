"""A dual encoder of photographs and phrases: frozen pretrained towers, and a small head that is trained.

The head gives every place of an image a vector in the space of the sentences, so that a phrase is found where
the cosine is large. It is to this project what CLIP is to the papers, where no CLIP is available.

Legend: N images, M texts, F numbers of an image's features, h x w places, D numbers of a vector.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from networks.image_text_encoder import ImageTextEncoder, Places
from networks.photo_encoders import ImageTower, SentenceTower


@dataclass(frozen=True)
class PlaceMaps:
    """How maps are made of the vectors of places.

    Args:
        scales: sides of the squares, in pixels, to which an image is brought; their maps are added.
        norm_exponent: a place counts by this power of the length of its vector, which is large where an
            object is, whatever the phrase; 0 takes the cosine alone.
        mirrored: also look at the mirrored image. Phrases such as "left" are rare in captions, and twice the
            time is needed.
        mask_scale: steepness of soft masks.
        mask_cosine: the cosine at which a soft mask is one half.
    """

    scales: tuple[int, ...] = (320, 448, 576)
    norm_exponent: float = 0.35
    mirrored: bool = False
    mask_scale: float = 10.0
    mask_cosine: float = 0.22


class PlaceHead(nn.Module):
    """From the features of a tower to vectors of places.

    Each stride has an expansion to many channels and a projection; the coarse strides are brought to the grid
    of the finest that is used.

    Args:
        channels: of each stride, from fine to coarse.
        expanded: channels after the expansion, as EfficientNet's last convolution has it.
        dim: D.
        dropout: on the expanded channels.
    """

    def __init__(self, channels: Sequence[int], expanded: int, dim: int, dropout: float) -> None:
        super().__init__()
        self.expand = nn.ModuleList(nn.Linear(width, expanded) for width in channels)
        self.project = nn.ModuleList(nn.Linear(expanded, dim) for _ in channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """(N,C,h,w) of each stride -> (N,h,w,D)."""
        grid = features[0].shape[-2:]
        places = torch.zeros((), device=features[0].device)
        for feature, expand, project in zip(features, self.expand, self.project, strict=True):
            vectors = project(self.dropout(F.relu6(expand(feature.permute(0, 2, 3, 1)))))
            if feature.shape[-2:] != grid:
                channels_first = vectors.permute(0, 3, 1, 2)
                resized = F.interpolate(channels_first, size=grid, mode="bilinear", align_corners=False)
                vectors = resized.permute(0, 2, 3, 1)
            places = places + vectors
        return places


class DualEncoder(ImageTextEncoder):
    """Images, their places and texts as vectors of one space.

    Args:
        image_towers: look at images; their vectors are added.
        text_tower: reads texts.
        strides: which strides of the towers are used, from fine to coarse, e.g. ``(16, 32)``.
        expanded: channels after the expansion of each head.
        dropout: on the expanded channels.
        maps: how maps are made.

    Attributes:
        logit_scale: the logarithm of what cosines are multiplied by in contrastive losses.
        optional_weights: pieces of the names of what a file of weights may lack: the towers bring their own.
    """

    optional_weights: ClassVar[tuple[str, ...]] = ("image_towers.", "text_tower.")

    # What EfficientNet-Lite wants, pixels from -1 to 1.
    mean = (0.5, 0.5, 0.5)
    std = (0.5, 0.5, 0.5)
    image_towers: Any  # an nn.ModuleList of ImageTower
    image_heads: Any  # an nn.ModuleList of PlaceHead

    def __init__(
        self,
        image_towers: Sequence[ImageTower],
        text_tower: SentenceTower,
        strides: Sequence[int] = (32,),
        expanded: int = 1280,
        dropout: float = 0.1,
        maps: PlaceMaps = PlaceMaps(),
    ) -> None:
        super().__init__()
        self.dim = text_tower.dim
        self.maps = maps
        self.image_size = max(maps.scales)
        self.strides = tuple(strides)
        self.image_towers = nn.ModuleList(image_towers)
        self.text_tower = text_tower
        self.image_heads = nn.ModuleList(
            PlaceHead(self._channels(tower), expanded, self.dim, dropout) for tower in image_towers
        )
        self.text_projection = nn.Linear(self.dim, self.dim, bias=False)
        nn.init.eye_(self.text_projection.weight)
        self.logit_scale = nn.Parameter(torch.tensor(14.3).log())

    def _channels(self, tower: ImageTower) -> list[int]:
        by_stride = {shape.stride: shape.channels for shape in tower.shapes}
        missing = [stride for stride in self.strides if stride not in by_stride]
        if missing:
            raise ValueError(f"{tower.name} has the strides {sorted(by_stride)}, and not {missing}")
        return [by_stride[stride] for stride in self.strides]

    def head_state(self) -> dict[str, Tensor]:
        """The weights that are trained: everything but the towers."""
        towers = ("image_towers.", "text_tower.")
        return {name: value for name, value in self.state_dict().items() if not name.startswith(towers)}

    # Images.

    def features(self, images: Tensor) -> list[list[Tensor]]:
        """What the towers see: for each tower a (N,C,h,w) tensor for each stride that is used."""
        seen = []
        for tower in self.image_towers:
            by_stride = dict(zip((shape.stride for shape in tower.shapes), tower(images), strict=True))
            seen.append([by_stride[stride] for stride in self.strides])
        return seen

    def flatten(self, features: Sequence[Sequence[Tensor]]) -> Tensor:
        """Features as one row of float16 numbers for each image, to be stored: (N,F)."""
        return torch.cat([feature.half().flatten(1) for tower in features for feature in tower], dim=1)

    def unflatten(self, rows: Tensor, side: int) -> list[list[Tensor]]:
        """The features again, in float32.

        Args:
            rows: (N,F), from `flatten`.
            side: of the square images that they were computed from, in pixels.
        """
        features = []
        start = 0
        for tower in self.image_towers:
            of_tower = []
            for stride, channels in zip(self.strides, self._channels(tower), strict=True):
                grid = -(-side // stride)
                stop = start + channels * grid * grid
                of_tower.append(rows[:, start:stop].float().unflatten(1, (channels, grid, grid)))
                start = stop
            features.append(of_tower)
        return features

    def features_or_stored(self, images: Tensor, side: int) -> list[list[Tensor]]:
        """What the towers see in images, or saw in them before.

        Args:
            images: (N,3,H,W), or (N,F) from `flatten`.
            side: of the square images that the latter were computed from, in pixels.
        """
        return self.unflatten(images, side) if images.ndim == 2 else self.features(images)

    def feature_numbers(self, side: int) -> int:
        """F for square images of ``side`` pixels."""
        numbers = 0
        for tower in self.image_towers:
            for stride, channels in zip(self.strides, self._channels(tower), strict=True):
                numbers += channels * (-(-side // stride)) ** 2
        return numbers

    def places(self, features: Sequence[Sequence[Tensor]]) -> Tensor:
        """Vectors of places, not of length 1: (N,h,w,D), on the grid of the finest stride."""
        vectors = [head(of_tower) for head, of_tower in zip(self.image_heads, features, strict=True)]
        return torch.stack(vectors).sum(0)

    def encode_places(self, images: Tensor) -> Places:
        """See `networks.image_text_encoder.ImageTextEncoder`; the weights are the relative lengths."""
        return self.encode_features(self.features(images))

    def encode_features(self, features: Sequence[Sequence[Tensor]]) -> Places:
        """As `encode_places`, of what the towers saw."""
        vectors = self.places(features)
        lengths = vectors.norm(dim=-1)
        weights = lengths / lengths.mean((1, 2), keepdim=True).clamp(min=1e-6)
        return Places(vectors / lengths[..., None].clamp(min=1e-6), weights)

    def encode_images(self, images: Tensor) -> Tensor:
        """(N,D), the direction of the mean place."""
        return F.normalize(self.places(self.features(images)).mean((1, 2)), dim=-1)

    # Texts.

    def meaning(self, texts: Sequence[str]) -> Tensor:
        """(M,D), the text tower's own vectors, of length 1."""
        return self.text_tower([text.lower() for text in texts])

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """(M,D), of length 1."""
        return F.normalize(self.text_projection(self.meaning(texts)), dim=-1)

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """(M,T) long, token ids, filled up with zeros."""
        return self.text_tower.tokenize([text.lower() for text in texts])

    def encode_tokens(self, ids: Tensor) -> Tensor:
        """(M,T) token ids of `tokenize` -> (M,D), of length 1."""
        return F.normalize(self.text_projection(self.text_tower.encode_tokens(ids)), dim=-1)

    # Maps.

    def heatmaps(self, images: Tensor, texts: Sequence[str], image_of_text: Tensor) -> Tensor:
        """Where texts are; each image is encoded once for all of its texts.

        At every scale, the map is relu(cosine) times the relative length of the place's vector to the power
        ``maps.norm_exponent``.

        Args:
            images: (N,3,H,W).
            texts: M texts.
            image_of_text: (M,) long, into the images.

        Returns:
            (M,h,w) in [0,1], the largest value of each map 1, on the finest grid of all scales.
        """
        return self.heatmaps_of(self.encode_views(images), texts, image_of_text)

    def encode_views(
        self, images: Tensor, resize: Callable[[Tensor, int], Tensor] | None = None
    ) -> list[Places]:
        """The places of images at each scale, and of their mirror images where ``maps.mirrored``.

        Args:
            images: (N,3,H,W).
            resize: brings them to a scale; `at_scale` by default.
        """
        views = []
        for scale in self.maps.scales:
            resized = (resize or at_scale)(images, scale)
            views.append(self.encode_places(resized))
            if self.maps.mirrored:
                mirrored = self.encode_places(resized.flip(-1))
                views.append(Places(mirrored.vectors.flip(2), mirrored.weights.flip(2)))
        return views

    def heatmaps_of(self, views: Sequence[Places], texts: Sequence[str], image_of_text: Tensor) -> Tensor:
        """As `heatmaps`, of images that `encode_views` has encoded before."""
        return self.heatmaps_of_vectors(views, self.encode_texts(texts), image_of_text)

    def heatmaps_of_vectors(self, views: Sequence[Places], vectors: Tensor, image_of_text: Tensor) -> Tensor:
        """As `heatmaps_of`, of texts that `encode_texts` or `encode_tokens` has encoded before."""
        maps = [self._weighted_cosines(view, vectors, image_of_text) for view in views]
        grid = max((one.shape[-2:] for one in maps), key=lambda shape: shape[0] * shape[1])
        total = torch.zeros((), device=vectors.device)
        for one in maps:
            total = total + F.interpolate(one[:, None], size=grid, mode="bicubic", align_corners=False)[:, 0]
        total = total.clamp(min=0)
        return total / total.amax((1, 2), keepdim=True).clamp(min=1e-6)

    def _weighted_cosines(self, places: Places, vectors: Tensor, image_of_text: Tensor) -> Tensor:
        if len(places.vectors) == 1:
            cosines = torch.einsum("md,hwd->mhw", vectors, places.vectors[0])
            return cosines.relu() * places.weights[0] ** self.maps.norm_exponent
        # Image by image: the places of an image are not copied for each of its texts.
        maps = vectors.new_zeros(len(vectors), *places.weights.shape[1:])
        for image in image_of_text.unique().tolist():
            rows = (image_of_text == image).nonzero()[:, 0]
            cosines = torch.einsum("md,hwd->mhw", vectors[rows], places.vectors[image])
            maps[rows] = cosines.relu() * places.weights[image] ** self.maps.norm_exponent
        return maps

    def soft_masks(self, images: Tensor, vectors: Tensor) -> Tensor:
        """How likely each place shows what a text names.

        The mean cosine over the scales is turned into a probability by a sigmoid with fixed numbers, since
        contrast alone says nothing of where a text is absent.

        Args:
            images: (N,3,H,W).
            vectors: (M,D), of length 1, from `encode_texts`.

        Returns:
            (N,M,h,w) in [0,1], on the finest grid of all scales.
        """
        maps = []
        for scale in self.maps.scales:
            places = self.encode_places(at_scale(images, scale)).vectors
            maps.append(torch.einsum("md,nhwd->nmhw", vectors, places))
        grid = max((one.shape[-2:] for one in maps), key=lambda shape: shape[0] * shape[1])
        resized = [F.interpolate(one, size=grid, mode="bilinear", align_corners=False) for one in maps]
        cosines = torch.stack(resized).mean(0)
        return torch.sigmoid(self.maps.mask_scale * (cosines - self.maps.mask_cosine))

    @torch.no_grad()
    def relevance(self, images: Tensor, texts: Sequence[str]) -> Tensor:
        """The map of each image's text, see `heatmaps`."""
        return self.heatmaps(images, texts, torch.arange(len(texts), device=images.device))


def at_scale(images: Tensor, scale: int) -> Tensor:
    """(N,3,H,W) -> the same images with a shorter side of ``scale`` pixels, smoothed where they shrink.

    Example:
        >>> at_scale(torch.zeros(1, 3, 448, 448), 320).shape
        torch.Size([1, 3, 320, 320])
    """
    height, width = images.shape[-2:]
    factor = scale / min(height, width)
    if factor == 1:
        return images
    size = (round(height * factor), round(width * factor))
    return F.interpolate(images, size=size, mode="bicubic", align_corners=False, antialias=True)
