"""Phrases of Flickr30k captions as spans over their words, to judge how a model groups words.

Two forms: the official layout of Flickr30k Entities (`flickr30k_entities`), in which *every* phrase is
    marked, whether it has a box or not; and a file of
json lines ``{"image", "tokens": [...], "phrases": [{"start", "end", "phrase"}]}`` (plain or gzip; the end is
exclusive).
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from datamodules.base import GroundingDataModule, Split
from datamodules.errors import DataError, DatasetNotFoundError, require_paths
from datamodules.kinds.spans import SpanSource
from datamodules.sets.flickr30k_entities import PHRASE, REMEDY
from datamodules.storage.label_maps import listed_names

NOT_VISUAL = "0"  # chain of phrases that name nothing to be seen


class Spans(NamedTuple):
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
    plain, marked, end = "", [], 0
    for match in PHRASE.finditer(sentence):
        plain += sentence[end : match.start()]
        phrase = match["words"].strip()
        if phrase and (not_visual or match["chain"] != NOT_VISUAL):
            marked.append((len(plain), len(plain) + len(phrase)))
        plain, end = plain + phrase, match.end()
    plain += sentence[end:]
    if "[/EN#" in plain:
        raise DataError(f"the markup of a phrase is broken: {plain.strip()[:80]!r}")
    words = list(re.finditer(r"\S+", plain))
    spans = []
    for start, stop in marked:
        covered = [n for n, word in enumerate(words) if word.start() < stop and word.end() > start]
        spans.append((covered[0], covered[-1] + 1))
    return [word[0] for word in words], spans


class SpanList(SpanSource):
    """Captions with spans, held in memory."""

    def __init__(self, captions: list[Spans], broken: list[str]) -> None:
        self.captions, self.broken = captions, broken

    def __len__(self) -> int:
        return len(self.captions)

    @property
    def number_of_queries(self) -> int:
        return sum(len(caption.spans) for caption in self.captions)

    def key(self, index: int) -> str:
        return self.captions[index].key

    def words(self, index: int) -> list[str]:
        return self.captions[index].words

    def spans(self, index: int) -> list[tuple[int, int]]:
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
        listing = root / f"{split}.txt" if (root / f"{split}.txt").exists() else folder / f"{split}.txt"
        for path in (root, folder / "Sentences", listing):
            if not path.exists():
                raise DatasetNotFoundError(
                    "Flickr30k Entities", path, "Sentences/ and train.txt, val.txt, test.txt", REMEDY
                )
        captions, broken = [], []
        for image in listed_names(listing):
            path = folder / "Sentences" / f"{image}.txt"
            try:
                lines = path.read_text(encoding="utf-8").splitlines()
            except (OSError, UnicodeDecodeError) as error:
                broken.append(f"{image}\t{path}: not readable ({error})")
                continue
            for n, line in enumerate(lines):
                try:
                    words, spans = phrase_spans(line, not_visual)
                except DataError as error:
                    broken.append(f"{image}/{n}\t{error}")
                    continue
                if spans:
                    captions.append(Spans(f"{image}/{n}", words, spans))
        if not captions:
            raise DataError(
                f"{listing} names no image with a marked phrase; it must hold one image id a line."
            )
        super().__init__(captions, broken)


class SpanFile(SpanList):
    """The captions of a file of json lines that have a phrase.

    Raises:
        DatasetNotFoundError: the file is missing.
        DataError: it cannot be read, or no caption has a phrase.
    """

    def __init__(self, path: Path) -> None:
        require_paths(
            "Flickr30k spans",
            path,
            [],
            'json lines {"image", "tokens", "phrases": [{"start", "end"}]}',
            "Set --data.val_file and --data.test_file.",
        )
        captions, broken = [], []
        seen: dict[str, int] = {}
        for n, line in enumerate(_lines(path), start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                words, spans = (
                    [str(word) for word in row["tokens"]],
                    [(int(phrase["start"]), int(phrase["end"])) for phrase in row["phrases"]],
                )
                if any(not 0 <= start < end <= len(words) for start, end in spans):
                    raise ValueError(f"a span of {spans} lies outside of {len(words)} words")
                image = str(row["image"])
            except (ValueError, KeyError, TypeError) as error:
                broken.append(f"{path.name}:{n}\tno caption with spans ({type(error).__name__}: {error})")
                continue
            seen[image] = (
                seen.get(image, -1) + 1
            )  # several captions of an image are told apart by their order
            if spans:
                captions.append(Spans(f"{image}/{seen[image]}", words, spans))
        if not captions:
            raise DataError(f"{path} holds no caption with a phrase.")
        super().__init__(captions, broken)


def _lines(path: Path) -> Iterator[str]:
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8")
            if path.suffix == ".gz"
            else path.open(encoding="utf-8") as file
        ):
            yield from file
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise DataError(f"{path}: not readable ({type(error).__name__}: {error}).") from error


class Flickr30kSpans(GroundingDataModule):
    """Flickr30k captions with the spans of their phrases.

    Args:
        root: folder of Flickr30k Entities; the val split has 1,000 images with five captions each.
        val_file, test_file: files of json lines, instead of the splits of ``root``.
        not_visual: whether phrases of the chain ``EN#0`` count; only known in the official layout.
        kwargs: as for `GroundingDataModule`.
    """

    name = "flickr30k_spans"

    def __init__(
        self,
        root: Path = Path("data/flickr30k_entities"),
        val_file: Path | None = None,
        test_file: Path | None = None,
        not_visual: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.root, self.not_visual = Path(root), not_visual
        self.files = {"val": val_file, "test": test_file}

    def caption_source(self) -> None:
        return None

    def evaluation_source(self, split: Split) -> SpanList:
        path = self.files.get(split)
        return SpanFile(Path(path)) if path else EntitiesSpans(self.root, split, self.not_visual)
