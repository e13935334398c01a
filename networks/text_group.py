"""Text group transformer: a caption's tokens fall into K groups, from whose vectors the caption is read back.

"Discovering Meaningful Units with Visually Grounded Semantics from Image Captions" (called the paper here),
built of GroupViT's modules (Xu et al. 2022, arXiv:2202.11094).

Legend: B captions, T tokens (special ones included), K groups, W width, V vocabulary, E width of the shared
space, D width of image vectors. Masks (B,T) are true at tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from networks.layers.grouping import (
    GroupingOptions,
    grouping_block,
    unit_average,
    units_of_tokens,
    window_average,
)
from networks.layers.precision import full_precision
from networks.layers.transformer import Block


@dataclass(frozen=True)
class TextSize:
    """Sizes of a text encoder; by default the paper's.

    Args:
        width: W of all encoder layers.
        heads: of their attention.
        vocab_size: V, 49,408 for CLIP's byte pairs.
        max_positions: longest text in tokens.
        embed_dim: E.
        image_width: D; 384 for GroupViT's image encoder.

    Raises:
        ValueError: the heads do not divide the width.
    """

    width: int = 128
    heads: int = 4
    vocab_size: int = 49408
    max_positions: int = 77
    embed_dim: int = 256
    image_width: int = 384

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"a width of {self.width} cannot be divided among {self.heads} heads")


@dataclass(frozen=True)
class DecoderOptions:
    """What makes the decoder depend on the groups; neither is in the paper.

    Args:
        word_dropout: share of the input words that are hidden in training, the start excepted, so that more
            must come from the groups.
        bottleneck: width to which a group vector is narrowed on its way to the decoder; 0 keeps it as it is.
    """

    word_dropout: float = 0.0
    bottleneck: int = 0


@dataclass(frozen=True)
class InitialSpread:
    """Standard deviations of what is learnt from the start; by default GroupViT's.

    With larger ones groups differ by position from the start.

    Args:
        positions: of the position embeddings.
        groups: of the group vectors.
    """

    positions: float = 0.01
    groups: float = 0.02


class Encoded(NamedTuple):
    """Encoded captions.

    Args:
        groups: vectors (B,K,W), of which the mean is projected.
        scores: (B,K,T) of the groups for each token; None without groups.
    """

    groups: Tensor
    scores: Tensor | None


class TextEncoder(nn.Module):
    """Base of the text encoders: embeddings, and the heads that project into the space shared with images.

    Args:
        size: all sizes.
    """

    decoder: Decoder | None

    def __init__(self, size: TextSize) -> None:
        super().__init__()
        self.size = size
        self.token_embedding = nn.Embedding(size.vocab_size, size.width)
        self.position_embedding = nn.Parameter(torch.zeros(size.max_positions, size.width))
        self.text_head = nn.Linear(size.width, size.embed_dim)
        self.image_head = nn.Linear(size.image_width, size.embed_dim)
        self.decoder = None

    def initialise(self) -> None:
        """GroupViT's: truncated normal 0.02 for linear layers, 0.02 for tokens, 0.01 for positions."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.position_embedding, std=0.01)

    @staticmethod
    def adapt_state_dict(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weights of this project as they are.

        Raises:
            ValueError: weights of something else.
        """
        for name in ("token_embedding.weight", "text_head.weight"):
            if name not in state:
                raise ValueError(f"no weights of a text encoder of this project: {name} is missing")
        return state

    def embed(self, ids: Tensor) -> Tensor:
        """Token ids (B,T) -> their embeddings with positions (B,T,W).

        Raises:
            ValueError: a text is longer than the positions.
        """
        length = ids.shape[1]
        if length > self.size.max_positions:
            raise ValueError(
                f"a text of {length} tokens is longer than the {self.size.max_positions} positions of this "
                "model"
            )
        return self.token_embedding(ids) + self.position_embedding[:length]

    def forward(self, ids: Tensor, mask: Tensor) -> Encoded:
        """Token ids and mask (B,T) -> encoded captions."""
        raise NotImplementedError

    def text_feature(self, groups: Tensor) -> Tensor:
        """(B,K,W) -> (B,E), unit length: each vector is projected, then their mean is taken."""
        return F.normalize(full_precision(self.text_head(groups).mean(dim=1)), dim=-1)

    def image_feature(self, vectors: Tensor) -> Tensor:
        """Pooled image vectors (..., D) -> (..., E), unit length."""
        return F.normalize(full_precision(self.image_head(vectors)), dim=-1)


class Decoder(nn.Module):
    """Reads a caption back from its group vectors, word by word.

    One layer of one head: causal self-attention, cross-attention to the groups, feed-forward. Its input words
    and its output words are those of the encoder's embedding (tied).

    Args:
        width: W.
        options: what makes it depend on the groups.
    """

    def __init__(self, width: int, options: DecoderOptions = DecoderOptions()) -> None:
        super().__init__()
        self.word_dropout = options.word_dropout
        self.narrow: nn.Module = nn.Identity()
        if options.bottleneck:
            self.narrow = nn.Sequential(
                nn.Linear(width, options.bottleneck), nn.Linear(options.bottleneck, width)
            )
        self.norm_memory = nn.LayerNorm(width)
        self.block = Block(width, 1, cross=True)
        self.norm = nn.LayerNorm(width)

    def forward(self, words: Tensor, positions: Tensor, groups: Tensor) -> Tensor:
        """Hidden states, whose product with the embedding are the logits of the next words.

        Args:
            words: word embeddings (B,T,W).
            positions: position embeddings (T,W).
            groups: (B,K,W).

        Returns:
            (B,T,W).
        """
        if self.training and self.word_dropout:
            hidden = torch.rand(words.shape[:2], device=words.device) < self.word_dropout
            hidden[:, 0] = False
            words = words.masked_fill(hidden[..., None], 0.0)
        memory = self.norm_memory(self.narrow(groups))
        return self.norm(self.block(words + positions, causal=True, memory=memory))


class TextGroupTransformer(TextEncoder):
    """Encoder layers over tokens and K learnt group vectors, a grouping block, layers over the groups.

    The defaults are the paper's. From small data, contiguous and meaningful groups emerge with the settings
    of configs/shared_data/textgroup_flickr30k.yaml; docs/results.md says what each of them brings.

    Args:
        groups: K.
        depth: layers before the grouping block.
        group_depth: layers after it, over the groups alone.
        separate_layers: in the first so many layers before the grouping block tokens attend to tokens alone
            and groups to groups alone. 0 is the paper's; ``all`` makes the groups mere queries until the
            grouping block.
        size: all sizes.
        grouping: how tokens are assigned to groups.
        decoder: what makes the decoder depend on the groups.
        spread: of the first positions and group vectors.

    Raises:
        ValueError: no groups, or more separate layers than layers.
    """

    is_opener: Tensor | None

    def __init__(
        self,
        groups: int = 4,
        depth: int = 6,
        group_depth: int = 3,
        separate_layers: int | Literal["all"] = 0,
        size: TextSize = TextSize(),
        grouping: GroupingOptions = GroupingOptions(),
        decoder: DecoderOptions = DecoderOptions(),
        spread: InitialSpread = InitialSpread(),
    ) -> None:
        separate_count = depth if separate_layers == "all" else separate_layers
        if groups < 1:
            raise ValueError(f"groups must be at least 1, not {groups}")
        if not 0 <= separate_count <= depth:
            raise ValueError(f"separate_layers must be between 0 and depth, which is {depth}")
        super().__init__(size)
        self.groups = groups
        self.separate_layers = separate_count
        self.group_values = grouping.values
        self.smoothing_radius = grouping.smoothing_radius
        # (V,) bool or None. Not in the state dict: like the vocabulary, it is no weight.
        self.register_buffer("is_opener", None, persistent=False)
        self.group_tokens = nn.Parameter(torch.zeros(groups, size.width))
        self.layers = nn.ModuleList(Block(size.width, size.heads) for _ in range(depth))
        self.grouping = grouping_block(size.width, size.heads, groups, grouping)
        self.group_layers = nn.ModuleList(Block(size.width, size.heads) for _ in range(group_depth))
        self.norm = nn.LayerNorm(size.width)
        self.decoder = Decoder(size.width, decoder)
        self.initialise()
        nn.init.normal_(self.position_embedding, std=spread.positions)
        nn.init.trunc_normal_(self.group_tokens, std=spread.groups)

    def set_openers(self, ids: Sequence[int]) -> None:
        """Sets the words that open a new unit of a caption; its tokens then share their scores.

        Not in the paper. `metrics.token_groups.find_openers` finds such words in captions.

        Args:
            ids: token ids; none to leave every token alone.
        """
        if not ids:
            self.is_opener = None
            return
        vocabulary = torch.arange(self.size.vocab_size, device=self.group_tokens.device)
        self.is_opener = torch.isin(vocabulary, vocabulary[list(ids)])

    def score_average(self, ids: Tensor, mask: Tensor) -> Tensor | None:
        """Token ids and mask (B,T) -> the matrix that averages scores, see `Assign`, or None for none."""
        if self.is_opener is not None:
            return unit_average(units_of_tokens(self.is_opener[ids], mask), mask)
        if self.smoothing_radius:
            return window_average(mask, self.smoothing_radius)
        return None

    def forward(self, ids: Tensor, mask: Tensor) -> Encoded:
        """Token ids and mask (B,T) -> group vectors (B,K,W) after the last norm, and scores (B,K,T)."""
        mask = mask.bool()
        embedded = self.embed(ids)
        batch, length, _ = embedded.shape
        x = torch.cat([embedded, self.group_tokens.expand(batch, -1, -1)], dim=1)
        together = F.pad(mask, (0, self.groups), value=True)[:, None, None]
        is_group = torch.arange(x.shape[1], device=x.device) >= length
        separate = together & (is_group[:, None] == is_group)
        for number, layer in enumerate(self.layers):
            x = layer(x, separate if number < self.separate_layers else together)
        tokens = x[:, :length]
        groups = x[:, length:]
        values = tokens if self.group_values == "encoded" else embedded
        groups, scores = self.grouping(groups, tokens, values, mask, self.score_average(ids, mask))
        for layer in self.group_layers:
            groups = layer(groups)
        return Encoded(self.norm(groups), scores)

    def decode(self, ids: Tensor, groups: Tensor) -> Tensor:
        """Reads captions back with teacher forcing.

        Args:
            ids: (B,T).
            groups: (B,K,W).

        Returns:
            Hidden states (B,T-1,W) that predict ``ids[:, 1:]``.
        """
        assert self.decoder is not None
        words = self.token_embedding(ids[:, :-1])
        return self.decoder(words, self.position_embedding[: ids.shape[1] - 1], groups)


class CausalTransformer(TextEncoder):
    """The paper's ``transformer`` baseline: causal layers without groups, and the vector of the last token.

    It is CLIP's text encoder in small.

    Args:
        depth: number of layers, 9 in the paper.
        size: all sizes.
    """

    def __init__(self, depth: int = 9, size: TextSize = TextSize()) -> None:
        super().__init__(size)
        self.layers = nn.ModuleList(Block(size.width, size.heads) for _ in range(depth))
        self.norm = nn.LayerNorm(size.width)
        self.initialise()

    def token_vectors(self, ids: Tensor) -> Tensor:
        """Token ids (B,T) -> (B,T,W) after the last norm: what the clustering baselines cluster."""
        x = self.embed(ids)
        for layer in self.layers:
            x = layer(x, causal=True)  # padding stands behind every token, so no token sees it
        return self.norm(x)

    def forward(self, ids: Tensor, mask: Tensor) -> Encoded:
        """Token ids and mask (B,T) -> the last token's vector (B,1,W), no scores."""
        last = mask.long().sum(dim=1) - 1
        vectors = self.token_vectors(ids)
        rows = torch.arange(len(ids), device=ids.device)
        return Encoded(vectors[rows, last][:, None], None)
