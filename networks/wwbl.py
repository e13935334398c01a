"""g, the network of "What is Where by Looking" (WWbL), which g++ shares: a map of a text in an image.

Names of parameters and order of operations are those of the public code. Image features pass a bottleneck,
are multiplied place by place with their cosine to the text's vector, and are decoded to a map.

Legend: N images, M texts, C and D channels of the trunk and of the bottleneck, h x w grid of the features,
S x S pixels of an image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from networks.image_trunks import ImageTrunk
from networks.layers.precision import full_precision


@dataclass(frozen=True)
class WWbLSize:
    """What g is made of; by default as published.

    Args:
        trunk: of the image features, see `networks.image_trunks.ImageTrunk`.
        stride: of the trunk. The papers say 16, the public code and its weights have 8.
        up_widths: channels of all up blocks but the last, which has 1. The papers say three blocks, which
            would be (512, 256); the public code has two.
    """

    trunk: str = "vgg16"
    stride: int = 8
    up_widths: tuple[int, ...] = (512,)


class ImageFeatures(NamedTuple):
    """What g knows of N images before it is told a text.

    Args:
        trunk: (N,C,h,w), the last layer of the trunk.
        signed: (N,D,h,w), the last normalisation of the bottleneck, before its ReLU.
        places: (N,D,h,w), the bottleneck's output: Z_I(I) of the papers.
    """

    trunk: Tensor
    signed: Tensor
    places: Tensor


class ConvolutionPair(nn.Module):
    """Two 3 x 3 convolutions with normalisation: the bottleneck and the up blocks of the public code.

    Args:
        inputs: channels before.
        outputs: channels behind.
        upsample: double the resolution first.
        last: end with the second convolution as it is. Its normalisation is in published files, unused.
    """

    def __init__(self, inputs: int, outputs: int, upsample: bool = False, last: bool = False) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.BN1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.BN2 = nn.BatchNorm2d(outputs)
        self.upsample = upsample
        self.last = last
        if last:  # parallel training refuses parameters that want a gradient and get none
            self.BN2.requires_grad_(False)

    def signed(self, x: Tensor) -> Tensor:
        """All but the last ReLU."""
        if self.upsample:
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        x = self.conv2(F.relu(self.BN1(self.conv1(x))))
        return x if self.last else self.BN2(x)

    def forward(self, x: Tensor) -> Tensor:
        """(N,inputs,h,w) -> (N,outputs,h,w), or twice as fine."""
        x = self.signed(x)
        return x if self.last else F.relu(x)


class Decoder(nn.Module):
    """From image features and texts to logits of maps.

    Args:
        channels: C.
        dim: D, also the length of a text's vector.
        up_widths: see `WWbLSize`.
    """

    def __init__(self, channels: int, dim: int, up_widths: tuple[int, ...] = (512,)) -> None:
        super().__init__()
        self.bottleneck = ConvolutionPair(channels, dim)
        widths = (dim, *up_widths, 1)
        self.blocks = len(widths) - 1
        for number in range(self.blocks):
            last = number == self.blocks - 1
            block = ConvolutionPair(widths[number], widths[number + 1], upsample=True, last=last)
            self.add_module(f"up{number}", block)

    def forward(self, places: Tensor, texts: Tensor) -> Tensor:
        """Logits of maps.

        Args:
            places: (M,D,h,w), from the bottleneck.
            texts: (M,D), of length 1.

        Returns:
            (M,1,H,W), twice as fine for each up block.
        """
        x = places * cosines(places, texts)
        for number in range(self.blocks):
            x = self.get_submodule(f"up{number}")(x)
        return x


def cosines(places: Tensor, texts: Tensor) -> Tensor:
    """(M,D,h,w) places and (M,D) texts of length 1 -> (M,1,h,w)."""
    return torch.einsum("mdhw,md->mhw", F.normalize(places, dim=1), texts)[:, None]


class WWbL(nn.Module):
    """g: an encoder ``E`` of images, and a decoder ``D``.

    Args:
        size: of the network.
        dim: length of a text's vector; 512 for the CLIP of the public code.

    Example:
        >>> network = WWbL(WWbLSize(), dim=512)
        >>> state = network.state_dict()
        >>> len(state), sum(tensor.numel() for tensor in state.values())
        (62, 17087321)
    """

    def __init__(self, size: WWbLSize = WWbLSize(), dim: int = 512) -> None:
        super().__init__()
        self.E = ImageTrunk(size.trunk, size.stride)
        self.D = Decoder(self.E.channels, dim, size.up_widths)

    def encode(self, images: Tensor) -> ImageFeatures:
        """What is computed once for all texts of (N,3,S,S) images."""
        trunk = self.E(images)
        signed = self.D.bottleneck.signed(trunk)
        return ImageFeatures(trunk, signed, F.relu(signed))

    def masks(self, places: Tensor, texts: Tensor, size: Sequence[int]) -> Tensor:
        """Maps of texts.

        Args:
            places: (M,D,h,w), of `encode`, one for each text.
            texts: (M,D), of length 1.
            size: height and width of the maps.

        Returns:
            (M,H,W) in [0,1].
        """
        logits = full_precision(self.D(places, texts))
        logits = F.interpolate(logits, tuple(size), mode="bilinear", align_corners=True)
        return logits.sigmoid().squeeze(1)

    def forward(self, images: Tensor, texts: Tensor) -> Tensor:
        """(M,3,S,S) images and (M,D) texts, one for each -> maps (M,S,S) in [0,1]."""
        return self.masks(self.encode(images).places, texts, images.shape[-2:])

    def adapt_state_dict(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The published files' names, which parallel training has put ``module.`` before, as ours."""
        return {name.removeprefix("module."): tensor for name, tensor in state.items()}
