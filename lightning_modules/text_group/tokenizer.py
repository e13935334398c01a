"""Captions to tokens that remember their words: CLIP's byte pairs, or a vocabulary of one's own."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lightning_modules.errors import ModelError
from lightning_modules.project_files import project_file
from lightning_modules.vocabulary import read_vocabulary, vocabulary_digest
from networks.layers.tokenizer import WordPieceTokenizer


class Pieces(NamedTuple):
    """B captions as tokens.

    Attributes:
        ids: (B,T) long, padded with 0, which is a token's id, too.
        mask: (B,T) bool, true at tokens.
        words: for each caption the word of every token between its start and its end.
    """

    ids: Tensor
    mask: Tensor
    words: list[list[int]]

    def split(self, size: int) -> list[Pieces]:
        """Parts of ``size`` captions, each no longer than its longest."""
        parts = []
        for start in range(0, len(self.ids), size):
            rows = slice(start, start + size)
            longest = max(len(words) for words in self.words[rows]) + 2
            parts.append(Pieces(self.ids[rows, :longest], self.mask[rows, :longest], self.words[rows]))
        return parts


class Tokenizer:
    """Base of the tokenizers: ``start, pieces of the words, end``. A word is what stands between blanks.

    Args:
        start_id: of the token before a caption.
        end_id: of the token behind it.
        vocab_size: number of ids.
        digest: a short fingerprint of the vocabulary.

    Attributes:
        unknown_id: what stands for pieces that the vocabulary lacks, if there is such a token.
    """

    unknown_id: int | None = None

    def __init__(self, start_id: int, end_id: int, vocab_size: int, digest: str) -> None:
        self.start_id = start_id
        self.end_id = end_id
        self.vocab_size = vocab_size
        self.digest = digest

    def pieces(self, word: str) -> Sequence[int]:
        """The ids of one word; none for a word of nothing but what the vocabulary ignores."""
        raise NotImplementedError

    def __call__(
        self, captions: Sequence[str], max_tokens: int = 77, device: torch.device | str | None = None
    ) -> Pieces:
        """Captions to tokens.

        Args:
            captions: B texts.
            max_tokens: of a longer caption (start and end included) the rest is cut off.
            device: of the tensors.
        """
        rows: list[list[int]] = []
        words: list[list[int]] = []
        for caption in captions:
            pieces: list[int] = []
            word_of_piece: list[int] = []
            for number, word in enumerate(caption.split()):
                pieces_of_word = self.pieces(word)
                pieces += pieces_of_word
                word_of_piece += [number] * len(pieces_of_word)
            rows.append([self.start_id, *pieces[: max_tokens - 2], self.end_id])
            words.append(word_of_piece[: max_tokens - 2])
        lengths = torch.tensor([len(row) for row in rows], dtype=torch.long)
        longest = max(map(len, rows), default=2)
        padded = [row + [0] * (longest - len(row)) for row in rows]
        ids = torch.tensor(padded, dtype=torch.long).view(-1, longest)
        mask = torch.arange(longest) < lengths[:, None]
        return Pieces(ids.to(device), mask.to(device), words)


class CLIPTokenizer(Tokenizer):
    """CLIP's 49,408 byte pairs, lower-cased; open_clip ships them.

    They never cross a blank, so a caption's pieces are those of its words in a row.
    """

    def __init__(self) -> None:
        super().__init__(49406, 49407, 49408, "clip")

    def pieces(self, word: str) -> Sequence[int]:
        """See `Tokenizer.pieces`."""
        return _clip_pieces(word)


@cache
def _open_clip() -> Any:
    try:
        from open_clip.tokenizer import SimpleTokenizer  # here, since importing open_clip takes seconds
    except ImportError as error:
        raise ModelError(
            "CLIP's byte pairs come with open_clip: `pip install open_clip_torch`, or set "
            "--model.text.vocabulary to a file."
        ) from error
    return SimpleTokenizer()


@lru_cache(maxsize=1 << 17)
def _clip_pieces(word: str) -> tuple[int, ...]:
    return tuple(_open_clip().encode(word))


class ChosenPieces(Tokenizer):
    """Some of CLIP's byte pairs, behind four special tokens; all others are one unknown token.

    Small data use a fifth of CLIP's vocabulary, and the vocabulary is most of the work.

    Args:
        ids: CLIP's ids of the pairs, in the order of their new ids.
    """

    SPECIAL = 4  # padding, unknown, start, end
    unknown_id = 1

    def __init__(self, ids: Sequence[int]) -> None:
        digest = hashlib.sha256(",".join(map(str, ids)).encode()).hexdigest()[:16]
        super().__init__(2, 3, len(ids) + self.SPECIAL, digest)
        self.index = {piece: number for number, piece in enumerate(ids, self.SPECIAL)}

    def pieces(self, word: str) -> Sequence[int]:
        """See `Tokenizer.pieces`."""
        return [self.index.get(piece, self.unknown_id) for piece in _clip_pieces(word)]


class WordPieces(Tokenizer):
    """A vocabulary in BERT's form.

    Args:
        path: of a file with one token a line.

    Raises:
        ModelError: no such file, or one without the special tokens.
    """

    def __init__(self, path: Path) -> None:
        tokens = read_vocabulary(path, "--model.text.vocabulary")
        if "[SEP]" not in tokens:
            raise ModelError(f"{path} has no [SEP], with which a caption ends here.")
        super().__init__(tokens.index("[CLS]"), tokens.index("[SEP]"), len(tokens), vocabulary_digest(tokens))
        self.unknown_id = tokens.index("[UNK]")
        self.tokenizer = WordPieceTokenizer(tokens)
        self.cache: dict[str, list[int]] = {}

    def pieces(self, word: str) -> Sequence[int]:
        """See `Tokenizer.pieces`."""
        if word not in self.cache:
            self.cache[word] = self.tokenizer([word], None).ids[0, 1:].tolist()
        return self.cache[word]


def tokenizer_of(vocabulary: Path | None) -> Tokenizer:
    """The tokenizer of a vocabulary.

    Args:
        vocabulary: None for CLIP's byte pairs; a file of numbers, one a line, for those of CLIP's byte pairs
            (`python cli.py spans --write_vocabulary` makes one from captions); any other file is a vocabulary
            in BERT's form.

    Raises:
        ModelError: no such file, or one of another kind.
    """
    if vocabulary is None:
        return CLIPTokenizer()
    path = project_file(vocabulary)
    lines = path.read_text(encoding="utf-8").split() if path.is_file() else []
    if lines and all(line.isdigit() for line in lines):
        return ChosenPieces([int(line) for line in lines])
    return WordPieces(path)


def read_openers(path: Path) -> list[str]:
    """The words that open a new unit of a caption, in lower case.

    Args:
        path: of a file with one word a line; `python cli.py spans --write_openers` makes one from captions.

    Raises:
        ModelError: no such file.
    """
    if not path.is_file():
        raise ModelError(
            f"no file of openers at {path}; make it with `python cli.py spans --write_openers {path} "
            "--captions FILE`."
        )
    return path.read_text(encoding="utf-8").lower().split()


def opener_ids(openers: Sequence[str], tokenizer: Tokenizer) -> list[int]:
    """The tokens of words; words of several tokens are left out.

    Raises:
        ModelError: none of the words is a token.
    """
    ids = []
    for word in openers:
        pieces = tokenizer.pieces(word)
        if len(pieces) == 1 and pieces[0] != tokenizer.unknown_id:
            ids.append(pieces[0])
    if not ids:
        raise ModelError(
            f"none of the {len(openers)} openers is a token of the vocabulary; make their file from captions "
            "of the same kind."
        )
    return ids
