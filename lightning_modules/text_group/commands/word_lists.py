"""Lists of words and byte pairs, counted in captions, that a text group model may be given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from datamodules.sets.caption_vectors import CaptionList
from lightning_modules.text_group.tokenizer import CLIPTokenizer
from metrics.token_groups import find_openers


def words_of(captions: list[Path]) -> Iterator[list[str]]:
    """The words of each caption in files of captions.

    Raises:
        DataError: a file is missing or damaged.
    """
    source = CaptionList(captions)
    for index in range(len(source)):
        for text in source.captions(index):
            yield text.split()


def write_vocabulary(captions: list[Path], path: Path, at_least: int) -> str:
    """Lists the byte pairs that occur in captions, the most frequent first.

    Args:
        captions: files of captions.
        path: of the list.
        at_least: how often a byte pair must occur.

    Returns:
        One sentence about it.
    """
    tokenizer = CLIPTokenizer()
    counts = Counter[int]()
    for words in words_of(captions):
        for word in words:
            counts.update(tokenizer.pieces(word))
    kept = [piece for piece, count in counts.most_common() if count >= at_least]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(map(str, kept)) + "\n")
    covered = sum(counts[piece] for piece in kept) / max(1, counts.total())
    return (
        f"{len(kept):,} of {len(counts):,} pieces ({covered:.2%} of all tokens) written to {path}; set "
        f"network.size.vocab_size to {len(kept) + 4}"
    )


def write_openers(captions: list[Path], path: Path, count: int) -> str:
    """Lists the words that open a new part of a caption, best first.

    Args:
        captions: files of captions.
        path: of the list.
        count: number of words.

    Returns:
        One sentence about it.
    """
    openers = find_openers(words_of(captions), count)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(openers) + "\n", encoding="utf-8")
    return f"{len(openers)} openers written to {path}: {' '.join(openers)}"
