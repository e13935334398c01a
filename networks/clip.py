"""CLIP by open_clip, as an encoder of images, their places and texts.

Legend: N images, M texts, h x w patches of an image, L = 1 + h*w tokens, the class token first, W their
width, H heads, D numbers of a vector.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from networks.clip_dense import (
    check_vision_transformer,
    official_clip_weights,
    patch_vectors,
    tokens_before_last_block,
)
from networks.image_text_encoder import ImageTextEncoder, Places
from networks.layers.class_activation import minmax
from networks.layers.precision import full_precision

TINY = 1e-30  # relevance may be as small as gradients are; a map of zeros alone must not divide by zero


class OpenCLIP(ImageTextEncoder):
    """A model of open_clip, whose vision transformer ends with a class token.

    Args:
        name: as open_clip calls it; that of g and g++ is OpenAI's ``ViT-B-32-quickgelu``.
        sizes: of a model that open_clip has no name for, in the form of its configuration files.
        download: weights that open_clip may fetch from the network when the model is built, e.g. ``openai``.
            By default nothing is fetched, and weights come from a file.

    Raises:
        ValueError: open_clip has no such model or weights, or it is another kind of model.
    """

    def __init__(
        self,
        name: str = "ViT-B-32-quickgelu",
        sizes: Mapping[str, Any] | None = None,
        download: str | None = None,
    ) -> None:
        super().__init__()
        import open_clip  # here, since it takes seconds

        self.name = name
        self.brings_weights = download is not None
        self.model, self.tokenizer = build_clip(name, sizes, download)
        self._check_kind()
        visual: Any = self.model.visual
        self.dim = visual.output_dim
        self.image_size = visual.image_size[0]
        self.mean = open_clip.OPENAI_DATASET_MEAN
        self.std = open_clip.OPENAI_DATASET_STD

    def _check_kind(self) -> None:
        check_vision_transformer(self.model)
        attention = getattr(self._last_block, "attn", None)
        if not isinstance(attention, nn.MultiheadAttention) or self.model.visual.pool_type != "tok":
            raise ValueError(
                f"{self.name} has no class token whose attention could be explained; take a model such as "
                "ViT-B-32-quickgelu or ViT-B-16-quickgelu."
            )

    @property
    def _last_block(self) -> Any:
        visual: Any = self.model.visual
        return visual.transformer.resblocks[-1]

    # The contract.

    def encode_images(self, images: Tensor) -> Tensor:
        """(N,3,H,W) -> (N,D). See `ImageTextEncoder.encode_images`."""
        tokens, _ = tokens_before_last_block(self.model.visual, images)
        return self._image_vectors(self._last_block(tokens))

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """(M,D). See `ImageTextEncoder.encode_texts`."""
        ids = self.tokenizer(list(texts)).to(self.model.logit_scale.device)
        return self.encode_tokens(ids)

    def encode_tokens(self, ids: Tensor) -> Tensor:
        """(M,T) long, token ids -> (M,D), of length 1."""
        return F.normalize(full_precision(self.model.encode_text(ids)), dim=-1)

    def encode_places(self, images: Tensor) -> Places:
        """(N,3,H,W) -> vectors of the patches by MaskCLIP, see `networks.clip_dense`, and weights of 1."""
        visual: Any = self.model.visual
        tokens, grid = tokens_before_last_block(visual, images)
        vectors = full_precision(patch_vectors(visual, tokens, grid)).permute(0, 2, 3, 1)
        return Places(F.normalize(vectors, dim=-1), torch.ones_like(vectors[..., 0]))

    def relevance(self, images: Tensor, texts: Sequence[str]) -> Tensor:
        """Generic attention explainability (Chefer et al. 2021, arXiv:2103.15679) of the last block alone.

        The attention of the class token to the patches, times the gradient of the cosine to it, negative
        products dropped, mean over heads; brought to the size of the image, then to [0,1], as in the public
        code of g.

        Args:
            images: (N,3,H,W).
            texts: N texts, one for each image.

        Returns:
            (N,H,W), without gradients.
        """
        with torch.no_grad():
            tokens, grid = tokens_before_last_block(self.model.visual, images)
            text_vectors = self.encode_texts(texts)
            attention = self.last_attention(tokens)
        with torch.enable_grad(), torch.autocast(images.device.type, enabled=False):
            attention.requires_grad_()
            image_vectors = self.vectors_of_attention(full_precision(tokens), attention)
            (gradient,) = torch.autograd.grad((image_vectors * text_vectors).sum(), attention)
        relevance = (gradient * attention.detach()).clamp(min=0).mean(dim=1)[:, 0, 1:]
        maps = relevance.unflatten(1, grid)[:, None]
        maps = F.interpolate(maps, images.shape[-2:], mode="bilinear", align_corners=False)
        return minmax(maps.squeeze(1), eps=TINY)

    # The last block by hand, with attention that can be differentiated.

    def last_attention(self, tokens: Tensor) -> Tensor:
        """Tokens (N,L,W) before the last block -> its attention (N,H,L,L), the rows adding up to 1."""
        queries, keys, _ = full_precision(self._projected(tokens)).unbind(2)
        logits = torch.einsum("nqhd,nkhd->nhqk", queries, keys)
        return (logits / queries.shape[-1] ** 0.5).softmax(dim=-1)

    def vectors_of_attention(self, tokens: Tensor, attention: Tensor) -> Tensor:
        """(N,L,W) tokens before the last block and its (N,H,L,L) attention -> (N,D), of length 1."""
        block = self._last_block
        values = self._projected(tokens)[:, :, 2]
        attended = torch.einsum("nhqk,nkhd->nqhd", attention, values).flatten(2)
        tokens = tokens + block.ls_1(block.attn.out_proj(attended))
        return self._image_vectors(tokens + block.ls_2(block.mlp(block.ln_2(tokens))))

    def _projected(self, tokens: Tensor) -> Tensor:
        """(N,L,W) tokens before the last block -> its queries, keys and values (N,L,3,H,W/H)."""
        block = self._last_block
        projected = F.linear(block.ln_1(tokens), block.attn.in_proj_weight, block.attn.in_proj_bias)
        return projected.unflatten(-1, (3, block.attn.num_heads, -1))

    def _image_vectors(self, tokens: Tensor) -> Tensor:
        """(N,L,W) tokens behind the last block -> (N,D), of length 1."""
        visual: Any = self.model.visual
        pooled, _ = visual._pool(tokens)
        return F.normalize(full_precision(pooled @ visual.proj), dim=-1)

    def adapt_state_dict(self, state: Mapping[str, Any]) -> dict[str, Tensor]:
        """Weights as OpenAI, open_clip or a training run with it publish them, under this module's names."""
        return {f"model.{name}": tensor for name, tensor in official_clip_weights(state).items()}


def build_clip(name: str, sizes: Mapping[str, Any] | None, download: str | None) -> tuple[Any, Any]:
    """A model of open_clip, and its tokenizer.

    Args:
        name: as open_clip calls it.
        sizes: of a model that open_clip has no name for, in the form of its configuration files.
        download: weights that open_clip may fetch from the network, e.g. ``openai``; None for random ones.

    Raises:
        ValueError: open_clip has no such model or weights.
    """
    import open_clip  # here, since it takes seconds

    if sizes is not None:
        model: Any = open_clip.CLIP(**sizes)
        return model, open_clip.SimpleTokenizer(context_length=model.context_length)
    if name not in open_clip.list_models():
        raise ValueError(f"open_clip has no model {name!r}; open_clip.list_models() names them all.")
    model = open_clip.create_model(name, pretrained=download, load_weights=download is not None)
    return model, open_clip.get_tokenizer(name)
