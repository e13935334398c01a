"""A ResNet at full resolution, and MCB attention for a class.

The network of "Weakly Supervised Attention Learning for Textual Phrases Grounding" (called the paper here).

Legend: N images, Q queries, K classes, C image features, h x w grid of the features.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.resnet import BasicBlock  # type: ignore[import-untyped]

from networks.layers.compact_bilinear import CompactBilinear, PostNorm, signed_sqrt_l2

Pooling = Literal["mean", "normalised"]


@dataclass(frozen=True)
class ResNetSize:
    """A ResNet of basic blocks on grey images.

    By default it is the paper's ResNet-18, whose features have the resolution of the image.

    Args:
        width: channels of the first stage; each further stage has twice as many.
        blocks: of each stage. With (2, 2, 2, 2) at stride 1 a feature sees 39 pixels, a little more than one
            digit.
        strides: of each stage.
        stem_stride: of the 7 x 7 convolution before them.
        dilations: of the 3 x 3 convolutions of each stage; None is 1 throughout, as in the paper. A small
            network sees a whole digit by them at no cost.

    Example:
        >>> size = ResNetSize(width=16, blocks=(1, 1, 1), strides=(1, 2, 2), stem_stride=2)
        >>> size.features, size.stride
        (64, 8)
    """

    width: int = 64
    blocks: tuple[int, ...] = (2, 2, 2, 2)
    strides: tuple[int, ...] = (1, 1, 1, 1)
    stem_stride: int = 1
    dilations: tuple[int, ...] | None = None

    @property
    def features(self) -> int:
        """C, the channels of the last stage."""
        return self.width * 2 ** (len(self.blocks) - 1)

    @property
    def stride(self) -> int:
        """Pixels between two features."""
        return self.stem_stride * prod(self.strides)

    @property
    def stages(self) -> list[tuple[int, int, int]]:
        """(blocks, stride, dilation) of each stage.

        Raises:
            ValueError: the numbers of blocks, strides and dilations differ.
        """
        dilations = self.dilations or (1,) * len(self.blocks)
        for name, values in (("strides", self.strides), ("dilations", dilations)):
            if len(values) != len(self.blocks):
                raise ValueError(
                    f"backbone.{name} has {len(values)} numbers for {len(self.blocks)} stages of "
                    "backbone.blocks; make them as many."
                )
        return list(zip(self.blocks, self.strides, dilations, strict=True))


@dataclass(frozen=True)
class AttentionOptions:
    """The layers between a backbone and its maps; by default the paper's.

    Args:
        text_width: outputs of the text's layer.
        sketch: d of the compact bilinear pooling.
        hidden: channels between the two 1 x 1 convolutions; the paper does not say how many.
        post_norm: ``signed_sqrt_l2`` as in the original MCB, or ``none``. The paper names neither. Without it
            the pooling and the first convolution fold into one matrix a text, so that d costs next to
            nothing.
        pooling: how features are pooled under a map, see `pool`.
    """

    text_width: int = 128
    sketch: int = 1024
    hidden: int = 512
    post_norm: PostNorm = "signed_sqrt_l2"
    pooling: Pooling = "mean"


class DenseResNet(nn.Module):
    """ResNet without pooling, with torchvision's names of parameters.

    Args:
        size: of its stages.
    """

    def __init__(self, size: ResNetSize) -> None:
        super().__init__()
        stages = size.stages
        self.conv1 = nn.Conv2d(1, size.width, 7, size.stem_stride, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(size.width)
        self.stages = len(stages)
        channels = size.width
        for number, (blocks, stride, dilation) in enumerate(stages):
            planes = size.width * 2**number
            self.add_module(f"layer{number + 1}", _stage(channels, planes, blocks, stride, dilation))
            channels = planes
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """(N,3,H,W) -> features (N,C,h,w); colour is averaged away."""
        x = F.relu(self.bn1(self.conv1(images.mean(1, keepdim=True))), inplace=True)
        for number in range(self.stages):
            x = self.get_submodule(f"layer{number + 1}")(x)
        return x


def _stage(channels: int, planes: int, blocks: int, stride: int, dilation: int) -> nn.Sequential:
    downsample = None
    if stride != 1 or channels != planes:
        downsample = nn.Sequential(nn.Conv2d(channels, planes, 1, stride, bias=False), nn.BatchNorm2d(planes))
    first = BasicBlock(channels, planes, stride, downsample)
    stage = nn.Sequential(first, *(BasicBlock(planes, planes) for _ in range(blocks - 1)))
    for module in stage.modules():  # torchvision's block takes no dilation
        if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3):
            module.dilation = (dilation, dilation)
            module.padding = (dilation, dilation)
    return stage


class DigitClassifier(nn.Module):
    """Backbone, global average pooling, linear classifier: the stage from which the attention starts.

    Args:
        backbone: of the image features.
        classes: K.
    """

    def __init__(self, backbone: ResNetSize, classes: int = 10) -> None:
        super().__init__()
        self.backbone = DenseResNet(backbone)
        self.classifier = nn.Linear(backbone.features, classes)

    def forward(self, images: Tensor) -> Tensor:
        """(N,3,H,W) -> logits (N,K)."""
        return self.classifier(self.backbone(images).mean((2, 3)))

    def activation_maps(self, images: Tensor) -> Tensor:
        """What each position adds to each class.

        Args:
            images: (N,3,H,W).

        Returns:
            (N,K,h,w), whose mean over positions is the logit without its bias.
        """
        return torch.einsum("nchw,kc->nkhw", self.backbone(images), self.classifier.weight)


class MCBNetwork(nn.Module):
    """Attention for a class, and a classifier of what is attended.

    MCB of every position's features with the class's text, two 1 x 1 convolutions, sigmoid. Its backbone and
    its classifier have the names of those of a `DigitClassifier`, with whose weights it can start.

    Args:
        backbone: of the image features.
        attention: the layers of the attention.
        classes: K; a text is one of them, and its layer reads it as a one-hot vector.
        seed: of the sketches.

    Attributes:
        optional_weights: pieces of the names of what a file of weights may lack: a `DigitClassifier` has no
            attention.
    """

    optional_weights: ClassVar[tuple[str, ...]] = ("text.", "bilinear.", "attend1.", "attend2.")

    def __init__(
        self,
        backbone: ResNetSize,
        attention: AttentionOptions = AttentionOptions(),
        classes: int = 10,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.classes = classes
        self.options = attention
        self.backbone = DenseResNet(backbone)
        self.text = nn.Linear(classes, attention.text_width)
        self.bilinear = CompactBilinear(backbone.features, attention.text_width, attention.sketch, seed)
        self.attend1 = nn.Linear(attention.sketch, attention.hidden)
        self.attend2 = nn.Linear(attention.hidden, 1)
        self.classifier = nn.Linear(backbone.features, classes)

    def attention_logits(self, features: Tensor, classes: Tensor, image_of_query: Tensor) -> Tensor:
        """Logits of the maps.

        Args:
            features: (N,C,h,w), from the backbone.
            classes: (Q,) long.
            image_of_query: (Q,) long, indices into the images.

        Returns:
            (Q,h,w) float32.
        """
        texts = self.text(torch.eye(self.classes, device=features.device))
        positions = features.flatten(2).transpose(1, 2)[image_of_query]
        # One matrix a class, not a query: there are never more than K texts.
        if self.options.post_norm == "none":
            with torch.autocast(features.device.type, enabled=False):
                kernel = self.bilinear.linear_map(texts) @ self.attend1.weight.float().t()
            hidden = positions @ kernel.to(positions.dtype)[classes] + self.attend1.bias
        else:
            sketched = positions @ self.bilinear.linear_map(texts).to(positions.dtype)[classes]
            hidden = self.attend1(signed_sqrt_l2(sketched.float()))
        return self.attend2(F.relu(hidden)).float().view(len(classes), *features.shape[2:])

    def pool(self, features: Tensor, maps: Tensor, image_of_query: Tensor) -> Tensor:
        """Features under maps, pooled as the options say; shapes as in `pool`."""
        return pool(features, maps, image_of_query, self.options.pooling)


def pool(features: Tensor, maps: Tensor, image_of_query: Tensor, pooling: Pooling) -> Tensor:
    """Features under maps.

    Args:
        features: (N,C,h,w).
        maps: (Q,h,w) in [0,1].
        image_of_query: (Q,) long, indices into the images.
        pooling: ``mean`` is the sum over positions as a share of their number (the paper's product, then
            average pooling): a small map gives small features. ``normalised`` is the weighted mean, whatever
            the size of the map.

    Returns:
        (Q,C).

    Example:
        >>> features = torch.tensor([[[[1.0, 3.0]]]])
        >>> maps = torch.tensor([[[0.0, 1.0]]])
        >>> first = torch.tensor([0])
        >>> pool(features, maps, first, "mean").item(), pool(features, maps, first, "normalised").item()
        (1.5, 3.0)
    """
    weights = maps.flatten(1)
    pooled = torch.einsum("qp,qcp->qc", weights.to(features.dtype), features.flatten(2)[image_of_query])
    if pooling == "normalised":
        return pooled / weights.sum(1, keepdim=True).clamp(min=1e-6)
    return pooled / weights.shape[1]
