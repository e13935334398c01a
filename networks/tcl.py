"""TCL: a decoder on CLIP's patches that was trained to cut out what a text names.

Cha, Mun and Roh 2023, "Learning to Generate Text-grounded Mask for Open-world Semantic Segmentation from Only
Image-Text Pairs", arXiv:2212.00785. Parameters have the official names, so ``tcl.pth`` loads strictly.

Legend: N images, L tokens (the class token first), h x w patches, C the transformer's width, D numbers of a
vector in the space of the texts, M texts.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from networks.clip_dense import as_map, check_vision_transformer, run_last_block, tokens_before_last_block
from networks.dense_encoder import DenseEncoder, Refine, cosines
from networks.layers.precision import full_precision

NOT_NEEDED = re.compile(r".+_loss\..+")  # temperatures of TCL's own training
FROM_CLIP = re.compile(r"clip_.+_encoder\..+")  # an official file may leave these out


class GatedConvolution(nn.Module):
    """x + tanh(gate) convolution(GELU(norm(x))); the gate starts closed.

    Args:
        width: channels.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-5)
        self.conv = nn.Conv2d(width, width, kernel_size=3, padding=1)
        self.gate = Gate()

    def forward(self, x: Tensor) -> Tensor:
        """(N,C,h,w) -> (N,C,h,w)."""
        normed = self.norm(x.movedim(1, -1)).movedim(-1, 1)
        return x + self.gate(self.conv(F.gelu(normed)))


class Gate(nn.Module):
    """Multiplies by the hyperbolic tangent of a learnt number, which is 0 at first."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return self.gate.tanh() * x


class UpsamplingBlock(nn.Module):
    """Twice the side (nearest neighbours), then two gated convolutions.

    Args:
        width: channels.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = GatedConvolution(width)
        self.conv2 = GatedConvolution(width)

    def forward(self, x: Tensor) -> Tensor:
        """(N,C,h,w) -> (N,C,2h,2w)."""
        return self.conv2(self.conv(F.interpolate(x, scale_factor=2, mode="nearest")))


class GatedDecoder(nn.Module):
    """TCL's decoder, from a stride of 16 pixels to one of 4.

    Args:
        width: channels.
        blocks: number of `UpsamplingBlock`.
    """

    def __init__(self, width: int, blocks: int = 2) -> None:
        super().__init__()
        self.net = nn.Sequential(*(UpsamplingBlock(width) for _ in range(blocks)))

    def forward(self, x: Tensor) -> Tensor:
        """(N,C,h,w) -> (N,C,4h,4w)."""
        return self.net(x)


class Projection(nn.Module):
    """CLIP's norm and projection into the space of the texts.

    Args:
        ln: the norm, over C.
        proj: (C,D).
    """

    def __init__(self, ln: nn.Module, proj: Tensor) -> None:
        super().__init__()
        self.ln = ln
        self.proj = nn.Parameter(proj)

    def forward(self, tokens: Tensor) -> Tensor:
        """(...,C) -> (...,D)."""
        return self.ln(tokens) @ self.proj


class Sim2Mask(nn.Module):
    """sigmoid(w cosine + b), both learnt; at first 10 and -2.5."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(10.0))
        self.b = nn.Parameter(torch.tensor(-2.5))

    def forward(self, similarity: Tensor) -> Tensor:
        """Cosines of any shape -> shares in [0,1]."""
        return torch.sigmoid(self.w * similarity + self.b)


class Decoder(nn.Module):
    """`GatedDecoder` and a projection of its own.

    Args:
        width: channels.
        projection: to start from.
    """

    def __init__(self, width: int, projection: Projection) -> None:
        super().__init__()
        self.decoder = GatedDecoder(width)
        self.image_proj = projection

    def forward(self, x: Tensor) -> Tensor:
        """(N,C,h,w) -> (N,D,4h,4w)."""
        return self.image_proj(self.decoder(x).movedim(1, -1)).movedim(-1, 1)


class Masker(nn.Module):
    """TCL's trained part: a copy of CLIP's last block, the decoder, and the step from cosine to mask.

    Args:
        block: the last block of CLIP's vision transformer.
        number: of this block, which its parameters' names hold.
        projection: CLIP's.
    """

    def __init__(self, block: nn.Module, number: int, projection: Projection) -> None:
        super().__init__()
        width = projection.proj.shape[0]
        self.image_encoder = nn.Module()
        self.image_encoder.backbone = nn.Module()
        self.image_encoder.backbone.transformer = nn.Module()
        self.image_encoder.backbone.transformer.resblocks = nn.ModuleDict({str(number): copy.deepcopy(block)})
        self.image_encoder.decoder = Decoder(width, copy.deepcopy(projection))
        self.sim2mask = Sim2Mask()

    def forward(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """(N,1+hw,C) tokens before CLIP's last block -> (N,D,4h,4w)."""
        encoder: Any = self.image_encoder
        (block,) = encoder.backbone.transformer.resblocks.values()
        return encoder.decoder(as_map(run_last_block(block, tokens), grid))


class VisionTower(nn.Module):
    """The parts of CLIP's vision transformer under TCL's names: all but its norm and projection.

    Args:
        visual: open_clip's ``VisionTransformer``, whose parts are used.
    """

    def __init__(self, visual: Any) -> None:
        super().__init__()
        self.class_embedding = visual.class_embedding
        self.positional_embedding = visual.positional_embedding
        self.conv1 = visual.conv1
        self.ln_pre = visual.ln_pre
        self.transformer = visual.transformer


class ClipImageEncoder(nn.Module):
    """CLIP's image side under TCL's names.

    Args:
        visual: open_clip's ``VisionTransformer``, whose parts are used.
    """

    def __init__(self, visual: Any) -> None:
        super().__init__()
        self.clip_visual = VisionTower(visual)
        self.clip_proj = Projection(visual.ln_post, visual.proj)


class ClipTextEncoder(nn.Module):
    """CLIP's text side under TCL's names.

    Args:
        clip: a model of open_clip, whose parts are used.
    """

    causal_mask: Tensor

    def __init__(self, clip: Any) -> None:
        super().__init__()
        self.token_embedding = clip.token_embedding
        self.positional_embedding = clip.positional_embedding
        self.transformer = clip.transformer
        self.ln_final = clip.ln_final
        self.text_projection = clip.text_projection
        self.register_buffer("causal_mask", clip.attn_mask, persistent=False)

    def forward(self, ids: Tensor) -> Tensor:
        """(M,T) long -> (M,D), read at the end of each text, which has the highest id."""
        tokens = self.token_embedding(ids) + self.positional_embedding
        tokens = self.ln_final(self.transformer(tokens, attn_mask=self.causal_mask))
        return tokens[torch.arange(len(ids)), ids.argmax(dim=1)] @ self.text_projection


class TCL(DenseEncoder):
    """TCL on a CLIP of open_clip.

    Args:
        clip: the model, OpenAI's ViT-B/16 in the paper; its parts become parts of this.
        tokenize: texts -> (M,T) long.
        kept_share: share of the undecoded mask in the result, which keeps CLIP's own knowledge; 0.3 in TCL's
            evaluation. It comes to the decoder's mask after that one is refined.

    Raises:
        ValueError: the model has no vision transformer of CLIP's form.
    """

    def __init__(
        self, clip: nn.Module, tokenize: Callable[[list[str]], Tensor], kept_share: float = 0.3
    ) -> None:
        super().__init__()
        check_vision_transformer(clip)
        self.tokenize = tokenize
        self.kept_share = kept_share
        self.templates = "tcl"
        self.normalise_each = False
        self.clip_image_encoder = ClipImageEncoder(clip.visual)
        self.clip_text_encoder = ClipTextEncoder(clip)
        blocks: Any = self.clip_image_encoder.clip_visual.transformer.resblocks
        self.masker = Masker(blocks[-1], len(blocks) - 1, self.clip_image_encoder.clip_proj)
        self.dim = self.clip_image_encoder.clip_proj.proj.shape[1]
        self.stride = self.clip_image_encoder.clip_visual.conv1.stride[0]

    def encode_pixels(self, images: Tensor) -> Tensor:
        """(N,3,H,W) -> (N,D,H/4,W/4) for patches of 16 pixels, of length 1."""
        tokens, grid = tokens_before_last_block(self.clip_image_encoder.clip_visual, images)
        return F.normalize(full_precision(self.masker(tokens, grid)), dim=1, eps=1e-6)

    def encode_prompts(self, prompts: list[str]) -> Tensor:
        """Texts as they are -> (M,D)."""
        device = self.clip_text_encoder.positional_embedding.device
        return self.clip_text_encoder(self.tokenize(prompts).to(device))

    def encode_tokens(self, ids: Tensor) -> Tensor:
        """(M,T) token ids of ``tokenize`` -> (M,D), of length 1."""
        return F.normalize(full_precision(self.clip_text_encoder(ids)), dim=-1)

    def soft_mask(self, similarity: Tensor) -> Tensor:
        """sigmoid(w cosine + b)."""
        return self.masker.sim2mask(similarity)

    def padded_masks(self, images: Tensor, texts: Tensor, refine: Refine | None) -> Tensor:
        """The decoder's masks, refined, and mixed with those of CLIP's own patches."""
        tokens, grid = tokens_before_last_block(self.clip_image_encoder.clip_visual, images)
        pixels = F.normalize(full_precision(self.masker(tokens, grid)), dim=1, eps=1e-6)
        masks = self.soft_mask(cosines(pixels, texts))
        if refine is not None:
            masks = refine(images, masks)
        if self.kept_share == 0:
            return masks
        block = self.clip_image_encoder.clip_visual.transformer.resblocks[-1]
        patches = as_map(self.clip_image_encoder.clip_proj(run_last_block(block, tokens)), grid)
        return mix_kept(masks, cosines(F.normalize(full_precision(patches), dim=1), texts), self.kept_share)

    def adapt_state_dict(self, content: Mapping[str, Any]) -> dict[str, Tensor]:
        """What an official file holds, as ``load_state_dict(strict=True)`` takes it.

        Weights of CLIP that the file leaves out keep their values.

        Args:
            content: of ``tcl.pth``, or its ``model``.

        Raises:
            ValueError: it holds no weights of TCL.
        """
        state = content.get("model", content)
        state = {name: tensor for name, tensor in state.items() if not NOT_NEEDED.fullmatch(name)}
        if not any(name.startswith("masker.") for name in state):
            raise ValueError("the file holds no weights of TCL (no name begins with `masker.`).")
        kept = {name: tensor for name, tensor in self.state_dict().items() if FROM_CLIP.fullmatch(name)}
        return kept | state


def mix_kept(masks: Tensor, similarity: Tensor, share: float) -> Tensor:
    """Mixes masks with those of CLIP's own patches, sigmoid(10 (cosine - 1/4)).

    Args:
        masks: (N,M,h,w), the decoder's.
        similarity: (N,M,h',w') cosines of the patches.
        share: of the latter.

    Returns:
        (N,M,h,w).
    """
    kept = torch.sigmoid(10 * (similarity - 0.25))
    kept = F.interpolate(kept, masks.shape[-2:], mode="bilinear", align_corners=False)
    return share * kept + (1 - share) * masks
