"""BERT's language head, masked or causal, tied to the word embeddings, under the official key names.

Legend: W text width, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from networks.layers.bert import BertModel, init_bert_weights


class PredictionTransform(nn.Module):
    """Dense, GELU, norm: (...,W) -> (...,W)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.LayerNorm = nn.LayerNorm(width, eps=1e-12)

    def forward(self, hidden: Tensor) -> Tensor:
        """(...,W) -> (...,W)."""
        return self.LayerNorm(F.gelu(self.dense(hidden)))


class Predictions(nn.Module):
    """The language head; its decoder is the word embedding, and ``bias`` is known under two names."""

    def __init__(self, word_embeddings: nn.Embedding) -> None:
        super().__init__()
        vocab_size, width = word_embeddings.weight.shape
        self.transform = PredictionTransform(width)
        self.decoder = nn.Linear(width, vocab_size)
        self.decoder.weight = word_embeddings.weight
        self.bias = nn.Parameter(torch.zeros(vocab_size))
        self.decoder.bias = self.bias
        init_bert_weights(self.transform, width)

    def forward(self, hidden: Tensor) -> Tensor:
        """(...,W) -> (...,V)."""
        return self.decoder(self.transform(hidden))


class LanguageHead(nn.Module):
    """The language head, under its official name."""

    def __init__(self, word_embeddings: nn.Embedding) -> None:
        super().__init__()
        self.predictions = Predictions(word_embeddings)

    def forward(self, hidden: Tensor) -> Tensor:
        """(...,W) -> (...,V)."""
        return self.predictions(hidden)


class BertWithHead(nn.Module):
    """A `BertModel` and its language head: ``bert.*`` and ``cls.predictions.*``."""

    def __init__(self, bert: BertModel) -> None:
        super().__init__()
        self.bert = bert
        self.cls = LanguageHead(bert.embeddings.word_embeddings)
