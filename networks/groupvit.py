"""GroupViT's frozen image encoder (Xu et al. 2022, arXiv:2202.11094): patches to 64 groups, these to 8.

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
    """Encoded images.

    Args:
        pooled: (N,D), the mean of the groups.
        groups: (N,M,D).
        maps: (N,M,h,w), to which group each patch belongs, summing to 1 over the groups.
    """

    pooled: Tensor
    groups: Tensor
    maps: Tensor


def convert_official(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The image encoder's part of an official checkpoint under transformers' names.

    Args:
        state: the tensors of the whole model by their official names.

    Returns:
        Tensors of ``vision_model.``; none if the file is not an official one.

    Example:
        >>> list(convert_official({"img_encoder.patch_embed.norm.bias": torch.zeros(2)}))
        ['vision_model.embeddings.layernorm.bias']
    """
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
    """The frozen encoder.

    It has no gradients and starts in evaluation mode: training mode would add noise to the groups.

    Args:
        image_size: side of a square image in pixels.
        patch_size: side of a patch in pixels.
        width: D, 384 in the published ones.
        heads: of the attention, 6 in the published ones.
        depths: layers of the three stages.
        group_tokens: groups of the first two stages.

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
                f"an image of {image_size} pixels must divide into patches of {patch_size}, and {width} "
                f"numbers among {heads} heads"
            )
        # Imported here, since it takes a second.
        from transformers.models.groupvit.modeling_groupvit import GroupViTVisionConfig, GroupViTVisionModel

        self.image_size = image_size
        self.width = width
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
        self.requires_grad_(False).eval()

    @torch.no_grad()
    def forward(self, images: Tensor) -> ImageGroups:
        """Encodes images (N,3,image_size,image_size), normalised by ImageNet's statistics.

        Raises:
            ValueError: images of another size.
        """
        if images.shape[-2:] != (self.image_size, self.image_size):
            raise ValueError(
                f"images are {tuple(images.shape[-2:])} pixels but this model takes {self.image_size} x "
                f"{self.image_size}"
            )
        outputs = self.model(images, output_attentions=True)
        first, second = outputs.attentions
        maps = (second @ first).unflatten(-1, self.grid)
        return ImageGroups(outputs.pooler_output, outputs.last_hidden_state, maps)

    def adapt_state_dict(self, state: dict[str, Any]) -> dict[str, Tensor]:
        """The official file's layout or that of the hub's whole model -> the keys of this module.

        Raises:
            ValueError: no weights of GroupViT's image encoder.
        """
        state = state.get("model", state)
        vision = convert_official(state)
        if not vision:
            vision = {key: value for key, value in state.items() if key.startswith("vision_model.")}
        if not vision:
            raise ValueError(
                "no weights of GroupViT's image encoder: no key begins with img_encoder. or vision_model."
            )
        return {f"model.{key}": value for key, value in vision.items()}
