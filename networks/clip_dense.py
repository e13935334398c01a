"""MaskCLIP: a vector for every patch from a CLIP that was trained with one for the whole image.

Zhou et al. 2022, "Extract Free Dense Labels from CLIP", arXiv:2112.01071. The last block of the vision
transformer attends to itself only, so that queries and keys are not used: each token goes through the values'
projection, and keeps residual and MLP.

Legend: N images, L tokens (the class token first), h x w patches, C the transformer's width, D numbers of a
vector in the space of the texts, M texts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from networks.dense_encoder import DenseEncoder, Refine, cosines, pad_to_multiple
from networks.layers.precision import full_precision
from networks.layers.split_attention import project_keys, project_values
from networks.layers.vit import resize_position_embedding

# What OpenAI's files hold beside the weights.
NO_WEIGHTS = ("input_resolution", "context_length", "vocab_size")

LastBlock = Literal["values", "values_alone", "diagonal", "vanilla"]


@dataclass(frozen=True)
class DenseOptions:
    """How patches get their vectors, and cosines become masks.

    Args:
        last_block: ``values`` as MaskCLIP's code: values' projection, residual and MLP; ``values_alone``
            without the two, as many re-implementations; ``diagonal``, the whole block under a mask that hides
            all other tokens, as TCL's code (the same numbers as ``values``); ``vanilla``, the block as it was
            trained.
        scale: of the cosine in the mask sigmoid(scale (cosine - shift)).
        shift: likewise; the cosine of one half.
        key_smoothing: patches whose likeliest class is less probable than this get the average over all
            patches, weighted by the similarity of their keys; masks are then the classes' probabilities.
            0 for none.
        key_norm: keys are normalised over their ``channels``, or over the ``tokens``, as MaskCLIP's code
            happens to do.
        prompt_denoising: classes that are nowhere as probable as this are left out of an image. 0 for none.
        whole_image: what stands for a whole image: the ``class_token``, as CLIP was trained, or the ``mean``
            over the patches.
    """

    last_block: LastBlock = "values"
    scale: float = 10.0
    shift: float = 0.25
    key_smoothing: float = 0.0
    key_norm: Literal["tokens", "channels"] = "tokens"
    prompt_denoising: float = 0.0
    whole_image: Literal["class_token", "mean"] = "class_token"


class DenseCLIP(DenseEncoder):
    """MaskCLIP on a model of open_clip with a vision transformer.

    Args:
        clip: the model, e.g. of ``open_clip.create_model("ViT-B-16-quickgelu")``.
        tokenize: texts -> (M,T) long, e.g. ``open_clip.get_tokenizer("ViT-B-16-quickgelu")``.
        options: see there.

    Raises:
        ValueError: the model has no vision transformer of CLIP's form.
    """

    clip: Any

    def __init__(
        self, clip: nn.Module, tokenize: Callable[[list[str]], Tensor], options: DenseOptions | None = None
    ) -> None:
        super().__init__()
        check_vision_transformer(clip)
        self.clip = clip
        self.tokenize = tokenize
        self.options = options or DenseOptions()
        self.templates = "maskclip"
        visual: Any = clip.visual
        self.dim = visual.proj.shape[1]
        self.stride = visual.conv1.stride[0]

    def encode_pixels(self, images: Tensor) -> Tensor:
        """(N,3,H,W) -> (N,D,H/stride,W/stride), of length 1."""
        tokens, grid = tokens_before_last_block(self.clip.visual, images)
        return self._vectors(tokens, grid)

    def encode_images(self, images: Tensor) -> Tensor:
        """(N,3,H,W) of any size -> (N,D) of length 1, see `DenseOptions.whole_image`."""
        if self.options.whole_image == "mean":
            return super().encode_images(images)
        visual = self.clip.visual
        tokens, _ = tokens_before_last_block(visual, pad_to_multiple(images, self.stride).images)
        class_tokens = run_last_block(visual.transformer.resblocks[-1], tokens, "vanilla")[:, 0]
        return F.normalize(full_precision(visual.ln_post(class_tokens) @ visual.proj), dim=-1)

    def encode_prompts(self, prompts: list[str]) -> Tensor:
        """Texts as they are -> (M,D)."""
        device = self.clip.visual.conv1.weight.device
        return self.clip.encode_text(self.tokenize(prompts).to(device))

    def encode_tokens(self, ids: Tensor) -> Tensor:
        """(M,T) token ids of ``tokenize`` -> (M,D), of length 1."""
        return F.normalize(full_precision(self.clip.encode_text(ids)), dim=-1)

    def soft_mask(self, similarity: Tensor) -> Tensor:
        """sigmoid(scale (cosine - shift))."""
        return torch.sigmoid(self.options.scale * (similarity - self.options.shift))

    def padded_masks(self, images: Tensor, texts: Tensor, refine: Refine | None) -> Tensor:
        """Masks of padded images, smoothed and denoised if the options say so."""
        tokens, grid = tokens_before_last_block(self.clip.visual, images)
        similarity = cosines(self._vectors(tokens, grid), texts)
        similarity = denoise_prompts(similarity, self.options.prompt_denoising)
        if self.options.key_smoothing > 0:
            keys = last_keys(self.clip.visual, tokens)
            axis = 1 if self.options.key_norm == "tokens" else 2
            masks = smooth_by_keys(similarity, F.normalize(keys, dim=axis), self.options.key_smoothing)
        else:
            masks = self.soft_mask(similarity)
        return masks if refine is None else refine(images, masks)

    def adapt_state_dict(self, state: Mapping[str, Any]) -> dict[str, Tensor]:
        """Weights of CLIP as OpenAI, open_clip or a run of this project publish them, under our names."""
        return {f"clip.{name}": tensor for name, tensor in official_clip_weights(state).items()}

    def _vectors(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        vectors = patch_vectors(self.clip.visual, tokens, grid, self.options.last_block)
        return F.normalize(full_precision(vectors), dim=1)


def official_clip_weights(content: Mapping[str, Any]) -> dict[str, Any]:
    """The weights of a file of CLIP under the names of open_clip's model.

    Args:
        content: of a file by OpenAI, by open_clip or a training run with it, or by a run of this project.
    """
    weights = {}
    for name, tensor in content.get("state_dict", content).items():
        for prefix in ("module.", "model.", "clip."):
            name = name.removeprefix(prefix)
        if name not in NO_WEIGHTS:
            weights[name] = tensor
    return weights


def check_vision_transformer(clip: Any) -> None:
    """Raises `ValueError` if a model has no vision transformer of CLIP's form."""
    visual = getattr(clip, "visual", None)
    parts = ("conv1", "class_embedding", "positional_embedding", "ln_pre", "transformer", "ln_post", "proj")
    missing = [part for part in parts if getattr(visual, part, None) is None]
    if missing or getattr(visual, "attn_pool", None) is not None:
        raise ValueError(
            "dense CLIP needs a vision transformer of CLIP's form, e.g. ViT-B-16-quickgelu, not a "
            f"{type(visual).__name__} (no {', '.join(missing) or 'class token that is pooled'})."
        )


def tokens_before_last_block(visual: Any, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """What the last block of the vision transformer is given.

    Args:
        visual: with the parts of open_clip's ``VisionTransformer``.
        images: (N,3,H,W).

    Returns:
        (N,1+hw,C) tokens, and h and w.
    """
    tokens, grid = embed_patches(visual, images)
    for block in visual.transformer.resblocks[:-1]:
        if visual.transformer.grad_checkpointing and torch.is_grad_enabled():
            tokens = checkpoint(block, tokens, use_reentrant=False)
        else:
            tokens = block(tokens)
    return tokens, grid


def embed_patches(visual: Any, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """(N,3,H,W) -> (N,1+hw,C) tokens before the first block, and h and w."""
    patches = visual.conv1(images)
    grid = (patches.shape[2], patches.shape[3])
    class_token = visual.class_embedding.to(patches.dtype).expand(len(images), 1, -1)
    tokens = torch.cat([class_token, patches.flatten(2).transpose(1, 2)], dim=1)
    positions = resize_position_embedding(visual.positional_embedding[None], grid)[0]
    return visual.ln_pre(tokens + positions.to(tokens.dtype)), grid


def patch_vectors(visual: Any, tokens: Tensor, grid: tuple[int, int], way: LastBlock = "values") -> Tensor:
    """Patches in the space of the texts, of any length.

    Args:
        visual: with the parts of open_clip's ``VisionTransformer``.
        tokens: (N,1+hw,C) before the last block.
        grid: h and w.
        way: see `DenseOptions.last_block`.

    Returns:
        (N,D,h,w).
    """
    last = run_last_block(visual.transformer.resblocks[-1], tokens, way)
    return as_map(visual.ln_post(last) @ visual.proj, grid)


def run_last_block(block: Any, tokens: Tensor, way: LastBlock = "values") -> Tensor:
    """The last block of the transformer, (N,L,C) -> (N,L,C). See `DenseOptions.last_block`."""
    if way == "vanilla":
        return block(tokens)
    if way == "diagonal":
        length = tokens.shape[1]
        others = ~torch.eye(length, dtype=torch.bool, device=tokens.device)
        hidden = torch.zeros(length, length, device=tokens.device).masked_fill(others, -math.inf)
        return block(tokens, attn_mask=hidden.to(tokens.dtype))
    values = block.attn.out_proj(project_values(block.attn, block.ln_1(tokens)))
    if way == "values_alone":
        return values
    tokens = tokens + block.ls_1(values)
    return tokens + block.ls_2(block.mlp(block.ln_2(tokens)))


def last_keys(visual: Any, tokens: Tensor) -> Tensor:
    """Keys of the patches in the last block, taken through the output projection, (N,1+hw,C) -> (N,hw,C)."""
    block = visual.transformer.resblocks[-1]
    return block.attn.out_proj(project_keys(block.attn, block.ln_1(tokens)))[:, 1:]


def as_map(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """(N,1+hw,D) -> (N,D,h,w), without the class token."""
    return tokens[:, 1:].transpose(1, 2).unflatten(2, grid)


def denoise_prompts(similarity: Tensor, threshold: float) -> Tensor:
    """Takes classes that are nowhere probable out of an image (MaskCLIP, section 3.3).

    Args:
        similarity: (N,M,h,w) cosines.
        threshold: of the greatest probability of a class; 0 takes none out.

    Returns:
        (N,M,h,w), with -100 for the classes that are out.

    Example:
        >>> denoise_prompts(torch.tensor([0.2, 0.1]).view(1, 2, 1, 1), 0.5).flatten().tolist()
        [0.20000000298023224, -100.0]
    """
    if threshold <= 0:
        return similarity
    highest = (100 * similarity).softmax(dim=1).amax(dim=(2, 3), keepdim=True)
    return similarity.masked_fill(highest < threshold, -100.0)


def smooth_by_keys(similarity: Tensor, keys: Tensor, threshold: float) -> Tensor:
    """Lets uncertain patches take over what patches with similar keys say (MaskCLIP, section 3.3).

    Args:
        similarity: (N,M,h,w) cosines.
        keys: (N,hw,C), normalised.
        threshold: patches whose likeliest class is less probable than this are smoothed.

    Returns:
        (N,M,h,w) probabilities of the classes; those of smoothed patches are weighted sums.
    """
    shares = (100 * similarity).softmax(dim=1)
    smoothed = shares.flatten(2) @ (keys @ keys.transpose(1, 2))  # the weights are symmetric
    uncertain = shares.amax(dim=1, keepdim=True) < threshold
    return torch.where(uncertain, smoothed.unflatten(2, shares.shape[2:]), shares)
