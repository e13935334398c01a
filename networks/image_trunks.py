"""First layers of networks for images, as parts of other networks: features at a stride of one's choice.

Legend: N images, C channels, h x w grid of the features.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn
from torchvision.models import segmentation, vgg  # type: ignore[import-untyped]

from networks.layers.timm_import import import_timm

VGG16_LAYERS = {8: 23, 16: 30}  # stride -> number of torchvision's layers; the last is a ReLU
# What stands before the names of layers in files that hold whole networks.
PREFIXES = ("", "module.", "features.", "backbone.", "model.", "E.Org_model.", "module.E.Org_model.")


class ImageTrunk(nn.Module):
    """The first layers of a well-known network. It is called ``Org_model`` here as in the public code of g.

    Args:
        name: ``vgg16`` (to relu4_3 at stride 8, to relu5_3 at stride 16); ``fcn_resnet50`` (torchvision's
            network for segmentation, stride 8); or any network of timm that gives features at the stride.
        stride: pixels between two features.

    Attributes:
        channels: C.
        optional_weights: pieces of the names of what a file of weights may lack.

    Raises:
        ValueError: no such network, or none of that stride.

    Example:
        >>> import torch
        >>> trunk = ImageTrunk("vgg16", stride=8)
        >>> trunk.channels, tuple(trunk(torch.zeros(1, 3, 32, 48)).shape)
        (512, (1, 512, 4, 6))
    """

    optional_weights: ClassVar[tuple[str, ...]] = ("num_batches_tracked",)

    def __init__(self, name: str = "vgg16", stride: int = 8) -> None:
        super().__init__()
        self.stride = stride
        if name == "vgg16":
            self.Org_model, self.channels = _vgg16(stride)
        elif name == "fcn_resnet50":
            self.Org_model, self.channels = _fcn_resnet50(stride)
        else:
            self.Org_model, self.channels = _timm_network(name, stride)

    def forward(self, images: Tensor) -> Tensor:
        """(N,3,H,W) -> (N,C,h,w)."""
        features = self.Org_model(images)
        if isinstance(features, Mapping):  # torchvision's backbones of segmentation networks
            return features["out"]
        if isinstance(features, list):  # timm's networks of features
            return features[-1]
        return features

    def adapt_state_dict(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors of a whole network that belong to its first layers, under this trunk's names.

        Args:
            state: of the network as torchvision or timm publish it, or of a whole g.
        """
        own = self.state_dict()
        adapted = {}
        for name, tensor in state.items():
            for prefix in PREFIXES:
                layer = name.removeprefix(prefix)
                for candidate in (f"Org_model.{layer}", f"Org_model.model.{layer}"):
                    if name.startswith(prefix) and candidate in own:
                        adapted[candidate] = tensor
        return adapted


def _vgg16(stride: int) -> tuple[nn.Module, int]:
    if stride not in VGG16_LAYERS:
        raise ValueError(f"vgg16 is cut at a stride of 8 or 16, not {stride}.")
    layers = vgg.make_layers(vgg.cfgs["D"], batch_norm=False)[: VGG16_LAYERS[stride]]
    for layer in layers:
        if isinstance(layer, nn.Conv2d):  # torchvision's start
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            layer.bias.data.zero_()  # type: ignore[union-attr]
    return layers, 512


def _fcn_resnet50(stride: int) -> tuple[nn.Module, int]:
    if stride != 8:
        raise ValueError(f"fcn_resnet50 has a stride of 8, not {stride}.")
    network = segmentation.fcn_resnet50(weights=None, weights_backbone=None)
    return network.backbone, 2048


def _timm_network(name: str, stride: int) -> tuple[nn.Module, int]:
    timm = import_timm()
    if not timm.is_model(name):
        raise ValueError(f"neither torchvision's vgg16 and fcn_resnet50 nor timm has a network {name!r}.")
    options: dict[str, Any] = {"features_only": True, "feature_cls": "getter"}
    whole: Any = timm.create_model(name, **options)
    strides = whole.feature_info.reduction()
    if stride not in strides:
        raise ValueError(f"{name} has features at the strides {sorted(set(strides))}, not {stride}.")
    level = len(strides) - 1 - strides[::-1].index(stride)  # the last of that stride
    network: Any = timm.create_model(name, **options, out_indices=(level,))
    return network, network.feature_info.channels()[-1]
