"""The network of "Weakly Supervised Attention Learning for Textual Phrases Grounding": a ResNet at full
resolution, and MCB attention for a class.

Legend: N images, Q queries, K classes, C image features, h x w grid of the features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.resnet import BasicBlock  # type: ignore[import-untyped]

from networks.layers.compact_bilinear import CompactBilinear, PostNorm, signed_sqrt_l2

Pooling = Literal["mean", "normalised"]


@dataclass(frozen=True)
class ResNetSize:
    """A ResNet of basic blocks on grey images, by default the paper's ResNet-18 whose features have the
    resolution of the image.

    Args:
        width: channels of the first stage; each further stage has twice as many.
        blocks: of each stage. With (2, 2, 2, 2) at stride 1 a feature sees 39 pixels, a little more than one
            digit.
        strides: of each stage.
        stem_stride: of the 7 x 7 convolution before them.
        dilations: of the 3 x 3 convolutions of each stage; None is 1 throughout, as in the paper. A small
            network sees a whole digit by them at no cost.
    """

    width: int = 64
    blocks: tuple[int, ...] = (2, 2, 2, 2)
    strides: tuple[int, ...] = (1, 1, 1, 1)
    stem_stride: int = 1
    dilations: tuple[int, ...] | None = None

    @property
    def features(self) -> int:
        return self.width * 2 ** (len(self.blocks) - 1)

    @property
    def stride(self) -> int:
        """Pixels between two features."""
        return self.stem_stride * prod(self.strides)


class DenseResNet(nn.Module):
    """ResNet without pooling; torchvision's names of parameters. (N,3,H,W) -> (N,C,h,w): colour is averaged
    away.
    """

    def __init__(self, size: ResNetSize) -> None:
        super().__init__()
        dilations = size.dilations or (1,) * len(size.blocks)
        for name, given in (("strides", size.strides), ("dilations", dilations)):
            if len(given) != len(size.blocks):
                raise ValueError(
                    f"backbone.{name} has {len(given)} numbers for {len(size.blocks)} stages of backbone.blocks; make them as many."
                )
        self.conv1 = nn.Conv2d(1, size.width, 7, size.stem_stride, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(size.width)
        self.stages = len(size.blocks)
        channels = size.width
        for number, (blocks, stride, dilation) in enumerate(
            zip(size.blocks, size.strides, dilations, strict=True)
        ):
            planes = size.width * 2**number
            self.add_module(f"layer{number + 1}", _stage(channels, planes, blocks, stride, dilation))
            channels = planes
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(images.mean(1, keepdim=True))), inplace=True)
        for number in range(self.stages):
            x = self.get_submodule(f"layer{number + 1}")(x)
        return x


def _stage(channels: int, planes: int, blocks: int, stride: int, dilation: int) -> nn.Sequential:
    downsample = None
    if stride != 1 or channels != planes:
        downsample = nn.Sequential(nn.Conv2d(channels, planes, 1, stride, bias=False), nn.BatchNorm2d(planes))
    stage = nn.Sequential(
        BasicBlock(channels, planes, stride, downsample),
        *(BasicBlock(planes, planes) for _ in range(blocks - 1)),
    )
    for module in stage.modules():  # torchvision's block takes no dilation
        if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3):
            module.dilation = module.padding = (dilation, dilation)
    return stage


class DigitClassifier(nn.Module):
    """Backbone, global average pooling, linear classifier: (N,3,H,W) -> (N,K) logits. The stage from which
    the attention starts.
    """

    def __init__(self, backbone: ResNetSize, classes: int = 10) -> None:
        super().__init__()
        self.backbone = DenseResNet(backbone)
        self.classifier = nn.Linear(backbone.features, classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.backbone(images).mean((2, 3)))

    def activation_maps(self, images: Tensor) -> Tensor:
        """What each position adds to each class: (N,K,h,w), whose mean over positions is the logit without
        its bias.
        """
        return torch.einsum("nchw,kc->nkhw", self.backbone(images), self.classifier.weight)

    @staticmethod
    def adapt_state_dict(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return dict(state)


class MCBNetwork(nn.Module):
    """Attention for a class: MCB of every position's features with the class's text, two 1 x 1 convolutions,
    sigmoid; then a classifier of what is attended.

    Args:
        backbone: of the image features.
        classes: K; a text is one of them, and its layer reads it as a one-hot vector.
        text_width: 128 in the paper.
        sketch: d of the compact bilinear pooling.
        hidden: channels between the two convolutions; the paper does not say how many.
        post_norm: ``signed_sqrt_l2`` as in the original MCB, or ``none``. The paper names neither. Without it
            the pooling and the first convolution fold into one matrix a text, so that d costs next to
            nothing.
        seed: of the sketches.
    """

    def __init__(
        self,
        backbone: ResNetSize,
        classes: int = 10,
        text_width: int = 128,
        sketch: int = 1024,
        hidden: int = 512,
        post_norm: PostNorm = "signed_sqrt_l2",
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.classes, self.post_norm = classes, post_norm
        self.backbone = DenseResNet(backbone)
        self.text = nn.Linear(classes, text_width)
        self.bilinear = CompactBilinear(backbone.features, text_width, sketch, seed)
        self.attend1 = nn.Linear(sketch, hidden)
        self.attend2 = nn.Linear(hidden, 1)
        self.classifier = nn.Linear(backbone.features, classes)

    @staticmethod
    def adapt_state_dict(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Of a `DigitClassifier` or of this network; both use the same names."""
        return dict(state)

    def attention(self, features: Tensor, classes: Tensor, image_of_query: Tensor) -> Tensor:
        """Logits of the maps: (N,C,h,w) features, (Q,) classes, (Q,) indices into the images -> (Q,h,w)
        float32.
        """
        texts = self.text(torch.eye(self.classes, device=features.device))
        positions = features.flatten(2).transpose(1, 2)[image_of_query]
        # One matrix a class, not a query: there are never more than K texts.
        if self.post_norm == "none":
            with torch.autocast(features.device.type, enabled=False):
                kernel = self.bilinear.linear_map(texts) @ self.attend1.weight.float().t()
            hidden = positions @ kernel.to(positions.dtype)[classes] + self.attend1.bias
        else:
            sketched = positions @ self.bilinear.linear_map(texts).to(positions.dtype)[classes]
            hidden = self.attend1(signed_sqrt_l2(sketched.float()))
        return self.attend2(F.relu(hidden)).float().view(len(classes), *features.shape[2:])


def pool(features: Tensor, attention: Tensor, image_of_query: Tensor, pooling: Pooling) -> Tensor:
    """Attended features: (N,C,h,w), (Q,h,w) in [0,1], (Q,) -> (Q,C).

    ``mean`` is the sum over positions as a share of their number (the paper's product, then average pooling):
    a small map gives small features. ``normalised`` is the weighted mean, whatever the size of the map.
    """
    weights = attention.flatten(1)
    pooled = torch.einsum("qp,qcp->qc", weights.to(features.dtype), features.flatten(2)[image_of_query])
    total = weights.sum(1, keepdim=True).clamp(min=1e-6) if pooling == "normalised" else weights.shape[1]
    return pooled / total
