"""Words to token ids: BERT's WordPiece as ALBEF and BLIP feed it, and the two ways in which they clean a text
before.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from torch import Tensor

ALBEF_CLEANING = str.maketrans("-/", "  ", ",.'!?\"()*#:;~")
BLIP_CLEANING = str.maketrans(dict.fromkeys('.!"()*#:;~', " "))


def pre_caption(text: str, max_words: int) -> str:
    """ALBEF's cleaning: lower case, punctuation deleted, ``-`` and ``/`` to blanks, ``<person>`` to
    ``person``, the first ``max_words`` words.

    ``max_words`` is 30 in ALBEF, 50 in AMC and SelfEQ.
    """
    return _first_words(text.lower().translate(ALBEF_CLEANING).replace("<person>", "person"), max_words)


def pre_caption_blip(text: str, max_words: int) -> str:
    """BLIP's cleaning: lower case, punctuation to blanks except for ``, ' ? - /``, which stay, the first
    ``max_words`` words.
    """
    return _first_words(text.lower().translate(BLIP_CLEANING), max_words)


def _first_words(text: str, max_words: int) -> str:
    return " ".join(re.sub(r"\s{2,}", " ", text).strip().split(" ")[:max_words])


class Tokens(NamedTuple):
    """``ids`` (B,T) long, padded to the longest text; ``mask`` (B,T) long, 1 = token, 0 = padding."""

    ids: Tensor
    mask: Tensor


class WordPieceTokenizer:
    """Lower-casing WordPiece that writes ``[CLS] x``.

    ALBEF was trained without a closing [SEP], unlike stock BERT and BLIP, which is silent when wrong.

    Args:
        tokens: the vocabulary in the order of its ids.
        add_sep: whether to close with [SEP], as BLIP does.

    Raises:
        ValueError: when the vocabulary lacks a special token that is needed.
    """

    def __init__(self, tokens: list[str], add_sep: bool = False) -> None:
        vocabulary = {token: index for index, token in enumerate(tokens)}
        needed = ["[PAD]", "[UNK]", "[CLS]", "[MASK]"] + ["[SEP]"] * add_sep
        missing = [token for token in needed if token not in vocabulary]
        if missing:
            raise ValueError(
                f"the vocabulary of {len(tokens)} tokens lacks {', '.join(missing)}, "
                "so it is not one of BERT's"
            )
        self.vocab_size = len(tokens)
        self.pad_id, self.cls_id, self.mask_id = (vocabulary[token] for token in ("[PAD]", "[CLS]", "[MASK]"))
        self.closing_ids = [vocabulary["[SEP]"]] if add_sep else []
        self._tokenizer = Tokenizer(
            models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100)
        )
        self._tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
        self._tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        self._tokenizer.decoder = decoders.WordPiece()
        # A special token that stands literally in a text is itself, as in the reference tokenizers.
        self._tokenizer.add_special_tokens([token for token in [*needed, "[SEP]"] if token in vocabulary])

    def decode(self, ids: Tensor) -> str:
        """The text of token ids (T,), without special tokens."""
        return self._tokenizer.decode(ids.tolist())

    def __call__(
        self, texts: list[str], max_length: int | None = 25, device: torch.device | str | None = None
    ) -> Tokens:
        """Cleaned texts to tokens; ``max_length`` counts the special ones, None cuts nothing. A text without
        words is its special tokens alone.

        Raises ValueError when ``max_length`` has no room for those.
        """
        room = None if max_length is None else max_length - 1 - len(self.closing_ids)
        if room is not None and room < 0:
            raise ValueError(f"a text of at most {max_length} tokens has no room for its special tokens")
        encodings = self._tokenizer.encode_batch(texts, add_special_tokens=False)
        rows = [[self.cls_id, *encoding.ids[:room], *self.closing_ids] for encoding in encodings]
        longest = max(map(len, rows), default=1)
        ids = torch.tensor(
            [row + [self.pad_id] * (longest - len(row)) for row in rows], dtype=torch.long
        ).view(-1, longest)
        lengths = torch.tensor([len(row) for row in rows], dtype=torch.long)
        mask = (torch.arange(longest) < lengths[:, None]).long()
        return Tokens(ids.to(device), mask.to(device))
