"""The text encoder that ALBEF and BLIP share: post-norm BERT whose upper layers also attend to an image.

ALBEF: layers below ``fusion_layer`` read text only, those above fuse. BLIP (med.py): ``fusion_layer=0``, no
token types, an image of another width. Key names are the official ones.

Legend: B texts (Q when they are queries), N images, T text tokens, L image tokens, W text width, D image
width, H heads, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class BertSize:
    """Sizes of a BERT; those of BERT-base by default.

    Args:
        width: W of the hidden states.
        depth: number of layers.
        heads: of each attention.
        intermediate: width of the feed-forward layers.
        vocab_size: V.
        max_positions: the longest text, in tokens.
        pad_id: the token whose embedding is not trained.
        dropout: of hidden states and of attention probabilities.

    Raises:
        ValueError: sizes that do not fit together.
    """

    width: int = 768
    depth: int = 12
    heads: int = 12
    intermediate: int = 3072
    vocab_size: int = 30522
    max_positions: int = 512
    pad_id: int = 0
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"a text width of {self.width} cannot be divided among {self.heads} heads")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), not {self.dropout}")


class AttentionHeads(nn.Module):
    """Projections and heads; attends to ``memory`` (an image) where one is given, else to the text itself."""

    def __init__(self, width: int, heads: int, memory_width: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(memory_width, width)
        self.value = nn.Linear(memory_width, width)

    def forward(
        self,
        hidden: Tensor,
        memory: Tensor | None,
        mask: Tensor | None,
        memory_of_row: Tensor | None,
        explicit: bool,
    ) -> tuple[Tensor, Tensor | None]:
        """Attends to the memory, or to the text itself.

        Args:
            hidden: (B,T,W).
            memory: (N,L,D), or None for self-attention.
            mask: (B,1,1 or T,T or L) bool, True where a key may be attended to; None for all.
            memory_of_row: (B,) long into the N memories; None where row b attends to memory b.
            explicit: whether to compute the probabilities, which fused kernels do not give.

        Returns:
            The context (B,T,W) and, if ``explicit``, the probabilities (B,H,T,L) after soft-max and before
            dropout.
        """
        if memory is None:
            memory = hidden
        query = self._split(self.query(hidden))
        key = self._split(self.key(memory))
        value = self._split(self.value(memory))
        if memory_of_row is not None:
            # After the projections, so that an image with many texts is projected once.
            key = key[memory_of_row]
            value = value[memory_of_row]
        dropout = self.dropout if self.training else 0.0
        probabilities = None
        if explicit:
            context, probabilities = self._attend_explicitly(query, key, value, mask, dropout)
        else:
            context = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout)
        return context.transpose(1, 2).flatten(2), probabilities

    def _split(self, projected: Tensor) -> Tensor:
        return projected.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    @staticmethod
    def _attend_explicitly(
        query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout: float
    ) -> tuple[Tensor, Tensor]:
        scores = query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5
        if mask is not None:
            scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
        probabilities = scores.softmax(dim=-1)
        if not probabilities.requires_grad and torch.is_grad_enabled():
            # Nothing below is trained: the probabilities are the leaf that a class activation map is
            # differentiated to.
            probabilities = probabilities.detach().requires_grad_()
        return F.dropout(probabilities, dropout) @ value, probabilities


class ResidualOutput(nn.Module):
    """Dense, dropout, residual, norm: the end of every BERT sub-layer."""

    def __init__(self, inner: int, width: int, dropout: float) -> None:
        super().__init__()
        self.dense = nn.Linear(inner, width)
        self.LayerNorm = nn.LayerNorm(width, eps=1e-12)
        self.dropout = nn.Dropout(dropout)

    def forward(self, inner: Tensor, residual: Tensor) -> Tensor:
        """(B,T,inner) and the sub-layer's input (B,T,W) -> (B,T,W)."""
        return self.LayerNorm(self.dropout(self.dense(inner)) + residual)


class Attention(nn.Module):
    """Attention with its residual, to the text itself or to a memory of another width."""

    def __init__(self, width: int, heads: int, memory_width: int, dropout: float) -> None:
        super().__init__()
        self.self = AttentionHeads(width, heads, memory_width, dropout)
        self.output = ResidualOutput(width, width, dropout)

    def forward(
        self,
        hidden: Tensor,
        memory: Tensor | None = None,
        mask: Tensor | None = None,
        memory_of_row: Tensor | None = None,
        explicit: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """As `AttentionHeads.forward`, with the residual added."""
        context, probabilities = self.self(hidden, memory, mask, memory_of_row, explicit)
        return self.output(context, hidden), probabilities


class Intermediate(nn.Module):
    """The first half of the feed-forward sub-layer, (B,T,W) -> (B,T,inner)."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, inner)

    def forward(self, hidden: Tensor) -> Tensor:
        """(B,T,W) -> (B,T,inner)."""
        return F.gelu(self.dense(hidden))


class Layer(nn.Module):
    """Self-attention, cross-attention (if ``memory_width`` is given), feed-forward."""

    def __init__(self, size: BertSize, memory_width: int | None) -> None:
        super().__init__()
        self.attention = Attention(size.width, size.heads, size.width, size.dropout)
        if memory_width is not None:
            self.crossattention = Attention(size.width, size.heads, memory_width, size.dropout)
        self.intermediate = Intermediate(size.width, size.intermediate)
        self.output = ResidualOutput(size.intermediate, size.width, size.dropout)

    def forward(
        self,
        hidden: Tensor,
        mask: Tensor,
        image: Tensor | None = None,
        image_of_text: Tensor | None = None,
        explicit_self: bool = False,
        explicit_cross: bool = False,
        image_mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """(B,T,W) -> the same, and the cross-attention probabilities (B,H,T,L) if ``explicit_cross``.

        ``image_mask`` (B,1,1,L) bool says what of the image, or of whatever else is attended to, is there.
        """
        hidden, _ = self.attention(hidden, mask=mask, explicit=explicit_self)
        probabilities = None
        if image is not None:
            hidden, probabilities = self.crossattention(
                hidden, image, image_mask, memory_of_row=image_of_text, explicit=explicit_cross
            )
        return self.output(self.intermediate(hidden), hidden), probabilities


class Embeddings(nn.Module):
    """Words, positions and, where the model has them, token types."""

    position_ids: Tensor

    def __init__(self, size: BertSize, use_token_types: bool) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(size.vocab_size, size.width, padding_idx=size.pad_id)
        self.position_embeddings = nn.Embedding(size.max_positions, size.width)
        self.token_type_embeddings = nn.Embedding(2, size.width) if use_token_types else None
        self.LayerNorm = nn.LayerNorm(size.width, eps=1e-12)
        self.dropout = nn.Dropout(size.dropout)
        self.register_buffer("position_ids", torch.arange(size.max_positions)[None])

    def forward(self, ids: Tensor) -> Tensor:
        """(B,T) -> (B,T,W). Raises ValueError for texts longer than the positions."""
        length = ids.shape[1]
        longest = self.position_ids.shape[1]
        if length > longest:
            raise ValueError(
                f"a text of {length} tokens is longer than the {longest} positions of this model"
            )
        embeds = self.word_embeddings(ids) + self.position_embeddings(self.position_ids[:, :length])
        if self.token_type_embeddings is not None:
            embeds = embeds + self.token_type_embeddings.weight[0]
        return self.dropout(self.LayerNorm(embeds))


class Encoder(nn.Module):
    """The layers, under their official name."""

    def __init__(self, layers: Iterable[Layer]) -> None:
        super().__init__()
        self.layer = nn.ModuleList(layers)


class BertModel(nn.Module):
    """BERT whose layers >= ``fusion_layer`` cross-attend to image tokens.

    Args:
        size: of the transformer.
        encoder_width: D, the width of the image tokens.
        fusion_layer: the first layer with cross-attention; 6 for ALBEF, 0 for BLIP.
        use_token_types: whether there is a token type embedding; BLIP has none.

    Raises:
        ValueError: no layer is left for the fusion.
    """

    def __init__(
        self, size: BertSize, encoder_width: int = 768, fusion_layer: int = 6, use_token_types: bool = True
    ) -> None:
        super().__init__()
        if not 0 <= fusion_layer < size.depth:
            raise ValueError(f"fusion cannot start at layer {fusion_layer} of {size.depth}")
        self.fusion_layer = fusion_layer
        self.embeddings = Embeddings(size, use_token_types)
        layers = [
            Layer(size, encoder_width if index >= fusion_layer else None) for index in range(size.depth)
        ]
        self.encoder = Encoder(layers)
        init_bert_weights(self, size.width)

    def encode_text(self, ids: Tensor, mask: Tensor) -> Tensor:
        """ids and mask (B,T), 1 = token -> (B,T,W): embeddings and the layers that read text only."""
        return self._text_layers(self.embeddings(ids), mask, self.encoder.layer[: self.fusion_layer])

    def encode_text_alone(self, ids: Tensor, mask: Tensor) -> Tensor:
        """(B,T) -> (B,T,W) through all layers without an image, cross-attention skipped, as in BLIP's ITC."""
        return self._text_layers(self.embeddings(ids), mask, self.encoder.layer)

    @staticmethod
    def _text_layers(hidden: Tensor, mask: Tensor, layers: Iterable[nn.Module]) -> Tensor:
        for layer in layers:
            hidden, _ = layer(hidden, key_mask(mask))
        return hidden

    def fuse(
        self,
        hidden: Tensor,
        mask: Tensor,
        image: Tensor,
        image_of_text: Tensor | None = None,
        *,
        attention_layers: Collection[int] = (),
        create_graph: bool = False,
        causal: bool = False,
    ) -> tuple[Tensor, list[Tensor]]:
        """The layers from ``fusion_layer`` on.

        Args:
            hidden: (B,T,W) from ``encode_text``.
            mask: (B,T), 1 = token.
            image: (N,L,D).
            image_of_text: (B,) long into the N images, or None where text b goes with image b.
            attention_layers: indices of the layers whose cross-attention probabilities are wanted.
            create_graph: whether gradients to those probabilities will themselves be differentiated.
            causal: whether a token sees only those before it, as in a decoder.

        Returns:
            hidden (B,T,W), and one (B,H,T,L) for each of ``attention_layers``, in ascending order. From the
            lowest of them on, gradients are on whatever the caller's mode and computation is in the
            parameters' own precision, also under autocast: maps are of the order 1e-4 and their gradients
            underflow in half precision.

        Raises:
            ValueError: when texts and images do not pair up.
        """
        if image_of_text is None and len(image) != len(hidden):
            raise ValueError(
                f"{len(hidden)} texts and {len(image)} images do not pair up: "
                "image_of_text must say which belongs to which"
            )
        mask = key_mask(mask)
        if causal:
            length = hidden.shape[1]
            mask = mask & torch.ones(length, length, dtype=torch.bool, device=mask.device).tril()
        layers = self.encoder.layer
        lowest = min(attention_layers, default=len(layers))
        for layer in layers[self.fusion_layer : lowest]:
            hidden, _ = layer(hidden, mask, image, image_of_text)
        if lowest == len(layers):
            return hidden, []
        dtype = self.embeddings.word_embeddings.weight.dtype
        with torch.enable_grad(), torch.autocast(hidden.device.type, enabled=False):
            return self._fuse_with_attention(
                hidden.to(dtype), mask, image.to(dtype), image_of_text, attention_layers, create_graph
            )

    def _fuse_with_attention(
        self,
        hidden: Tensor,
        mask: Tensor,
        image: Tensor,
        image_of_text: Tensor | None,
        attention_layers: Collection[int],
        create_graph: bool,
    ) -> tuple[Tensor, list[Tensor]]:
        """From the lowest of ``attention_layers`` on; see `fuse`."""
        attentions = []
        lowest = min(attention_layers)
        for index in range(lowest, len(self.encoder.layer)):
            # Fused kernels have no double backward, so whatever lies between the probabilities and the output
            # is explicit under create_graph; the lowest layer's self-attention comes before them and stays
            # fused.
            hidden, probabilities = self.encoder.layer[index](
                hidden,
                mask,
                image,
                image_of_text,
                explicit_self=create_graph and index > lowest,
                explicit_cross=create_graph or index in attention_layers,
            )
            if index in attention_layers:
                attentions.append(probabilities)
        return hidden, attentions


def key_mask(mask: Tensor) -> Tensor:
    """(B,T), 1 = token -> (B,1,1,T) bool, True where a key may be attended to."""
    return mask.bool()[:, None, None, :]


def init_bert_weights(module: nn.Module, width: int) -> None:
    """BERT's normal(0, 0.02) for weights, zero for biases, in all parts of ``module``; norms keep torch's one
    and zero.

    0.02 belongs to a width of 768. Narrower layers start wider by the square root, or their branches would be
    negligible beside the residual.
    """
    for part in module.modules():
        if isinstance(part, nn.Embedding):
            nn.init.normal_(part.weight, std=0.02)
        if isinstance(part, nn.Linear):
            nn.init.normal_(part.weight, std=0.02 * (768 / width) ** 0.5)
            nn.init.zeros_(part.bias)
