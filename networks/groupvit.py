"""GroupViT's image encoder (Xu et al. 2022, arXiv:2202.11094), frozen: patches fall into 64 groups, these
into 8.

The network is transformers' `GroupViTVisionModel`; weights come from the hub's files
(nvidia/groupvit-gcc-yfcc is the one trained on GCC3M, GCC12M and YFCC14M; gcc-redcaps is another) or from the
official ``.pth`` files. It wants ImageNet's statistics and bilinear resizing: the hub's preprocessor says
CLIP's and bicubic, with which it was not trained.

Legend: N images, M groups of the last stage, D width, (h, w) the patch grid.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

# Official name -> transformers' name, applied in this order to what stands below ``img_encoder.``.
RENAMES = (
    (r"^pos_embed$", "embeddings.position_embeddings"),
    (r"^patch_embed\.proj\.", "embeddings.patch_embeddings.projection."),
    (r"^patch_embed\.norm\.", "embeddings.layernorm."),
    (r"^norm\.", "layernorm."),
    (r"\bpre_assign_attn\.attn\.proj\.", "pre_assign_attn.attn.out_proj."),
    (r"^layers\.(\d+)\.", r"encoder.stages.\1."),
    (r"\bblocks\.(\d+)\.attn\.proj\.", r"layers.\1.self_attn.out_proj."),
    (r"\bblocks\.(\d+)\.attn\.", r"layers.\1.self_attn."),
    (r"\bblocks\.(\d+)\.norm([12])\.", r"layers.\1.layer_norm\2."),
    (r"\bblocks\.(\d+)\.", r"layers.\1."),
)


class ImageGroups(NamedTuple):
    """What the encoder sees in images: ``pooled`` (N,D), the mean of the ``groups`` (N,M,D); ``maps``
    (N,M,h,w), to which group each patch belongs, summing to 1 over the groups."""

    pooled: Tensor
    groups: Tensor
    maps: Tensor


def convert_official(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The image encoder's part of an official checkpoint under transformers' names."""
    converted = {}
    for key, value in state.items():
        if not key.startswith("img_encoder."):
            continue
        name = key.removeprefix("img_encoder.")
        for pattern, replacement in RENAMES:
            name = re.sub(pattern, replacement, name)
        if ".self_attn.qkv." in name:
            for part, third in zip("qkv", value.chunk(3), strict=True):
                converted[f"vision_model.{name.replace('.qkv.', f'.{part}_proj.')}"] = third
        else:
            converted[f"vision_model.{name}"] = value
    return converted


class GroupViTImageEncoder(nn.Module):
    """The frozen encoder. It has no gradients and stays in evaluation mode, whatever is asked of it: training
    mode would add noise to the groups.

    Args:
        image_size, patch_size: in pixels, of a square image.
        width, heads: D and attention heads; 384 and 6 in the published ones.
        depths: layers of the three stages. group_tokens: groups of the first two.

    Raises:
        ValueError: when the sizes do not divide.
    """

    def __init__(
        self,
        image_size: int = 224,
        patch_size: int = 16,
        width: int = 384,
        heads: int = 6,
        depths: tuple[int, int, int] = (6, 3, 3),
        group_tokens: tuple[int, int] = (64, 8),
    ) -> None:
        super().__init__()
        if image_size % patch_size or width % heads:
            raise ValueError(
                f"an image of {image_size} pixels must divide into patches of {patch_size}, and {width} numbers among {heads} heads"
            )
        from transformers.models.groupvit.modeling_groupvit import (
            GroupViTVisionConfig,
            GroupViTVisionModel,
        )  # here, since it takes a second to import

        self.image_size, self.width = image_size, width
        self.grid = (image_size // patch_size, image_size // patch_size)
        config = GroupViTVisionConfig(
            image_size=image_size,
            patch_size=patch_size,
            hidden_size=width,
            intermediate_size=4 * width,
            num_attention_heads=heads,
            num_hidden_layers=sum(depths),
            depths=list(depths),
            num_group_tokens=[*group_tokens, 0],
            num_output_groups=[*group_tokens, group_tokens[-1]],
        )
        self.model: Any = GroupViTVisionModel(config)
        self.model.requires_grad_(False)
        self.train(False)

    def train(self, mode: bool = True) -> GroupViTImageEncoder:
        """Stays in evaluation mode."""
        return super().train(False)

    def requires_grad_(self, requires_grad: bool = True) -> GroupViTImageEncoder:
        """Stays frozen."""
        return super().requires_grad_(False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> ImageGroups:
        """(N,3,image_size,image_size), normalised by ImageNet's statistics. Raises ValueError for another
        size.
        """
        if images.shape[-2:] != (self.image_size, self.image_size):
            raise ValueError(
                f"images are {tuple(images.shape[-2:])} pixels but this model takes {self.image_size} x {self.image_size}"
            )
        found = self.model(images, output_attentions=True)
        first, second = found.attentions
        maps = (second @ first).unflatten(-1, self.grid)
        return ImageGroups(found.pooler_output, found.last_hidden_state, maps)

    def adapt_state_dict(self, state: dict[str, Any]) -> dict[str, Tensor]:
        """The official file's layout or that of the hub's whole model -> the keys of this module.

        Raises:
            ValueError: no weights of GroupViT's image encoder.
        """
        state = state.get("model", state)
        found = convert_official(state) or {
            key: value for key, value in state.items() if key.startswith("vision_model.")
        }
        if not found:
            raise ValueError(
                "no weights of GroupViT's image encoder: no key begins with img_encoder. or vision_model."
            )
        return {f"model.{key}": value for key, value in found.items()}
