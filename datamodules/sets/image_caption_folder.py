"""Any folder of images with a file of captions: what a user with data of their own has.

Captions are a CSV or TSV file with the columns ``image`` and ``caption`` (a row a caption), or JSON lines
such as ``{"image": "a.jpg", "captions": ["a dog on a sofa", ...]}`` or ``{"image": "a.jpg", "caption": "a dog
on a sofa"}``. Who has boxes, too, can be judged on JSON lines ``{"image": "a.jpg", "phrase": "a dog",
"boxes": [[x0, y0, x1, y1], ...]}`` in pixels, 0-based, the maximum exclusive; `predict` asks them without
boxes, too. Every file may be gzipped. ``image`` is a path below the folder; the extension may be left out.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.base import GroundingDataModule, Split
from datamodules.errors import DataError, DatasetNotFoundError
from datamodules.kinds.base import ImageSource
from datamodules.kinds.captions import CaptionSource
from datamodules.kinds.grounding import GroundingSource, Query
from datamodules.storage.images import read_image

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
IMAGE_COLUMNS = ("image", "image_id", "file_name", "filename", "filepath", "path")
CAPTION_COLUMNS = ("caption", "captions", "title", "text", "sentence")


def find_images(folder: Path) -> dict[str, str]:
    """The relative paths of the images below ``folder``, each under itself and under itself without
    extension.

    Raises:
        DatasetNotFoundError: no such folder.
        DataError: it holds no image.
    """
    if not folder.is_dir():
        raise DatasetNotFoundError("ImageCaptionFolder", folder, "image files", "Set --data.images.")
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in IMAGE_SUFFIXES:
            relative = path.relative_to(folder)
            found[relative.as_posix()] = relative.as_posix()
            found.setdefault(relative.with_suffix("").as_posix(), relative.as_posix())
    if not found:
        raise DataError(
            f"{folder.absolute()} holds no image ({', '.join(sorted(IMAGE_SUFFIXES))}); set --data.images."
        )
    return found


def read_rows(path: Path) -> Iterator[tuple[int, dict | str]]:
    """The rows of a CSV, TSV or JSON-lines file, gzipped or not: (line number, row), or (line number, why it
    is broken).

    Raises:
        DatasetNotFoundError: no such file.
        DataError: the file is of another kind, or its header lacks a column.
    """
    if not path.is_file():
        raise DatasetNotFoundError(
            "ImageCaptionFolder",
            path,
            "one caption or query a line",
            "Set --data.captions or --data.test_queries.",
        )
    kind = next((suffix for suffix in reversed(path.suffixes) if suffix != ".gz"), "")
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as raw:
            lines = io.TextIOWrapper(raw, encoding="utf-8-sig", errors="surrogateescape", newline="")  # type: ignore[arg-type]
            if kind in {".jsonl", ".ndjson", ".json"}:
                yield from _json_rows(lines)
            elif kind in {".csv", ".tsv"}:
                yield from _table_rows(lines, "\t" if kind == ".tsv" else ",", path)
            else:
                raise DataError(
                    f"{path}: captions are read from .csv, .tsv or .jsonl files (each may end in .gz), not {kind or 'a file without suffix'}."
                )
    except (OSError, EOFError, csv.Error) as error:
        raise DataError(f"{path}: not readable to its end ({error}).") from error


def _json_rows(lines: io.TextIOWrapper) -> Iterator[tuple[int, dict | str]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            yield number, f"no JSON ({error.msg})"
            continue
        yield number, row if isinstance(row, dict) else "no JSON object"


def _table_rows(lines: io.TextIOWrapper, delimiter: str, path: Path) -> Iterator[tuple[int, dict | str]]:
    reader = csv.DictReader(lines, delimiter=delimiter)
    header = reader.fieldnames or []
    if not set(header) & set(IMAGE_COLUMNS) or not set(header) & set(CAPTION_COLUMNS):
        raise DataError(
            f"{path}: the first line must name the columns image and caption; it says {', '.join(header) or 'nothing'}."
        )
    for row in reader:
        yield reader.line_num, "too many or too few columns" if None in row or None in row.values() else row


def is_unicode(text: str) -> bool:
    """False for what other encodings leave behind when they are read as UTF-8."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _field(row: dict, names: tuple[str, ...]) -> Any:
    return next((row[name] for name in names if name in row), None)


class ListedImages(ImageSource):
    """The images of a folder that a file names: ``names`` are their paths below ``folder``."""

    folder: Path
    names: list[str]

    def __len__(self) -> int:
        return len(self.names)

    def key(self, index: int) -> str:
        return self.names[index]

    def image(self, index: int) -> np.ndarray:
        return read_image(self.folder / self.names[index])


class CaptionedFolder(ListedImages, CaptionSource):
    """Images and captions of a folder. Rows that are broken, empty, or name an image that is not there are
    listed in ``broken``.
    """

    def __init__(self, images: Path, captions: Path, ignore_missing: bool = False) -> None:
        found = find_images(images)
        self.broken: list[str] = []
        grouped: dict[str, list[str]] = {}
        for number, row in read_rows(captions):
            fault = row if isinstance(row, str) else self._take(row, found, grouped, ignore_missing)
            if fault:
                self.broken.append(f"{captions.name}:{number}\t{fault}")
        if not grouped:
            reason = f" ({self.broken[0]})" if self.broken else ""
            raise DataError(
                f"{captions}: no row names an image below {images.absolute()} and a caption{reason}."
            )
        self.folder, self.names = images, list(grouped)
        self.texts = list(grouped.values())

    @staticmethod
    def _take(
        row: dict, found: dict[str, str], grouped: dict[str, list[str]], ignore_missing: bool
    ) -> str | None:
        """Adds a row, or says what is wrong with it."""
        name, captions = _field(row, IMAGE_COLUMNS), _field(row, CAPTION_COLUMNS)
        if name is None or captions is None:
            return "no image or no caption"
        if str(name) not in found:
            return None if ignore_missing else f"no image {name}"
        captions = [captions] if isinstance(captions, str) else captions
        if not isinstance(captions, list) or not all(isinstance(caption, str) for caption in captions):
            return "the caption is no text"
        captions = [" ".join(caption.split()) for caption in captions if caption.strip()]
        if not captions:
            return "the caption is empty"
        if not all(map(is_unicode, captions)):
            return "the caption is not UTF-8"
        grouped.setdefault(found[str(name)], []).extend(captions)
        return None

    def captions(self, index: int) -> list[str]:
        return self.texts[index]


class QueriedFolder(ListedImages, GroundingSource):
    """Images and queries of a folder; broken rows are listed in ``broken``."""

    def __init__(self, images: Path, queries: Path) -> None:
        found = find_images(images)
        self.broken: list[str] = []
        grouped: dict[str, list[Query]] = {}
        for number, row in read_rows(queries):
            key = f"{queries.name}:{number}"
            try:
                if isinstance(row, str):
                    raise ValueError(row)
                name = str(_field(row, IMAGE_COLUMNS))
                if name not in found:
                    raise ValueError(f"no image {name}")
                if not is_unicode(str(row["phrase"])):
                    raise ValueError("the phrase is not UTF-8")
                boxes = np.asarray(row.get("boxes", []), dtype=np.float32).reshape(-1, 4)
                grouped.setdefault(found[name], []).append(
                    Query(str(row["phrase"]), boxes, key, str(row.get("chain", key)))
                )
            except (KeyError, ValueError, TypeError) as error:
                self.broken.append(f"{key}\t{f'no {error}' if isinstance(error, KeyError) else error}")
        if not grouped:
            reason = f" ({self.broken[0]})" if self.broken else ""
            raise DataError(
                f"{queries}: no row names an image below {images.absolute()}, a phrase and its boxes{reason}."
            )
        self.folder, self.names = images, list(grouped)
        self.of_image = list(grouped.values())

    @property
    def number_of_queries(self) -> int:
        return sum(map(len, self.of_image))

    def queries(self, index: int) -> list[Query]:
        return self.of_image[index]


class ImageCaptionFolder(GroundingDataModule):
    """A folder of images with a file of captions.

    Args:
        images: the folder, searched recursively.
        captions: the caption file.
        val_queries, test_queries: phrases with boxes to be judged on, if there are any.
        ignore_missing: leave out rows whose image is not in the folder without counting them as broken.
        kwargs: as for `GroundingDataModule`.
    """

    name = "folder"

    def __init__(
        self,
        images: Path,
        captions: Path | None = None,
        val_queries: Path | None = None,
        test_queries: Path | None = None,
        ignore_missing: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.images, self.captions, self.ignore_missing = (
            Path(images),
            captions and Path(captions),
            ignore_missing,
        )
        self.queries = {"val": val_queries and Path(val_queries), "test": test_queries and Path(test_queries)}

    def caption_source(self) -> CaptionedFolder | None:
        return CaptionedFolder(self.images, self.captions, self.ignore_missing) if self.captions else None

    def evaluation_source(self, split: Split) -> QueriedFolder | None:
        queries = self.queries.get(split)
        return QueriedFolder(self.images, queries) if queries else None
