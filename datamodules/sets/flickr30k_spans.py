"""Phrases of Flickr30k captions as spans over their words, to judge how a model groups words.

Two forms: the official layout of Flickr30k Entities (`flickr30k_entities`), in which *every* phrase is
marked, whether it has a box or not; and a file of JSON lines
``{"image", "tokens": [...], "phrases": [{"start", "end", "phrase"}]}`` (plain or gzip; the end is exclusive).
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from datamodules.base import GroundingDataModule, Split
from datamodules.errors import DataError, DatasetNotFoundError
from datamodules.kinds.spans import SpanSource
from datamodules.sets import flickr30k_files
from datamodules.sets.flickr30k_entities import PHRASE, plain_caption
from datamodules.storage.layout import Layout, SplitCounts
from datamodules.storage.local_copy import LocalCopy
from datamodules.storage.text_files import as_text, listed_names

NOT_VISUAL = "0"  # chain of phrases that name nothing to be seen

OFFICIAL_FILES = (flickr30k_files.SENTENCES, *flickr30k_files.split_lists("val", "test"))

LAYOUT = Layout(
    name="Flickr30kSpans",
    title="Flickr30k spans: the phrases of Flickr30k Entities, without photographs",
    page=flickr30k_files.ANNOTATIONS_PAGE,
    licence=flickr30k_files.LICENCE,
    size="unknown, but small",
    root="data/flickr30k_entities",
    parts=tuple(replace(part, replaced_by=("val_file", "test_file")) for part in OFFICIAL_FILES),
    judged_on="phrases as spans of words",
    counts=(
        SplitCounts("val", 5_000, unit="captions", note="of 1,000 images"),
        SplitCounts("test", 5_000, unit="captions", note="of 1,000 images"),
    ),
)


class CaptionSpans(NamedTuple):
    """A caption and its phrases: (start, end) over the words, the end exclusive."""

    key: str
    words: list[str]
    spans: list[tuple[int, int]]


def phrase_spans(sentence: str, not_visual: bool = True) -> tuple[list[str], list[tuple[int, int]]]:
    """A line of ``Sentences`` -> its whitespace words and the spans of its phrases. A word that only partly
    belongs to a phrase belongs to it.

    Args:
        sentence: with its markup.
        not_visual: whether phrases of the chain ``EN#0`` count.

    Raises:
        DataError: the markup is broken.
    """
    plain_caption(sentence)
    plain = ""  # the sentence without its markup, as far as it is read
    marked = []  # first and last character + 1 of each phrase in it
    end = 0  # of what is read of the sentence
    for match in PHRASE.finditer(sentence):
        plain += sentence[end : match.start()]
        phrase = match["words"].strip()
        if phrase and (not_visual or match["chain"] != NOT_VISUAL):
            marked.append((len(plain), len(plain) + len(phrase)))
        plain += phrase
        end = match.end()
    plain += sentence[end:]
    words = list(re.finditer(r"\S+", plain))
    spans = []
    for start, stop in marked:
        covered = [number for number, word in enumerate(words) if word.start() < stop and word.end() > start]
        spans.append((covered[0], covered[-1] + 1))
    return [word[0] for word in words], spans


class SpanList(SpanSource):
    """Captions with spans, held in memory; those without a span are left out.

    Args:
        captions: all that can be read.
        broken: a line for each that cannot.
    """

    def __init__(self, captions: list[CaptionSpans], broken: list[str]) -> None:
        self.captions = [caption for caption in captions if caption.spans]
        self.broken = broken
        self.left_out = {"no phrase is marked": len(captions) - len(self.captions)}

    def __len__(self) -> int:
        return len(self.captions)

    @property
    def number_of_queries(self) -> int:
        """Phrases in all."""
        return sum(len(caption.spans) for caption in self.captions)

    def key(self, index: int) -> str:
        """The image, and the number of its caption."""
        return self.captions[index].key

    def words(self, index: int) -> list[str]:
        """The caption's words."""
        return self.captions[index].words

    def spans(self, index: int) -> list[tuple[int, int]]:
        """(start, end) of each phrase over the words, the end exclusive."""
        return self.captions[index].spans


class EntitiesSpans(SpanList):
    """The captions of one split of Flickr30k Entities that have a phrase. Images are not needed.

    Args:
        root: folder with ``Sentences/`` and ``<split>.txt``, or with ``flickr30k_entities/`` that holds them.
        split: name of the list.
        not_visual: whether phrases of the chain ``EN#0`` count. The 3.5 phrases a caption of the paper on
            text group discovery are met with them (3.52; without 3.33).

    Raises:
        DatasetNotFoundError: a part of the layout is missing.
        DataError: no caption of the split has a phrase.
    """

    def __init__(self, root: Path, split: str, not_visual: bool = True) -> None:
        folder = root / "flickr30k_entities" if (root / "flickr30k_entities").is_dir() else root
        listing = root / f"{split}.txt"
        if not listing.exists():
            listing = folder / f"{split}.txt"
        LocalCopy(LAYOUT, root).require(folder / "Sentences", listing)
        captions: list[CaptionSpans] = []
        broken: list[str] = []
        for image in listed_names(listing):
            path = folder / "Sentences" / f"{image}.txt"
            try:
                lines = path.read_text(encoding="utf-8").splitlines()
            except (OSError, UnicodeDecodeError) as error:
                broken.append(f"{image}\t{path}: not readable ({error})")
                continue
            for number, line in enumerate(lines):
                try:
                    words, spans = phrase_spans(line, not_visual)
                except DataError as error:
                    broken.append(f"{image}/{number}\t{error}")
                    continue
                captions.append(CaptionSpans(f"{image}/{number}", words, spans))
        super().__init__(captions, broken)
        if not self.captions:
            raise DataError(
                f"{listing} names no image with a marked phrase; it must hold one image id a line."
            )


class SpanFile(SpanList):
    """The captions of a file of JSON lines that have a phrase.

    Raises:
        DatasetNotFoundError: the file is missing.
        DataError: it cannot be read, or no caption has a phrase.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise DatasetNotFoundError(
                "Flickr30k spans",
                path,
                'JSON lines {"image", "tokens", "phrases": [{"start", "end"}]}',
                "Set --data.val_file and --data.test_file.",
            )
        captions: list[CaptionSpans] = []
        broken: list[str] = []
        captions_of_image: Counter[str] = Counter()
        for number, line in enumerate(_lines(path), start=1):
            if not line.strip():
                continue
            try:
                image, words, spans = parse_line(line)
            except (ValueError, KeyError, TypeError) as error:
                reason = f"no caption with spans ({type(error).__name__}: {error})"
                broken.append(f"{path.name}:{number}\t{reason}")
                continue
            # Several captions of an image are told apart by their order.
            captions.append(CaptionSpans(f"{image}/{captions_of_image[image]}", words, spans))
            captions_of_image[image] += 1
        super().__init__(captions, broken)
        if not self.captions:
            raise DataError(f"{path} holds no caption with a phrase.")


def parse_line(line: str) -> tuple[str, list[str], list[tuple[int, int]]]:
    """A JSON line -> the image's name, the words, and the spans of the phrases.

    Raises:
        ValueError, KeyError, TypeError: it is no such line, or a span lies outside of the words.

    Example:
        >>> parse_line('{"image": 1, "tokens": ["a", "dog"], "phrases": [{"start": 0, "end": 2}]}')
        ('1', ['a', 'dog'], [(0, 2)])
    """
    row = json.loads(line)
    words = [as_text(word, "word") for word in row["tokens"]]
    spans = [(int(phrase["start"]), int(phrase["end"])) for phrase in row["phrases"]]
    if any(not 0 <= start < end <= len(words) for start, end in spans):
        raise ValueError(f"a span of {spans} lies outside of {len(words)} words")
    return str(row["image"]), words, spans


def _lines(path: Path) -> Iterator[str]:
    open_text = gzip.open if path.suffix == ".gz" else open
    try:
        with open_text(path, "rt", encoding="utf-8") as file:
            yield from file
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise DataError(f"{path}: not readable ({type(error).__name__}: {error}).") from error


class Flickr30kSpans(GroundingDataModule):
    """Flickr30k captions with the spans of their phrases.

    Args:
        root: folder of Flickr30k Entities; the val split has 1,000 images with five captions each.
        val_file, test_file: files of JSON lines, instead of the splits of ``root``.
        not_visual: whether phrases of the chain ``EN#0`` count; only known in the official layout.
        kwargs: as for `GroundingDataModule`.
    """

    name = "flickr30k_spans"
    layout = LAYOUT

    def __init__(
        self,
        root: Path = Path("data/flickr30k_entities"),
        val_file: Path | None = None,
        test_file: Path | None = None,
        not_visual: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.root = Path(root)
        self.not_visual = not_visual
        self.files = {"val": val_file, "test": test_file}

    def evaluation_source(self, split: Split) -> SpanList:
        """The captions of a split that have a phrase."""
        path = self.files.get(split)
        if path:
            return SpanFile(Path(path))
        return EntitiesSpans(self.root, split, self.not_visual)
