"""An image that cannot be read ends in a counted skip; one that is odd but legal, in what it shows.

Each is read in a folder beside a sound one.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.storage.images import read_image
from tests.datamodules.sets.reading import RED, encoded, folder_with, picture, read_all


def noise(form: str) -> bytes:
    return encoded(form, Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)))


def flipped(data: bytes, place: int) -> bytes:
    """All bits of one byte turned over."""
    return data[:place] + bytes([data[place] ^ 255]) + data[place + 1 :]


def huge_png(side: int) -> bytes:
    """A PNG whose header says that it is ``side`` pixels wide and high."""
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(bytes(1000))),
        (b"IEND", b""),
    ]
    file = b"\x89PNG\r\n\x1a\n"
    for kind, data in chunks:
        file += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return file


def with_odd_exif() -> bytes:
    """Turned, and with a width that is no whole number, which Pillow reads but cannot write."""
    width = struct.pack("<HHIf", 0x0100, 11, 1, 20.5)
    orientation = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + width + orientation + bytes(4)
    return encoded("PNG", picture().transpose(Image.Transpose.ROTATE_90), exif=exif)


def with_exif(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    turns = {6: Image.Transpose.ROTATE_90, 3: Image.Transpose.ROTATE_180}
    return encoded("PNG", picture().transpose(turns[orientation]), exif=exif)


def animated(form: str) -> bytes:
    return encoded(form, save_all=True, append_images=[Image.new("RGB", (20, 12), (0, 0, 255))], duration=50)


def sixteen_bits() -> bytes:
    values = np.zeros((12, 20), np.uint16)
    values[:, :10] = 257 * 200
    return encoded("PNG", Image.fromarray(values))


def zipped() -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("a.jpg", encoded("JPEG"))
    return target.getvalue()


UNREADABLE: dict[str, bytes] = {
    "zero bytes": b"",
    "JPEG cut in its header": noise("JPEG")[:100],
    "JPEG cut in its pixels": noise("JPEG")[:-500],
    "PNG cut in its pixels": noise("PNG")[:-500],
    "PNG with a wrong checksum": flipped(noise("PNG"), 60),
    "GIF cut": noise("GIF")[:300],
    "WebP cut": noise("WEBP")[:200],
    "TIFF cut": noise("TIFF")[:200],
    "a web page": b"<!DOCTYPE html><html>404</html>",
    "a text": b"not an image",
    "an archive": zipped(),
    "a drawing in SVG": b'<svg xmlns="http://www.w3.org/2000/svg"><rect width="9" height="9"/></svg>',
    "decompression bomb": huge_png(60_000),
    "no pixels": huge_png(0),
    "zeros": bytes(5000),
    "32 bits, whole numbers": encoded("TIFF", Image.fromarray(np.full((12, 20), 200, np.int32))),
    "32 bits, fractions": encoded("TIFF", Image.fromarray(np.full((12, 20), 0.5, np.float32))),
}
LEGAL: dict[str, tuple[bytes, tuple[int, int, int]]] = {
    "CMYK": (encoded("JPEG", picture().convert("CMYK"), quality=100), RED),
    "grey": (encoded("JPEG", picture().convert("L"), quality=100), (87, 87, 87)),
    "black and white": (encoded("PNG", Image.new("1", (20, 12), 1)), (255, 255, 255)),
    "16 bits": (sixteen_bits(), (200, 200, 200)),
    "palette": (encoded("PNG", picture().convert("P", palette=Image.Palette.ADAPTIVE)), RED),
    "palette and transparency": (encoded("PNG", picture().quantize(8), transparency=7), RED),
    "a hidden colour": (encoded("PNG", Image.new("RGBA", (20, 12), (*RED, 0))), (255, 255, 255)),
    "EXIF that cannot be written again": (with_odd_exif(), RED),
    "alpha": (encoded("PNG", picture().convert("RGBA")), RED),
    "grey and alpha": (encoded("PNG", picture().convert("LA")), (87, 87, 87)),
    "GIF": (encoded("GIF"), RED),
    "animated GIF": (animated("GIF"), RED),
    "animated WebP": (animated("WEBP"), RED),
    "turned by EXIF": (with_exif(6), RED),
    "upside down by EXIF": (with_exif(3), RED),
    "progressive": (encoded("JPEG", progressive=True, quality=100), RED),
    "JPEG named .png": (encoded("JPEG", quality=100), RED),
    "bytes behind the end": (encoded("PNG") + bytes(999), RED),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_an_unreadable_image_is_skipped(name: str, tmp_path: Path) -> None:
    kept, skipped = read_all(folder_with(tmp_path, "bad.jpg", UNREADABLE[name]))
    assert kept == 2
    assert [line.split("\t")[0] for line in skipped] == ["bad.jpg", "q.jsonl:1"]
    assert all("not readable as an image" in line and "\n" not in line for line in skipped)


@pytest.mark.parametrize("name", LEGAL)
def test_a_legal_image_shows_what_it_should(name: str, tmp_path: Path) -> None:
    content, colour = LEGAL[name]
    assert read_all(folder_with(tmp_path, "odd.png", content)) == (4, [])
    image = read_image(tmp_path / "images" / "odd.png").astype(int)
    assert image.shape == (12, 20, 3)
    assert np.abs(image[2:-2, 1:8] - colour).max() <= 12
