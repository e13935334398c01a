"""What a frozen encoder sees in the images of a data set, computed once and read from memory-mapped files.

A folder holds ``features.json``, which says what the features are of, and for every `CHUNK` images a pair of
files: ``<number>.npy`` with a row of float16 numbers for each image, and ``<number>.json`` with the reason of
each row that is empty because its image could not be read. A chunk appears under its name only when it is
complete, so that a run that was interrupted goes on with the next one, and several processes may share the
work.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from datamodules.errors import DataError
from datamodules.handover import FeatureSpec
from datamodules.storage.whole_files import whole_file, write_whole

CHUNK = 512


@dataclass(frozen=True)
class FeatureFolder:
    """A folder of features, to be filled or to be read.

    Args:
        folder: where it is.
        spec: what the features are computed by.
        images: how many images there are.
        names: fingerprint of the images' names, see `names_digest`.
    """

    folder: Path
    spec: FeatureSpec
    images: int
    names: str

    @property
    def chunks(self) -> range:
        """The numbers of all chunks."""
        return range(-(-self.images // CHUNK))

    def rows_of(self, chunk: int) -> range:
        """The images of a chunk."""
        return range(chunk * CHUNK, min(self.images, (chunk + 1) * CHUNK))

    def is_complete(self, chunk: int) -> bool:
        """Whether a chunk has been written."""
        return self._rows_path(chunk).is_file() and self._skips_path(chunk).is_file()

    def _rows_path(self, chunk: int) -> Path:
        return self.folder / f"{chunk:06d}.npy"

    def _skips_path(self, chunk: int) -> Path:
        return self.folder / f"{chunk:06d}.json"

    def claim(self) -> None:
        """Makes the folder, or checks that it is one of the same features.

        Raises:
            DataError: it holds features of other images or of another encoder.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "features.json"
        if path.is_file():
            self.check()
            return
        write_whole(path, json.dumps(self._description(), indent=1))

    def check(self) -> None:
        """Checks what the folder holds.

        Raises:
            DataError: it is missing, or holds features of other images or of another encoder.
        """
        path = self.folder / "features.json"
        remedy = f"compute them by: python cli.py features --config FILE --data.features {self.folder}"
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, json.JSONDecodeError) as error:
            raise DataError(f"{self.folder.absolute()} holds no features; {remedy}") from error
        expected = self._description()
        if stored.get("names") != expected["names"]:
            raise DataError(
                f"{self.folder.absolute()} holds features of {stored.get('images')} other images than the "
                f"{self.images} that are to be trained on; name another folder, or {remedy}"
            )
        if stored != expected:
            raise DataError(
                f"{self.folder.absolute()} holds features of another encoder, or of images of another size; "
                f"name another folder, or {remedy}"
            )

    def _description(self) -> dict[str, object]:
        return {**asdict(self.spec), "images": self.images, "names": self.names, "chunk": CHUNK}

    def write(self, chunk: int, rows: np.ndarray, skips: Mapping[int, str]) -> None:
        """Stores a chunk.

        Args:
            chunk: its number.
            rows: (n,F) float16.
            skips: why a row is empty, by the image's number.
        """
        with whole_file(self._rows_path(chunk)) as file:
            np.save(file, rows.astype(np.float16))
        write_whole(self._skips_path(chunk), json.dumps({str(row): why for row, why in skips.items()}))


class Features:
    """Features of the images of a data set, by the number of the image.

    Args:
        folder: that is complete.

    Raises:
        DataError: it is missing, incomplete, or of other images or another encoder.
    """

    def __init__(self, folder: FeatureFolder) -> None:
        folder.check()
        missing = [chunk for chunk in folder.chunks if not folder.is_complete(chunk)]
        if missing:
            raise DataError(
                f"{folder.folder.absolute()} lacks {len(missing)} of its {len(folder.chunks)} parts; the "
                "command that began to compute them goes on: python cli.py features --config FILE "
                f"--data.features {folder.folder}"
            )
        self.folder = folder
        self.skips: dict[int, str] = {}
        for chunk in folder.chunks:
            content = json.loads(folder._skips_path(chunk).read_text(encoding="utf-8"))
            self.skips.update({int(row): why for row, why in content.items()})
        self._open: dict[int, np.ndarray] = {}

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_open": {}}  # workers map the files themselves

    def row(self, index: int) -> np.ndarray:
        """(F,) float16. Raises `DataError` if the image could not be read."""
        if index in self.skips:
            raise DataError(self.skips[index])
        chunk = index // CHUNK
        if chunk not in self._open:
            self._open[chunk] = np.load(self.folder._rows_path(chunk), mmap_mode="r")
        return np.array(self._open[chunk][index % CHUNK])


def names_digest(names: Iterable[str]) -> str:
    """A fingerprint of names in their order.

    Example:
        >>> names_digest(["a.jpg", "b.jpg"]) == names_digest(["b.jpg", "a.jpg"])
        False
    """
    digest = hashlib.sha256()
    for name in names:
        digest.update(name.encode("utf-8", "surrogateescape") + b"\n")
    return digest.hexdigest()[:16]
