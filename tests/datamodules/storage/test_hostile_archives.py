"""Archives and pickles that are cut or hostile are refused in one sentence, and leave nothing behind."""

from __future__ import annotations

import io
import os
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from datamodules.errors import DataError
from datamodules.storage.archives import unpack
from datamodules.storage.safe_pickle import read_plain_pickle


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
    info = tarfile.TarInfo(name)
    info.size = size
    for field, value in fields.items():
        setattr(info, field, value)
    return info


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


CASES: dict[str, Callable[[Path], None]] = {
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
def test_hostile_archives_are_refused(name: str, tmp_path: Path) -> None:
    CASES[name](tmp_path)
