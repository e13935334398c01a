"""Captions to learn from without images: alone, or with the vectors that a frozen encoder found in the
images.

Captions are JSON lines ``{"image": "a.jpg", "captions": ["a dog on a sofa", ...]}`` or a CSV file, as in
`image_caption_folder`. Vectors are a ``.npz`` file with ``names`` (N,) and ``feats`` (N,D), or a folder of
such files. A name is matched with its folder and suffix or without; what Flickr adds to an id after ``_`` may
be left out, too.
"""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Iterable
from itertools import chain
from pathlib import Path, PurePosixPath

import numpy as np

from datamodules.base import GroundingDataModule, Split
from datamodules.cross import CrossDataset
from datamodules.errors import DataError, DatasetNotFoundError
from datamodules.kinds.vectors import VectorSource
from datamodules.sets.image_caption_folder import first_of, parse_caption
from datamodules.storage.row_files import read_rows
from datamodules.storage.text_files import files_below

REMEDY = "Set --data.vectors, or leave it out to learn from captions alone."


class ImageVectors:
    """Vectors by name.

    Raises:
        DatasetNotFoundError: no such file or folder.
        DataError: a file without ``names`` and ``feats``, or of another width.
    """

    def __init__(self, path: Path) -> None:
        files = sorted(path.glob("*.npz")) if path.is_dir() else [path]
        if not files or not files[0].is_file():
            raise DatasetNotFoundError(
                "CaptionVectors", path, ".npz files with names (N,) and feats (N,D)", REMEDY
            )
        parts = [self._read(file) for file in files]
        widths = sorted({feats.shape[1] for _, feats in parts})
        if len(widths) > 1:
            raise DataError(f"{path}: the files hold vectors of different widths: {widths}.")
        self.feats = np.concatenate([feats for _, feats in parts])
        self.width = self.feats.shape[1]
        self.rows: dict[str, int] = {}
        names_in_order = chain.from_iterable(names for names, _ in parts)
        for row, name in enumerate(names_in_order):
            for alias in aliases(name):
                self.rows.setdefault(alias, row)

    @staticmethod
    def _read(file: Path) -> tuple[list[str], np.ndarray]:
        try:
            with np.load(file, allow_pickle=False) as content:
                names = [str(name) for name in content["names"]]
                feats = content["feats"]
        except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise DataError(
                f"{file}: not readable as names and feats ({type(error).__name__}: {error})."
            ) from error
        if feats.ndim != 2 or len(names) != len(feats):
            raise DataError(f"{file}: {len(names)} names do not fit vectors of shape {feats.shape}.")
        return names, feats

    def find(self, name: str) -> int | None:
        """The row of an image, or None."""
        return next((self.rows[alias] for alias in aliases(name) if alias in self.rows), None)


def aliases(name: str) -> list[str]:
    """Under what an image may be known: its path, its file name without suffix, and that up to the first
    ``_``.

    Example:
        >>> aliases("photos/123_ab.jpg")
        ['photos/123_ab.jpg', '123_ab', '123']
    """
    stem = PurePosixPath(name).stem
    return list(dict.fromkeys([name, stem, stem.split("_")[0]]))


class CaptionList(VectorSource):
    """Captions, each image's together, and the image's vector.

    Args:
        captions: caption files.
        vectors: of the images; captions of images without one are left out.
        images: a folder: captions of images that are not below it are left out.

    Raises:
        DatasetNotFoundError: a file or folder is missing.
        DataError: no caption is left.
    """

    def __init__(
        self, captions: Iterable[Path], vectors: Path | None = None, images: Path | None = None
    ) -> None:
        self.vectors = ImageVectors(vectors) if vectors else None
        if images is not None and not images.is_dir():
            raise DatasetNotFoundError(
                "CaptionVectors",
                images,
                "the photographs whose captions are to be learnt",
                "Set --data.images, or leave it out.",
            )
        self.broken: list[str] = []
        grouped: dict[str, list[str]] = {}
        unusable: Counter[str] = Counter()  # captions by image
        stems = {path.stem for path in files_below(images) if path.suffix} if images else None
        for path in captions:
            for number, row in read_rows(path):
                try:
                    name, texts = parse_caption(row)
                except ValueError as error:
                    self.broken.append(f"{path.name}:{number}\t{error}")
                    continue
                if self._is_usable(name, stems):
                    grouped.setdefault(name, []).extend(texts)
                else:
                    unusable[name] += len(texts)
        if not grouped:
            raise DataError(
                f"{', '.join(map(str, captions))}: no caption is left of those whose image has a vector and "
                f"is in the folder{first_of(self.broken)}."
            )
        self.names = list(grouped)
        self.texts = list(grouped.values())
        if self.vectors is None:
            self._take_captions_apart()
        # Records are images or, without vectors, captions.
        lost = unusable.total() if self.vectors is None else len(unusable)
        self.left_out = {"its image has no vector or is not in the folder": lost}

    def _is_usable(self, name: str, stems: set[str] | None) -> bool:
        """Whether an image has a vector, if there are any, and is in the folder, if one is named."""
        if stems is not None and PurePosixPath(name).stem not in stems:
            return False
        return self.vectors is None or self.vectors.find(name) is not None

    def _take_captions_apart(self) -> None:
        """Without vectors nothing ties the captions of an image together, and each is a sample of its own."""
        captions = [
            (f"{name}/{number}", text)
            for name, texts in zip(self.names, self.texts, strict=True)
            for number, text in enumerate(texts)
        ]
        self.names = [name for name, _ in captions]
        self.texts = [[text] for _, text in captions]

    def __len__(self) -> int:
        return len(self.names)

    def key(self, index: int) -> str:
        """The image's name; without vectors, with the number of its caption."""
        return self.names[index]

    def vector(self, index: int) -> np.ndarray:
        """(D,) float32, the vector of the image; D is 0 without vectors."""
        if self.vectors is None:
            return np.zeros(0, np.float32)
        row = self.vectors.find(self.names[index])
        return self.vectors.feats[row].astype(np.float32)

    def captions(self, index: int) -> list[str]:
        """The image's captions, or the only one of the sample."""
        return self.texts[index]


class CaptionVectors(CrossDataset):
    """Captions with or without image vectors; ``images`` of its batches are (B,D) float32, D 0 without
    vectors.

    Args:
        captions: a caption file, or several.
        vectors: a ``.npz`` file or a folder of them.
        images: a folder of photographs: captions of others are left out.
        val, test: sets to judge on, by name, as for `CrossDataset`.
        batch_size, eval_batch_size, num_workers, max_skipped, seed: as for `GroundingDataModule`.
    """

    name = "captions"

    def __init__(
        self,
        captions: Path | list[Path],
        vectors: Path | None = None,
        images: Path | None = None,
        val: dict[str, GroundingDataModule] | None = None,
        test: dict[str, GroundingDataModule] | None = None,
        batch_size: int = 256,
        eval_batch_size: int | None = None,
        num_workers: int | None = None,
        max_skipped: float = 0.01,
        seed: int | None = None,
    ) -> None:
        super().__init__(None, val, test, eval_batch_size or batch_size, num_workers, max_skipped)
        self.batch_size = batch_size
        self.seed = seed
        if not isinstance(captions, list):
            captions = [captions]
        self.captions = [Path(path) for path in captions]
        self.vectors = Path(vectors) if vectors else None
        self.images = Path(images) if images else None

    def training_source(self) -> CaptionList:
        """All captions that can be used."""
        return CaptionList(self.captions, self.vectors, self.images)

    def evaluation_source(self, split: Split) -> None:
        """None: what is judged on are the sets of ``val`` and ``test``."""
        return None
