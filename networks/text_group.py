"""Text group transformer: a caption's tokens fall into K groups, and from the K group vectors the caption is
read back.

"Discovering Meaningful Units with Visually Grounded Semantics from Image Captions" (called the paper here),
built of GroupViT's modules (Xu et al. 2022, arXiv:2202.11094).

Legend: B captions, T tokens (special ones included), K groups, W width, H heads, V vocabulary, E width of the
shared space. Masks (B,T) are true at tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Grouping = Literal["groupvit", "minimal"]
Values = Literal["encoded", "embedded"]


class Attention(nn.Module):
    """Multi-head attention of queries (B,Q,W) over a memory (B,M,W)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.proj = nn.Linear(width, width)

    def forward(
        self, queries: Tensor, memory: Tensor, mask: Tensor | None = None, causal: bool = False
    ) -> Tensor:
        """``mask`` is broadcast to (B,H,Q,M), true where a query may look."""
        query, key, value = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer, x in ((self.query, queries), (self.key, memory), (self.value, memory))
        )
        context = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=causal)
        return self.proj(context.transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    def __init__(self, width: int, hidden: int, out: int | None = None) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, out or width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """Pre-norm self-attention, cross-attention (if ``cross``), feed-forward."""

    def __init__(self, width: int, heads: int, cross: bool = False) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = Attention(width, heads)
        if cross:
            self.norm_cross = nn.LayerNorm(width)
            self.cross_attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width, 4 * width)

    def forward(
        self, x: Tensor, mask: Tensor | None = None, causal: bool = False, memory: Tensor | None = None
    ) -> Tensor:
        """``mask`` as in `Attention`. ``memory`` (B,M,W) for the cross-attention."""
        normed = self.norm1(x)
        x = x + self.attn(normed, normed, mask, causal)
        if memory is not None:
            x = x + self.cross_attn(self.norm_cross(x), memory)
        return x + self.mlp(self.norm2(x))


def full_precision(x: Tensor) -> Tensor:
    """At least float32, also under autocast."""
    return x if x.dtype == torch.float64 else x.float()


def gumbel_noise(like: Tensor) -> Tensor:
    """Noise of Gumbel(0, 1) in the shape of ``like``."""
    uniform = torch.rand_like(like, dtype=torch.float32)
    tiny = torch.finfo(uniform.dtype).tiny
    return -(-uniform.clamp_min(tiny).log()).clamp_min(tiny).log()


def hard_assignment(raw: Tensor, noise: Tensor | None = None) -> Tensor:
    """Scores (B,K,T) -> one-hot over the groups, with the gradient of the soft-max over the groups (straight
    through).

    Args:
        noise: added to the scores, for the Gumbel soft-max at temperature 1; None in evaluation.
    """
    soft = (raw if noise is None else raw + noise).softmax(dim=1)
    hard = torch.zeros_like(soft).scatter_(1, soft.argmax(dim=1, keepdim=True), 1.0)
    return hard - soft.detach() + soft


def group_means(assignment: Tensor, values: Tensor, mask: Tensor, eps: float) -> Tensor:
    """Assignment (B,K,T), values (B,T,W) -> (B,K,W): the sum of each group's values over their number plus
    ``eps``; 0 for a group without tokens.

    Padding is masked here, after the soft-max: that runs over groups, so no score could keep a padded token
    out.
    """
    kept = assignment * mask[:, None]
    return kept @ values / (kept.sum(dim=-1, keepdim=True) + eps)


def unit_of_token(opens: Tensor, mask: Tensor) -> Tensor:
    """Captions cut into units, a new one at each opener that follows a word that is none: (B,T) bool and mask
    (B,T) -> (B,T) long.

    The start token is unit 0, the first word begins unit 1; padding belongs to the last one.
    """
    opens = opens & mask
    begins = opens & ~F.pad(opens[:, :-1], (1, 0), value=True)
    begins[:, 1:2] = True
    return begins.cumsum(dim=1)


def neighbours_shared(mask: Tensor, reach: int) -> Tensor:
    """For each token the shares (B,T,T) of those at most ``reach`` places away, itself among them; padding
    has none.
    """
    place = torch.arange(mask.shape[1], device=mask.device)
    return _shares((place[:, None] - place).abs() <= reach, mask)


def units_shared(unit: Tensor, mask: Tensor) -> Tensor:
    """For each token the shares (B,T,T) of those of its unit (B,T)."""
    return _shares(unit[:, :, None] == unit[:, None], mask)


def _shares(together: Tensor, mask: Tensor) -> Tensor:
    kept = (together & mask[:, None]).float()
    return kept / kept.sum(dim=-1, keepdim=True).clamp_min(1)


def place_scores(mask: Tensor, groups: int) -> Tensor:
    """How well each token's place suits each group, if group k of K should hold the k-th of K equal pieces:
    mask (B,T) -> (B,K,T), 0 at the piece's middle and -1 one piece away from it."""
    place = (mask.cumsum(dim=1) - 0.5) / mask.sum(dim=1, keepdim=True).clamp_min(1)
    middles = (torch.arange(groups, device=mask.device) + 0.5) / groups
    return -((place[:, None] - middles[:, None]) * groups).square()


class Assign(nn.Module):
    """Assigns every token to a group by one attention head (equations 1 to 3), and averages what the groups
    hold.

    Args:
        eps: see `group_means`.
        place: first weight of `place_scores`, which are added to the head's scores; it is learnt. 0 leaves
            them out, as in the paper.
    """

    def __init__(self, width: int, eps: float, place: float = 0.0) -> None:
        super().__init__()
        self.eps = eps
        self.place = nn.Parameter(torch.tensor(place)) if place else None
        self.query, self.key, self.value, self.proj = (nn.Linear(width, width) for _ in range(4))

    def forward(
        self, groups: Tensor, tokens: Tensor, values: Tensor, mask: Tensor, shared: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Groups (B,K,W), tokens and values (B,T,W) -> the groups' contents (B,K,W), and the scores (B,K,T)
        in float32.

        Args:
            shared: (B,T,T), for each token the shares, which sum to 1, of those over which its scores and
                noise are averaged (the noise keeps its spread); None leaves each token alone.
        """
        with torch.autocast(tokens.device.type, enabled=False):
            groups, tokens, values = map(full_precision, (groups, tokens, values))
            raw = self.query(groups) @ self.key(tokens).transpose(1, 2) * tokens.shape[-1] ** -0.5
            if self.place is not None:
                raw = raw + self.place * place_scores(mask, raw.shape[1])
            noise = gumbel_noise(raw) if self.training else None
            if shared is not None:
                shares = shared.to(raw.dtype).transpose(1, 2)
                raw = raw @ shares
                if noise is not None:  # an average of n has a spread of 1 / sqrt(n); this restores it
                    noise = noise @ (shares / shares.norm(dim=1, keepdim=True).clamp_min(1e-6))
            assignment = hard_assignment(raw, noise)
            means = group_means(assignment, self.value(values), mask, self.eps)
            return self.proj(means), raw


class GroupingBlock(nn.Module):
    """GroupViT's grouping block with as many groups out as in: groups are mixed, read all tokens, compete for
    them, and take in their means.

    ``eps`` 1 is GroupViT's: a group of n tokens gets n / (n + 1) of their mean.
    """

    def __init__(self, width: int, heads: int, groups: int, eps: float = 1.0, place: float = 0.0) -> None:
        super().__init__()
        self.norm_tokens, self.norm_post_tokens, self.norm_x = (nn.LayerNorm(width) for _ in range(3))
        self.mlp_inter = Mlp(groups, width // 2)
        self.attn, self.norm2, self.mlp, self.norm_post = (
            Attention(width, heads),
            nn.LayerNorm(width),
            Mlp(width, 4 * width),
            nn.LayerNorm(width),
        )
        self.assign = Assign(width, eps, place)
        self.norm_new_x, self.mlp_channels = nn.LayerNorm(width), Mlp(width, 4 * width)

    def forward(
        self, groups: Tensor, tokens: Tensor, values: Tensor, mask: Tensor, shared: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """See `Assign`."""
        groups, tokens, values = self.norm_tokens(groups), self.norm_x(tokens), self.norm_x(values)
        groups = self.norm_post_tokens(self.mlp_inter(groups.transpose(1, 2)).transpose(1, 2))
        groups = groups + self.attn(groups, tokens, mask[:, None, None])
        groups = self.norm_post(groups + self.mlp(self.norm2(groups)))
        contents, raw = self.assign(groups, tokens, values, mask, shared)
        groups = groups + contents
        return groups + self.mlp_channels(self.norm_new_x(groups)), raw


class MinimalGrouping(nn.Module):
    """The paper's equations 1 to 4 and nothing else: scores, Gumbel soft-max, straight-through, and the
    residual on the encoded groups.
    """

    def __init__(self, width: int, eps: float = 1e-6, place: float = 0.0) -> None:
        super().__init__()
        self.norm_groups, self.norm_x = nn.LayerNorm(width), nn.LayerNorm(width)
        self.assign = Assign(width, eps, place)

    def forward(
        self, groups: Tensor, tokens: Tensor, values: Tensor, mask: Tensor, shared: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """See `Assign`."""
        contents, raw = self.assign(
            self.norm_groups(groups), self.norm_x(tokens), self.norm_x(values), mask, shared
        )
        return groups + contents, raw


class Encoded(NamedTuple):
    """What a text encoder finds: vectors (B,K,W), of which the mean is projected; scores (B,K,T) of the
    groups for each token, None without groups.
    """

    groups: Tensor
    raw: Tensor | None


class TextEncoder(nn.Module):
    """Base of the text encoders: token embedding, positions, the head that projects into the space shared
    with images.

    Args:
        width: W, 128 in the paper.
        vocab_size: V, 49,408 for CLIP's byte pairs.
        max_positions: longest text in tokens.
        embed_dim: E.
        image_width: D, width of the pooled image vectors; 384 for GroupViT's image encoder.
    """

    decoder: Decoder | None

    def __init__(
        self, width: int, vocab_size: int, max_positions: int, embed_dim: int, image_width: int
    ) -> None:
        super().__init__()
        self.width, self.vocab_size, self.max_positions, self.image_width = (
            width,
            vocab_size,
            max_positions,
            image_width,
        )
        self.token_embedding = nn.Embedding(vocab_size, width)
        self.position_embedding = nn.Parameter(torch.zeros(max_positions, width))
        self.text_head = nn.Linear(width, embed_dim)
        self.image_head = nn.Linear(image_width, embed_dim)
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
        """Weights of this project as they are. Raises ValueError for others."""
        if "token_embedding.weight" not in state or "text_head.weight" not in state:
            raise ValueError(
                "no weights of a text encoder of this project: token_embedding.weight or text_head.weight is missing"
            )
        return state

    def embed(self, ids: Tensor) -> Tensor:
        """(B,T) -> (B,T,W). Raises ValueError for texts longer than the positions."""
        if ids.shape[1] > self.max_positions:
            raise ValueError(
                f"a text of {ids.shape[1]} tokens is longer than the {self.max_positions} positions of this model"
            )
        return self.token_embedding(ids) + self.position_embedding[: ids.shape[1]]

    def forward(self, ids: Tensor, mask: Tensor) -> Encoded:
        """ids and mask (B,T), 1 = token."""
        raise NotImplementedError

    def text_feature(self, groups: Tensor) -> Tensor:
        """(B,K,W) -> (B,E), unit length: each vector is projected, then their mean is taken."""
        return F.normalize(full_precision(self.text_head(groups).mean(dim=1)), dim=-1)

    def image_feature(self, vectors: Tensor) -> Tensor:
        """Pooled image vectors (N,D) -> (N,E), unit length."""
        return F.normalize(full_precision(self.image_head(vectors)), dim=-1)


class Decoder(nn.Module):
    """Reads a caption back from its group vectors, word by word: causal self-attention, cross-attention to
    the groups, feed-forward, all of one head.

    Its input and its output words are those of the encoder's embedding (tied).

    Args:
        word_dropout: share of the input words that are hidden in training, the start excepted, so that more
            must be had from the groups; 0 in the paper.
        bottleneck: width to which a group vector is narrowed on its way here; 0 keeps it as it is, as in the
            paper.
    """

    def __init__(self, width: int, word_dropout: float = 0.0, bottleneck: int = 0) -> None:
        super().__init__()
        self.word_dropout = word_dropout
        self.narrow = (
            nn.Sequential(nn.Linear(width, bottleneck), nn.Linear(bottleneck, width))
            if bottleneck
            else nn.Identity()
        )
        self.norm_memory = nn.LayerNorm(width)
        self.block = Block(width, 1, cross=True)
        self.norm = nn.LayerNorm(width)

    def forward(self, words: Tensor, positions: Tensor, groups: Tensor) -> Tensor:
        """Word embeddings (B,T,W), positions (T,W), groups (B,K,W) -> hidden states (B,T,W), whose product
        with the embedding are the logits.
        """
        if self.training and self.word_dropout:
            hidden = torch.rand(words.shape[:2], device=words.device) < self.word_dropout
            hidden[:, 0] = False
            words = words.masked_fill(hidden[..., None], 0.0)
        return self.norm(
            self.block(words + positions, causal=True, memory=self.norm_memory(self.narrow(groups)))
        )


class TextGroupTransformer(TextEncoder):
    """Encoder layers over tokens and K learned group vectors, a grouping block, encoder layers over the
    groups.

    The defaults are the paper's. In small trials on Flickr30k's captions (reconstruction alone, width 64, 2 +
    1 layers, 800 steps; docs/results.md) contiguous, meaningful groups emerged where groups can say nothing
    that their own words do not say (``isolated="all"``, ``grouping="minimal"``, ``values="embedded"``), may
    be entered gently (``assign_eps=1``; with the literal 1e-6 one group takes all), are all in use from the
    start (``place=2``; else one or two of four remain), and reach the decoder through a narrow way
    (``bottleneck=4``; else boundaries move to where words are easiest to put in order), with some balance.
    Best of all, they hold whole units (`know_openers`), so that boundaries lie at openers. (Rarely within a
    word, if its last byte pair is written like one.)

    Args:
        groups: K.
        width, heads: of all encoder layers; 128 and 4 in the paper.
        depth: layers before the grouping block. group_depth: layers after it, over the groups alone. 6 and 3
            in the paper.
        isolated: of the layers before the grouping block so many keep tokens and groups apart: tokens attend
            to tokens, groups to groups. 0 is the paper's; ``all`` makes the groups mere queries until the
            grouping block.
        grouping: ``groupvit``, GroupViT's whole block (the paper's figure shows the same blocks for both
            sides); ``minimal``, equations 1 to 4 literally.
        values: what the groups take from their tokens: the ``encoded`` ones, or ``embedded``, the tokens as
            they came in. Equation 4 prints the latter, which reads like a misprint of the former; but only
            with it does a group hold its own words and nothing of the others.
        word_dropout, bottleneck: of the `Decoder`.
        assign_eps: added to the number of a group's tokens when its mean is taken; None is 1 for
            ``groupvit``, 1e-6 for ``minimal``. With 1e-6 the gradient of the first token that could enter an
            empty group is a million times too large.
        reach: neighbours on either side over which scores and noise are averaged (the noise keeps its
            spread), so that neighbours tend to go together; 0 in the paper. Where openers are known
            (`know_openers`), the tokens of a unit share scores and noise instead.
        place: with it the groups begin as K equal contiguous pieces, whose boundaries are then learnt (see
            `Assign`); 0 in the paper.
        position_std, group_std: of the first positions and group vectors; GroupViT's by default. With larger
            ones groups differ by place from the start.
        vocab_size, max_positions, embed_dim, image_width: see `TextEncoder`.

    Raises:
        ValueError: when sizes do not fit.
    """

    opens: Tensor | None

    def __init__(
        self,
        groups: int = 4,
        width: int = 128,
        heads: int = 4,
        depth: int = 6,
        group_depth: int = 3,
        isolated: int | Literal["all"] = 0,
        grouping: Grouping = "groupvit",
        values: Values = "encoded",
        word_dropout: float = 0.0,
        bottleneck: int = 0,
        assign_eps: float | None = None,
        reach: int = 0,
        place: float = 0.0,
        position_std: float = 0.01,
        group_std: float = 0.02,
        vocab_size: int = 49408,
        max_positions: int = 77,
        embed_dim: int = 256,
        image_width: int = 384,
    ) -> None:
        if width % heads:
            raise ValueError(f"a width of {width} cannot be divided among {heads} heads")
        isolated = depth if isolated == "all" else isolated
        if groups < 1 or not 0 <= isolated <= depth:
            raise ValueError(
                f"groups must be at least 1 and isolated between 0 and depth, not {groups}, {isolated} and {depth}"
            )
        super().__init__(width, vocab_size, max_positions, embed_dim, image_width)
        self.groups, self.isolated, self.values, self.reach = groups, isolated, values, reach
        self.register_buffer("opens", None, persistent=False)  # like the words themselves, no weights
        self.group_tokens = nn.Parameter(torch.zeros(groups, width))
        self.layers = nn.ModuleList(Block(width, heads) for _ in range(depth))
        block = (
            partial(GroupingBlock, width, heads, groups)
            if grouping == "groupvit"
            else partial(MinimalGrouping, width)
        )
        self.grouping = block(place=place) if assign_eps is None else block(eps=assign_eps, place=place)
        self.group_layers = nn.ModuleList(Block(width, heads) for _ in range(group_depth))
        self.norm = nn.LayerNorm(width)
        self.decoder = Decoder(width, word_dropout, bottleneck)
        self.initialise()
        nn.init.normal_(self.position_embedding, std=position_std)
        nn.init.trunc_normal_(self.group_tokens, std=group_std)

    def know_openers(self, ids: Sequence[int]) -> None:
        """Tells the words that open a new part of a caption (`metrics.token_groups.find_openers`), at which
        captions are cut into units; none: no units.
        """
        of_vocabulary = torch.arange(self.vocab_size, device=self.group_tokens.device)
        self.opens = torch.isin(of_vocabulary, of_vocabulary[list(ids)]) if ids else None

    def shared(self, ids: Tensor, mask: Tensor) -> Tensor | None:
        """ids and mask (B,T) -> which tokens share their scores, see `Assign`."""
        if self.opens is not None:
            return units_shared(unit_of_token(self.opens[ids], mask), mask)
        return neighbours_shared(mask, self.reach) if self.reach else None

    def forward(self, ids: Tensor, mask: Tensor) -> Encoded:
        """ids and mask (B,T), 1 = token -> group vectors (B,K,W) after the last norm, and scores (B,K,T)."""
        mask = mask.bool()
        embedded = self.embed(ids)
        batch, length, _ = embedded.shape
        x = torch.cat([embedded, self.group_tokens.expand(batch, -1, -1)], dim=1)
        together = F.pad(mask, (0, self.groups), value=True)[:, None, None]
        is_group = torch.arange(x.shape[1], device=x.device) >= length
        apart = together & (is_group[:, None] == is_group)
        for number, layer in enumerate(self.layers):
            x = layer(x, apart if number < self.isolated else together)
        tokens, groups = x[:, :length], x[:, length:]
        groups, raw = self.grouping(
            groups, tokens, tokens if self.values == "encoded" else embedded, mask, self.shared(ids, mask)
        )
        for layer in self.group_layers:
            groups = layer(groups)
        return Encoded(self.norm(groups), raw)

    def decode(self, ids: Tensor, groups: Tensor) -> Tensor:
        """Teacher forcing: ids (B,T) and groups (B,K,W) -> hidden states (B,T-1,W) that predict ``ids[:,
        1:]``.
        """
        assert self.decoder is not None
        return self.decoder(
            self.token_embedding(ids[:, :-1]), self.position_embedding[: ids.shape[1] - 1], groups
        )


class CausalTransformer(TextEncoder):
    """The paper's ``transformer`` baseline: causal layers without groups, the vector of the last token
    (CLIP's text encoder in small).

    Args:
        width, heads, depth: 128, 4 and 9 in the paper.
        vocab_size, max_positions, embed_dim, image_width: see `TextEncoder`.
    """

    def __init__(
        self,
        width: int = 128,
        heads: int = 4,
        depth: int = 9,
        vocab_size: int = 49408,
        max_positions: int = 77,
        embed_dim: int = 256,
        image_width: int = 384,
    ) -> None:
        if width % heads:
            raise ValueError(f"a width of {width} cannot be divided among {heads} heads")
        super().__init__(width, vocab_size, max_positions, embed_dim, image_width)
        self.layers = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.initialise()

    def token_vectors(self, ids: Tensor) -> Tensor:
        """(B,T) -> (B,T,W) after the last norm: what the clustering baselines cluster."""
        x = self.embed(ids)
        for layer in self.layers:
            x = layer(x, causal=True)  # padding stands behind every token, so no token sees it
        return self.norm(x)

    def forward(self, ids: Tensor, mask: Tensor) -> Encoded:
        """ids and mask (B,T) -> the last token's vector (B,1,W), no scores."""
        last = mask.long().sum(dim=1) - 1
        vectors = self.token_vectors(ids)
        return Encoded(vectors[torch.arange(len(ids), device=ids.device), last][:, None], None)
