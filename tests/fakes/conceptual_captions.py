"""Conceptual Captions in its three layouts: img2dataset's shards, those of the mirrors, and the published
list with a folder of images.
"""

from __future__ import annotations

import io
import json
import pickle
import tarfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.fakes.base import Fake, save_image

SIZE = (12, 16)  # height, width
Members = list[tuple[str, bytes]]


class Bomb:
    """Its unpickling would leave a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def image(colour: tuple[int, int, int], kind: str = "jpeg") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((*SIZE, 3), colour, np.uint8)).save(buffer, kind)
    return buffer.getvalue()


def record(
    key: str,
    caption: str | None,
    metadata: dict[str, Any] | None = None,
    suffix: str = "jpg",
    shade: int = 90,
) -> Members:
    """The three members of a record, as img2dataset writes them."""
    status = {
        "key": key,
        "status": "success",
        "error_message": None,
        "url": f"http://example.org/{key}",
        "width": SIZE[1],
        "height": SIZE[0],
    }
    members = [
        (f"{key}.{suffix}", image((shade, 100, 50), {"jpg": "jpeg"}.get(suffix.lower(), suffix.lower())))
    ]
    members.append((f"{key}.json", json.dumps({**status, **(metadata or {})}).encode()))
    return members if caption is None else [*members, (f"{key}.txt", caption.encode())]


def write_shard(
    path: Path, members: Members, special: Iterable[tarfile.TarInfo] = (), successes: int | None = None
) -> None:
    """A tar file, and what img2dataset says of it if ``successes`` is given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for info in special:
            tar.addfile(info)
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    if successes is not None:
        stats = {
            "count": successes + 3,
            "successes": successes,
            "failed_to_download": 3,
            "failed_to_resize": 0,
            "status_dict": {"success": successes},
        }
        path.with_name(f"{path.stem}_stats.json").write_text(json.dumps(stats))


def links() -> list[tarfile.TarInfo]:
    """Links that lead out of the archive and to a member."""
    members = []
    for name, kind, target in (
        ("7.jpg", tarfile.SYMTYPE, "/etc/passwd"),
        ("8.jpg", tarfile.LNKTYPE, "000000000.jpg"),
        ("9.txt", tarfile.FIFOTYPE, ""),
    ):
        info = tarfile.TarInfo(name)
        info.type = kind
        info.linkname = target
        members.append(info)
    return members


def cut(path: Path, share: float) -> None:
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])


def write(root: Path, layout: str = "img2dataset") -> Fake:
    """Args:
    root: folder to write into.
    layout: ``img2dataset``, ``mirror`` or ``list``.
    """
    return {"img2dataset": _img2dataset, "mirror": _mirror, "list": _list}[layout](root)


def _nasty_members(root: Path) -> Members:
    """Four sound records, and every kind of trouble that a record may be."""
    torn = record("000000002", "a torn image")
    torn[0] = (torn[0][0], torn[0][1][:300])
    return [
        *record("000000000", "A  red dog \n"),
        *record("000000001", None, {"caption": "its caption is in the json"}),
        *torn,
        *record("000000003", None),  # no caption anywhere
        *record(
            "000000004",
            "not fetched",
            {"status": "failed_to_download", "error_message": "HTTP Error 404:\tNot\nFound \ud83d"},
        ),
        *record("000000005", "no image")[1:],
        *record("deep/er/000000006", "in a folder", suffix="PNG"),
        ("000000007.json", b"{half a"),
        ("000000007.txt", "broken json, sound cäption".encode()),
        ("000000007.webp", image((200, 10, 10), "webp")),
        *record("000000008", "  "),
        ("000000009.jpg", image((9, 9, 9))),
        ("000000009.txt", b"Stra\xdfe"),
        *record("000000010", "twice"),
        *record("000000010", "twice"),
        *record("000000011", "x" * (2 << 20)),
        ("000000000.pickle", pickle.dumps(Bomb(root / "bang"))),
        ("000000000.pyd", pickle.dumps(Bomb(root / "bang"))),
        ("000000000.seg.png", image((1, 1, 1), "png")),
        ("../000000012.jpg", image((1, 1, 1))),
        ("../000000012.txt", b"outside"),
        ("/000000013.jpg", image((1, 1, 1))),
        ("._000000000.jpg", b"a Mac was here"),
        ("0000\t\n.jpg", image((1, 1, 1))),
    ]


def _img2dataset(root: Path) -> Fake:
    """Shard 0 holds every kind of trouble that a record may be, 1 is cut after its second record, 2 is sound
    and 3 is empty.
    """
    write_shard(root / "00000.tar", _nasty_members(root), links(), successes=13)
    # Cut within the last member: its record is broken, and the ten that its writer counted are not all there.
    write_shard(
        root / "00001.tar",
        [m for n in range(10) for m in record(f"00001000{n}", f"shard one, {n}", shade=10 * n)],
        successes=10,
    )
    with tarfile.open(root / "00001.tar") as tar:
        third = tar.getmember("000010002.jpg")
    (root / "00001.tar").write_bytes((root / "00001.tar").read_bytes()[: third.offset_data + 100])
    write_shard(
        root / "00002.tar",
        [m for n in range(4) for m in record(f"00002000{n}", f"shard two, {n}", shade=10 * n)],
        successes=4,
    )
    write_shard(root / "00003.tar", [], successes=0)
    captions = {"00000.tar/000000000": ["A red dog"], "00000.tar/000000001": ["its caption is in the json"]}
    captions |= {
        "00000.tar/deep/er/000000006": ["in a folder"],
        "00000.tar/000000007": ["broken json, sound cäption"],
    }
    captions |= {f"00001.tar/00001000{n}": [f"shard one, {n}"] for n in range(2)}
    captions |= {f"00002.tar/00002000{n}": [f"shard two, {n}"] for n in range(4)}
    skipped = (
        {f"00000.tar/{n:09d}" for n in (2, 3, 4, 5, 8, 9, 10, 11)}
        | {"00000.tar/lost-0"}
        | {f"00001.tar/lost-{n}" for n in range(8)}
    )
    return Fake(arguments={"root": root}, captions=captions, queries={}, skipped={"train": skipped})


def _mirror(root: Path) -> Fake:
    captions: dict[str, list[str]] = {}
    names = [f"cc3m-train-{n:04d}.tar" for n in range(2)]
    for name in names:
        for n in range(3):
            captions[f"{name}/{n:08d}"] = [f"{name} has {n}"]
        write_shard(root / name, [m for n in range(3) for m in record(f"{n:08d}", f"{name} has {n}")])
    write_shard(root / "cc3m-validation-0000.tar", record("00000000", "never trained on"))
    train = {"num_samples": 7, "filenames": names, "shard_lengths": [4, 3]}
    (root / "_info.json").write_text(
        json.dumps({"splits": {"train": train, "validation": {"num_samples": 1}}})
    )
    return Fake(
        arguments={"root": root}, captions=captions, queries={}, skipped={"train": {f"{names[0]}/lost-0"}}
    )


def _list(root: Path, naming: str = "row_crc") -> Fake:
    """Row 1 is a dead address, rows 0 and 6 share an address, 3 to 5 are broken, and row 7's image is."""
    texts = ["a dog .", "a ghost", "a  cat", "", "one column", "Stra\udcdfe", "the same dog", "torn"]
    addresses = [f"http://example.org/{n}.jpg?x=1" for n in range(len(texts))]
    addresses[6] = addresses[0]
    lines = [
        caption if n == 4 else f"{caption}\t{address}"
        for n, (caption, address) in enumerate(zip(texts, addresses, strict=True))
    ]
    root.mkdir(parents=True, exist_ok=True)
    (root / "Train_GCC-training.tsv").write_bytes("\n".join(lines).encode("utf-8", "surrogateescape"))
    captions: dict[str, list[str]] = {}
    for n in (0, 2, 6, 7):
        crc = zlib.crc32(addresses[n].encode())
        name = {"row_crc": f"{n}_{crc}", "crc": f"{crc}.jpg", "row": f"{n:07d}.jpg"}[naming]
        save_image(root / "training" / "0" / name, (20 * n, 100, 50), SIZE, format="jpeg")
        captions.setdefault(f"0/{name}", []).append(" ".join(texts[n].split()))
    torn = next(key for key, texts in captions.items() if texts == ["torn"])
    cut(root / "training" / torn, 0.5)
    del captions[torn]
    skipped = {f"Train_GCC-training.tsv:{n}" for n in (4, 5, 6)} | {torn}
    return Fake(
        arguments={"root": root},
        captions=captions,
        queries={},
        skipped={"train": skipped},
        useless={"train": 1},  # a dead address
    )
