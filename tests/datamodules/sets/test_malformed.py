"""Whatever is wrong with a file, it ends in one clear sentence, in a counted skip, or, where the file is
legal, in what it shows.

`CASES` are single inputs, each with its expected end. Below them, every annotation file of every small data
set is damaged in several ways.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from datamodules.base import GroundingDataModule
from datamodules.catalogue import DATASETS
from datamodules.errors import DataError
from datamodules.kinds.catalogue import view_of
from datamodules.sets.coco_captions import COCOCaptions
from datamodules.sets.flickr30k_entities import Flickr30kEntities
from datamodules.sets.image_caption_folder import ImageCaptionFolder
from datamodules.storage.archives import unpack
from datamodules.storage.images import read_image
from datamodules.storage.safe_pickle import read_plain_pickle
from tests.datamodules.feeding import PLAIN
from tests.fakes import coco_captions, flickr30k_entities, write_fake

RED = (200, 40, 30)


class End(NamedTuple):
    """How reading ended: samples that came out, and a line for each that was left out."""

    kept: int
    skipped: list[str]


def read_all(datamodule: GroundingDataModule) -> End:
    """Opens what is trained and tested on, and reads every sample. Raises `DataError` if it cannot be
    opened.
    """
    kept = 0
    skipped: list[str] = []
    captions = datamodule.caption_source()
    if captions is not None:
        skipped += captions.broken
        for index in range(len(captions)):
            try:
                assert captions.captions(index)
                kept += captions.image(index).shape[-1] == 3
            except DataError as error:
                skipped.append(f"{captions.key(index)}\t{error}")
    for source in datamodule.evaluation_sources("test").values():
        skipped += source.broken
        view, _ = view_of(source, PLAIN)
        for index in range(len(view)):
            sample, lines = view[index]
            kept += sample is not None
            skipped += lines
    return End(kept, skipped)


# Images: each is asked for in a folder beside a sound one.


def picture(size: tuple[int, int] = (20, 12)) -> Image.Image:
    """Red at the left, black at the right; (width, height)."""
    image = Image.new("RGB", size)
    image.paste(RED, (0, 0, size[0] // 2, size[1]))
    return image


def encoded(form: str, image: Image.Image | None = None, **options: Any) -> bytes:
    target = io.BytesIO()
    (image or picture()).save(target, form, **options)
    return target.getvalue()


def noise(form: str) -> bytes:
    return encoded(form, Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)))


def huge_png(side: int) -> bytes:
    """A PNG whose header says that it is ``side`` pixels wide and high."""
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(bytes(1000))),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks
    )


def with_exif(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(
        "PNG",
        picture().transpose({6: Image.Transpose.ROTATE_90, 3: Image.Transpose.ROTATE_180}[orientation]),
        exif=exif,
    )


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
    "PNG with a wrong checksum": (lambda data: data[:60] + bytes([data[60] ^ 255]) + data[61:])(noise("PNG")),
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
}
LEGAL: dict[str, tuple[bytes, tuple[int, int, int]]] = {
    "CMYK": (encoded("JPEG", picture().convert("CMYK"), quality=100), RED),
    "grey": (encoded("JPEG", picture().convert("L"), quality=100), (87, 87, 87)),
    "black and white": (encoded("PNG", Image.new("1", (20, 12), 1)), (255, 255, 255)),
    "16 bits": (sixteen_bits(), (200, 200, 200)),
    "palette": (encoded("PNG", picture().convert("P", palette=Image.Palette.ADAPTIVE)), RED),
    "palette and transparency": (encoded("PNG", picture().quantize(8), transparency=7), RED),
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


def folder_with(root: Path, name: str, content: bytes) -> ImageCaptionFolder:
    """A folder of a sound image and the given one, with captions and a query each."""
    (root / "images").mkdir()
    (root / "images" / name).write_bytes(content)
    (root / "images" / "sound.png").write_bytes(encoded("PNG"))
    (root / "c.jsonl").write_text(
        "".join(json.dumps({"image": image, "caption": "a thing"}) + "\n" for image in (name, "sound.png"))
    )
    (root / "q.jsonl").write_text(
        "".join(
            json.dumps({"image": image, "phrase": "it", "boxes": [[0, 0, 5, 5]]}) + "\n"
            for image in (name, "sound.png")
        )
    )
    return ImageCaptionFolder(
        root / "images", root / "c.jsonl", test_queries=root / "q.jsonl", cache_dir=root / "cache"
    )


def skips_image(content: bytes) -> Callable[[Path], None]:
    def case(root: Path) -> None:
        kept, skipped = read_all(folder_with(root, "bad.jpg", content))
        assert kept == 2
        assert [line.split("\t")[0] for line in skipped] == ["bad.jpg", "bad.jpg"]
        assert all("not readable as an image" in line and "\n" not in line for line in skipped)

    return case


def shows(content: bytes, colour: tuple[int, int, int]) -> Callable[[Path], None]:
    def case(root: Path) -> None:
        assert read_all(folder_with(root, "odd.png", content)) == (4, [])
        image = read_image(root / "images" / "odd.png").astype(int)
        assert image.shape == (12, 20, 3)
        assert np.abs(image[2:-2, 1:8] - colour).max() <= 12

    return case


# Annotations.


def skips_query(row: Any, words: str) -> Callable[[Path], None]:
    def case(root: Path) -> None:
        datamodule = folder_with(root, "a.png", encoded("PNG"))
        with (root / "q.jsonl").open("ab") as file:
            file.write(row if isinstance(row, bytes) else json.dumps(row).encode())
        kept, skipped = read_all(datamodule)
        assert kept == 4
        assert len(skipped) == 1
        assert skipped[0].startswith("q.jsonl:3\t")
        assert words in skipped[0]

    return case


def skips_caption(line: bytes, words: str) -> Callable[[Path], None]:
    def case(root: Path) -> None:
        datamodule = folder_with(root, "a.png", encoded("PNG"))
        with (root / "c.jsonl").open("ab") as file:
            file.write(line)
        kept, skipped = read_all(datamodule)
        assert kept == 4
        assert [line.split("\t")[0] for line in skipped] == ["c.jsonl:3"]
        assert words in skipped[0]

    return case


def refuses_captions(name: str, content: bytes, words: str) -> Callable[[Path], None]:
    def case(root: Path) -> None:
        folder_with(root, "a.png", encoded("PNG"))
        (root / name).write_bytes(content)
        with pytest.raises(DataError, match=words):
            ImageCaptionFolder(root / "images", root / name).caption_source()

    return case


def keeps_captions(captions: list[str]) -> Callable[[Path], None]:
    def case(root: Path) -> None:
        folder_with(root, "a.png", encoded("PNG"))
        (root / "c.jsonl").write_text(
            "\n".join(json.dumps({"image": "a.png", "caption": caption}) for caption in captions)
        )
        source = ImageCaptionFolder(root / "images", root / "c.jsonl").caption_source()
        assert source is not None
        assert source.captions(0) == captions
        assert not source.broken

    return case


def flickr(path: str, content: bytes | None, words: str, skips: str | None) -> Callable[[Path], None]:
    """Damages a file of Flickr30k Entities; ``skips`` names the record that must be left out, None a set that
    must be refused.
    """

    def case(root: Path) -> None:
        flickr30k_entities.write(root / "set")
        before = read_all(Flickr30kEntities(root / "set", cache_dir=root / "cache"))
        (root / "set" / path).unlink()
        if content is not None:
            (root / "set" / path).write_bytes(content)
        datamodule = Flickr30kEntities(root / "set", cache_dir=root / "cache")
        if skips is None:
            with pytest.raises(DataError, match=words):
                read_all(datamodule)
            return
        after = read_all(datamodule)
        new = [line for line in after.skipped if line not in before.skipped]
        assert after.kept == before.kept - 1
        assert [line.split("\t")[0] for line in new] == [skips]
        assert words in new[0]

    return case


def coco(
    change: Callable[[dict[str, Any]], Any], words: str, skips: set[str] | None
) -> Callable[[Path], None]:
    """Changes COCO's captions; ``skips`` names what must be left out beside what the fake leaves out, None a
    file that must be refused.
    """

    def case(root: Path) -> None:
        fake = coco_captions.write(root / "set")
        path = root / "set" / "annotations" / "captions_train2014.json"
        content = json.loads(path.read_text())
        path.write_text(json.dumps(change(content) or content))
        datamodule = COCOCaptions(**fake.arguments | {"cache_dir": root / "cache"})
        if skips is None:
            with pytest.raises(DataError, match=words):
                read_all(datamodule)
            return
        skipped = read_all(datamodule).skipped
        assert {line.split("\t")[0] for line in skipped} == fake.skipped["train"] | skips
        assert any(words in line for line in skipped)

    return case


BOMB_XML = b'<!DOCTYPE a [<!ENTITY x "' + b"x" * 1000 + b'">' + b"".join(
    b'<!ENTITY x%d "' % n + (b"&x;" if n == 0 else b"&x%d;" % (n - 1)) * 100 + b'">' for n in range(8)
) + b"]><annotation><object><name>&x7;</name></object></annotation>"  # fmt: skip
BOX_XML = (
    "<annotation><size><width>40</width><height>30</height></size><object><name>11</name><bndbox><xmin>{}</xmin><ymin>1</ymin><xmax>9</xmax>"
    "<ymax>9</ymax></bndbox></object></annotation>"
)


# Archives and pickles.


def refuses_archive(name: str, write: Callable[[Path], None], words: str) -> Callable[[Path], None]:
    def case(root: Path) -> None:
        write(root / name)
        with pytest.raises(DataError, match=words):
            unpack(root / name, root / "out")
        assert [path for path in (root / "out").rglob("*") if path.is_file()] == []

    return case


def tar_of(*members: tarfile.TarInfo, cut: int | None = None) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with tarfile.open(path, "w") as archive:
            for member in members:
                archive.addfile(member, io.BytesIO(bytes(member.size)))
        path.write_bytes(path.read_bytes()[:cut])

    return write


def member(name: str, size: int = 0, **fields: Any) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.size = size
    for field, value in fields.items():
        setattr(made, field, value)
    return made


def zip_bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(32 << 20))


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


def refuses_pickle(content: Callable[[Path], bytes]) -> Callable[[Path], None]:
    def case(root: Path) -> None:
        (root / "refs(unc).p").write_bytes(content(root))
        with pytest.raises(DataError, match=r"pickle|refused"):
            read_plain_pickle(root / "refs(unc).p")
        assert not (root / "sprung").exists()

    return case


def of_query(**fields: Any) -> dict[str, Any]:
    return {"image": "a.png", "phrase": "it", "boxes": [[0, 0, 5, 5]]} | fields


def without(content: dict[str, Any], *keys: str) -> None:
    for key in keys:
        del content[key]


CASES: dict[str, Callable[[Path], None]] = {
    **{f"image, {name}": skips_image(content) for name, content in UNREADABLE.items()},
    **{f"legal image, {name}": shows(*legal) for name, legal in LEGAL.items()},
    "query, broken json": skips_query(b'{"image": "a.png", "phr', "JSON"),
    "query, a list": skips_query([1, 2], "JSON object"),
    "query, no phrase": skips_query({"image": "a.png", "boxes": [[0, 0, 5, 5]]}, "phrase"),
    "query, no image": skips_query(of_query(image="gone.png"), "gone.png"),
    "query, empty phrase": skips_query(of_query(phrase=" "), "empty"),
    "query, NaN in a box": skips_query(of_query(boxes=[[float("nan"), 0, 5, 5]]), "not finite"),
    "query, infinite box": skips_query(of_query(boxes=[[0, 0, float("inf"), 5]]), "not finite"),
    "query, inverted box": skips_query(of_query(boxes=[[5, 0, 1, 5]]), "inverted"),
    "query, empty box": skips_query(of_query(boxes=[[5, 5, 5, 9]]), "empty"),
    "query, box outside": skips_query(of_query(boxes=[[25, 0, 30, 5]]), "outside"),
    "query, box of three": skips_query(of_query(boxes=[[1, 2, 3]]), ""),
    "query, box of words": skips_query(of_query(boxes=[["a", "b", "c", "d"]]), ""),
    "query, no UTF-8": skips_query(b'{"image": "a.png", "phrase": "caf\xe9", "boxes": []}', "UTF-8"),
    "caption, empty": skips_caption(b'{"image": "a.png", "caption": " "}', "empty"),
    "caption, no UTF-8": skips_caption(b'{"image": "a.png", "caption": "caf\xe9"}', "UTF-8"),
    "caption, a number": skips_caption(b'{"image": "a.png", "caption": 7}', "no text"),
    "caption, missing image": skips_caption(b'{"image": "gone.png", "caption": "a"}', "gone.png"),
    "caption, no caption": skips_caption(b'{"image": "a.png"}', "no caption"),
    "caption, cut": skips_caption(b'{"image": "a.png", "caption": "a do', "JSON"),
    "captions, an empty file": refuses_captions("e.csv", b"", "columns image and caption"),
    "captions, other columns": refuses_captions("e.csv", b"a,b\n1,2\n", "columns image and caption"),
    "captions, another kind": refuses_captions("e.xlsx", b"PK", "read from .csv"),
    "captions, gzip cut": refuses_captions(
        "e.jsonl.gz",
        gzip.compress(b'{"image": "a.png", "caption": "x"}' * 99)[:-9],
        "not readable to its end",
    ),
    "captions, gzip that is none": refuses_captions(
        "e.jsonl.gz", b'{"image": "a.png"}', "not readable to its end"
    ),
    "captions, a field without end": refuses_captions(
        "e.csv", b'image,caption\na.png,"' + b"x" * 200_000, "not readable to its end"
    ),
    "caption, very long": keeps_captions(["a dog " * 200_000 + "end"]),
    "captions, the same image and text twice": keeps_captions(["a dog", "a dog"]),
    "Flickr30k, XML cut": flickr(
        "Annotations/300.xml", b"<annotation><object>", "not readable as an annotation", "300"
    ),
    "Flickr30k, XML missing": flickr("Annotations/300.xml", None, "not readable as an annotation", "300"),
    "Flickr30k, XML bomb": flickr("Annotations/300.xml", BOMB_XML, "not readable as an annotation", "300"),
    "Flickr30k, a box of words": flickr(
        "Annotations/300.xml", BOX_XML.format("left").encode(), "not readable as an annotation", "300"
    ),
    "Flickr30k, sentences missing": flickr("Sentences/300.txt", None, "not readable", "300"),
    "Flickr30k, sentences not in UTF-8": flickr(
        "Sentences/300.txt", b"[/EN#11/people caf\xe9]", "not readable", "300"
    ),
    "Flickr30k, photograph missing": flickr(
        "flickr30k_images/300.jpg", None, "not readable as an image", "300"
    ),
    "Flickr30k, empty split": flickr("test.txt", b"\n", "names no image", None),
    "Flickr30k, split missing": flickr("test.txt", None, "test.txt not found", None),
    "COCO, no images": coco(lambda content: without(content, "images"), "not readable|damaged|no ", None),
    "COCO, no annotations": coco(
        lambda content: without(content, "annotations"), "not readable|damaged|no ", None
    ),
    "COCO, a list": coco(lambda content: [1], "not readable|damaged|no ", None),
    "tar with ..": refuses_archive("x.tar", tar_of(member("../evil", 5)), "leads out"),
    "tar with an absolute name": refuses_archive("x.tar", tar_of(member("/evil", 5)), "leads out"),
    "tar with a link": refuses_archive(
        "x.tar", tar_of(member("l", type=tarfile.SYMTYPE, linkname="/etc/passwd")), "link"
    ),
    "tar with a hard link": refuses_archive(
        "x.tar", tar_of(member("l", type=tarfile.LNKTYPE, linkname="../x")), "link"
    ),
    "tar cut in a member": refuses_archive(
        "x.tar", tar_of(member("a", 5000), member("b", 5000), cut=3000), "cut off"
    ),
    "tar cut between members": refuses_archive(
        "x.tar", tar_of(member("a", 512), member("b", 5000), cut=1024), "cut off"
    ),
    "tar cut in a header": refuses_archive(
        "x.tar", tar_of(member("a", 512), member("b", 5000), cut=1100), "cut off"
    ),
    "zip bomb": refuses_archive("x.zip", zip_bomb, "zip bomb"),
    "pickle that runs code": refuses_pickle(lambda root: pickle.dumps([Trap(root / "sprung")])),
    "pickle cut": refuses_pickle(lambda root: pickle.dumps([{"ref_id": 1}] * 50)[:-20]),
    "pickle that is none": refuses_pickle(lambda root: b"<html>"),
}


@pytest.mark.parametrize("name", CASES)
def test_malformed_inputs_end_well(name: str, tmp_path: Path) -> None:
    CASES[name](tmp_path)


def test_there_are_many() -> None:
    assert len(CASES) >= 40


# Every annotation file of every data set.

SETS = [
    kind for kind in DATASETS if kind.__name__ not in {"CrossDataset", "Scenes"}
]  # sets of sets, and drawn ones
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "cut in the middle": lambda data: data[: len(data) // 2],
    "cut at the end": lambda data: data[:-3],
    "garbage": lambda data: bytes(np.random.default_rng(0).integers(0, 256, max(64, len(data)), np.uint8)),
    "bytes changed": lambda data: bytes(byte ^ 0x55 if n % 97 == 13 else byte for n, byte in enumerate(data)),
    "other values": lambda data: data.translate(bytes.maketrans(b"0123456789", b"9-e7NaN.[2")),
}
PHOTOGRAPHS = {".jpg", ".jpeg", ".webp", ".bmp"}


def written(kind: Any, root: Path) -> GroundingDataModule:
    """A data set on its fake."""
    root.mkdir()
    return kind(**write_fake(kind, root).arguments | {"cache_dir": root.parent / f"{root.name}-cache"})


@pytest.mark.parametrize("kind", SETS, ids=lambda kind: kind.__name__)
def test_damaged_annotations_are_refused_or_skipped(kind: Any, tmp_path: Path) -> None:
    sound = read_all(written(kind, tmp_path / "sound"))
    files = [
        path.relative_to(tmp_path / "sound")
        for path in sorted((tmp_path / "sound").rglob("*"))
        if path.is_file() and ".weakground" not in path.parts
    ]
    chosen: dict[tuple[str, str], Path] = {}
    for path in files:
        if path.suffix.lower() not in PHOTOGRAPHS:
            chosen.setdefault((path.suffix, path.parent.name), path)
    noticed = 0
    unclear: list[str] = []
    for number, path in enumerate(chosen.values()):
        for damage, change in DAMAGES.items():
            root = tmp_path / f"{number}-{damage}"
            damaged = written(kind, root)
            (root / path).write_bytes(change((root / path).read_bytes()))
            try:
                noticed += read_all(damaged) != sound
            except DataError as error:
                noticed += 1
                if "\n" in str(error):
                    unclear.append(f"{path}, {damage}: of several lines")
            except Exception as error:  # what a user would see as a traceback
                unclear.append(f"{path}, {damage}: {type(error).__name__}: {error}")
    assert unclear == []
    assert noticed or not chosen
