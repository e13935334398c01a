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

from networks.image_text_encoder import ImageTextEncoder, Places
from networks.layers.class_activation import minmax
from networks.layers.precision import full_precision

# What OpenAI's files hold beside the weights.
NO_WEIGHTS = ("input_resolution", "context_length", "vocab_size")
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
        if sizes is not None:
            self.model = open_clip.CLIP(**sizes)
        elif name in open_clip.list_models():
            self.model = open_clip.create_model(name, pretrained=download, load_weights=download is not None)
        else:
            raise ValueError(f"open_clip has no model {name!r}; open_clip.list_models() names them all.")
        self._check_kind()
        visual: Any = self.model.visual
        self.dim = visual.output_dim
        self.image_size = visual.image_size[0]
        self.mean = open_clip.OPENAI_DATASET_MEAN
        self.std = open_clip.OPENAI_DATASET_STD
        length = getattr(self.model, "context_length", 77)
        self.tokenizer = open_clip.SimpleTokenizer(context_length=length)
        if sizes is None:
            self.tokenizer = open_clip.get_tokenizer(name)

    def _check_kind(self) -> None:
        blocks = getattr(getattr(self.model.visual, "transformer", None), "resblocks", None)
        attention = getattr(blocks[-1], "attn", None) if blocks is not None else None
        with_class_token = getattr(self.model.visual, "pool_type", None) == "tok"
        if not isinstance(attention, nn.MultiheadAttention) or not with_class_token:
            raise ValueError(
                f"{self.name} has no vision transformer with a class token, whose attention could be "
                "explained; take one such as ViT-B-32-quickgelu or ViT-B-16."
            )

    # The contract.

    def encode_images(self, images: Tensor) -> Tensor:
        """(N,3,S,S) -> (N,D). See `ImageTextEncoder.encode_images`."""
        self._check_size(images)
        return F.normalize(full_precision(self.model.encode_image(images)), dim=-1)

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """(M,D). See `ImageTextEncoder.encode_texts`."""
        ids = self.tokenizer(list(texts)).to(self.model.logit_scale.device)
        return self.encode_tokens(ids)

    def encode_tokens(self, ids: Tensor) -> Tensor:
        """(M,T) long, token ids -> (M,D), of length 1."""
        return F.normalize(full_precision(self.model.encode_text(ids)), dim=-1)

    def encode_places(self, images: Tensor) -> Places:
        """Vectors of the patches by the value path of the last block (MaskCLIP, arXiv:2112.01071).

        Args:
            images: (N,3,S,S).

        Returns:
            Vectors (N,h,w,D) and weights of 1.
        """
        visual: Any = self.model.visual
        block = visual.transformer.resblocks[-1]
        tokens = block.ln_1(self._tokens_before_last_block(images))
        width = tokens.shape[-1]
        weight = block.attn.in_proj_weight[2 * width :]
        bias = block.attn.in_proj_bias[2 * width :]
        values = block.attn.out_proj(F.linear(tokens, weight, bias))
        projected = visual.ln_post(values)[:, 1:] @ visual.proj
        vectors = F.normalize(full_precision(projected), dim=-1).unflatten(1, visual.grid_size)
        return Places(vectors, torch.ones_like(vectors[..., 0]))

    def relevance(self, images: Tensor, texts: Sequence[str]) -> Tensor:
        """Generic attention explainability (Chefer et al. 2021, arXiv:2103.15679) of the last block alone.

        The attention of the class token to the patches, times the gradient of the cosine to it, negative
        products dropped, mean over heads; brought to the size of the image, then to [0,1], as in the public
        code of g.

        Args:
            images: (N,3,S,S).
            texts: N texts, one for each image.

        Returns:
            (N,S,S), without gradients.
        """
        with torch.no_grad():
            tokens = self._tokens_before_last_block(images)
            text_vectors = self.encode_texts(texts)
            attention = self.last_attention(tokens)
        with torch.enable_grad(), torch.autocast(images.device.type, enabled=False):
            attention.requires_grad_()
            image_vectors = self._after_attention(tokens.float(), attention)
            cosines = (F.normalize(image_vectors, dim=-1) * text_vectors).sum()
            (gradient,) = torch.autograd.grad(cosines, attention)
        relevance = (gradient * attention.detach()).clamp(min=0).mean(dim=1)[:, 0, 1:]
        visual: Any = self.model.visual
        maps = relevance.unflatten(1, visual.grid_size)[:, None]
        maps = F.interpolate(maps, images.shape[-2:], mode="bilinear", align_corners=False)
        return minmax(maps.squeeze(1), eps=TINY)

    # The last block by hand, with attention that can be differentiated.

    def last_attention(self, tokens: Tensor) -> Tensor:
        """Tokens (N,L,W) before the last block -> its attention (N,H,L,L), the rows adding up to 1."""
        block = self.model.visual.transformer.resblocks[-1]
        weight = block.attn.in_proj_weight
        projected = F.linear(block.ln_1(tokens), weight, block.attn.in_proj_bias)
        queries, keys, _ = projected.float().unflatten(-1, (3, block.attn.num_heads, -1)).unbind(2)
        logits = torch.einsum("nqhd,nkhd->nhqk", queries, keys)
        return (logits / queries.shape[-1] ** 0.5).softmax(dim=-1)

    def _after_attention(self, tokens: Tensor, attention: Tensor) -> Tensor:
        """(N,L,W) tokens before the last block and its (N,H,L,L) attention -> (N,D) of the class token."""
        visual: Any = self.model.visual
        block = visual.transformer.resblocks[-1]
        weight = block.attn.in_proj_weight
        projected = F.linear(block.ln_1(tokens), weight, block.attn.in_proj_bias)
        values = projected.unflatten(-1, (3, block.attn.num_heads, -1))[:, :, 2]
        attended = torch.einsum("nhqk,nkhd->nqhd", attention, values).flatten(2)
        tokens = tokens + block.ls_1(block.attn.out_proj(attended))
        tokens = tokens + block.ls_2(block.mlp(block.ln_2(tokens)))
        pooled, _ = visual._pool(tokens)
        return pooled @ visual.proj

    def _tokens_before_last_block(self, images: Tensor) -> Tensor:
        self._check_size(images)
        visual: Any = self.model.visual
        tokens = visual._embeds(images)
        for block in visual.transformer.resblocks[:-1]:
            tokens = block(tokens)
        return tokens

    def _check_size(self, images: Tensor) -> None:
        if images.shape[-2:] != (self.image_size, self.image_size):
            raise ValueError(
                f"{self.name} takes images of {self.image_size} x {self.image_size} pixels, "
                f"not {images.shape[-2]} x {images.shape[-1]}."
            )

    def adapt_state_dict(self, state: Mapping[str, Any]) -> dict[str, Tensor]:
        """Weights as OpenAI, open_clip or a training run with it publish them, under this module's names."""
        weights = state.get("state_dict", state)
        adapted = {}
        for name, tensor in weights.items():
            name = name.removeprefix("module.").removeprefix("model.")
            if name not in NO_WEIGHTS:
                adapted[f"model.{name}"] = tensor
        return adapted
