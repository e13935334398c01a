"""Plain containers are read as they were written, by Python 2 or 3; whatever would run something is refused,
and has not been run.
"""

from __future__ import annotations

import collections
import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from datamodules.errors import DataError
from datamodules.storage.safe_pickle import read_plain_pickle

PLAIN = {
    "ids": {1, 2, 3},
    "names": ["a", "ü", b"bytes"],
    "deep": ({"x": None, "y": (1.5, -2, 10**30, True)}, frozenset({7})),
}


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_plain_containers(protocol: int, tmp_path: Path) -> None:
    content = PLAIN if protocol > 2 else {**PLAIN, "names": ["a", "ü"]}  # bytes have no opcode before
    (tmp_path / "plain.p").write_bytes(pickle.dumps(content, protocol=protocol))
    assert read_plain_pickle(tmp_path / "plain.p") == content


def test_what_python_2_wrote(tmp_path: Path) -> None:
    """Protocol 0: {'train': set([7, 8]), 'caf\\xe9': 5L}, with byte strings, a long, and the old name of the
    builtins.
    """
    (tmp_path / "old.p").write_bytes(
        b"(dp0\nS'train'\np1\nc__builtin__\nset\np2\n((lp3\nI7\naI8\natp4\nRp5\nsS'caf\\xe9'\np6\nL5L\ns."
    )
    assert read_plain_pickle(tmp_path / "old.p") == {"train": {7, 8}, "café": 5}


class Touching:
    """Writes a file when it is unpickled."""

    def __init__(self, call: Any, *arguments: Any) -> None:
        self.call = call
        self.arguments = arguments

    def __reduce__(self) -> tuple:
        return self.call, self.arguments


def exploits(witness: Path) -> dict[str, bytes]:
    code = f"open({str(witness)!r}, 'w').close()"
    shell = f"touch {witness}".encode()
    return {
        "eval": pickle.dumps(Touching(eval, code), protocol=2),
        "exec": pickle.dumps([1, {"a": Touching(exec, code)}], protocol=4),
        "system": pickle.dumps(Touching(os.system, shell.decode())),
        "open": pickle.dumps(Touching(open, str(witness), "w")),
        "getattr": b"cbuiltins\ngetattr\n(cbuiltins\nset\nS'mro'\ntR.",
        "import": b"c__builtin__\n__import__\n(S'os'\ntR.",
        "inst": b"(S'" + shell + b"'\nios\nsystem\n.",
        "obj": b"(cos\nsystem\nS'" + shell + b"'\no.",
        "dotted": b"\x80\x04\x8c\x08builtins\x8c\x12set.__subclasses__\x93)R.",
        "extension": b"\x80\x02\x82\x01.",
        "persistent": b"Pan object\n.",
        "buffer": b"\x80\x05\x97.",
        "memory": b"c__builtin__\nbytearray\n(I1000000000000\ntR.",
        "class": pickle.dumps(collections.OrderedDict(a=1)),
        "function": pickle.dumps(len),
    }


@pytest.mark.parametrize("name", exploits(Path("x")))
def test_a_pickle_that_would_run_something(name: str, tmp_path: Path) -> None:
    path = tmp_path / "refs(unc).p"
    witness = tmp_path / "witness"
    path.write_bytes(exploits(witness)[name])
    with pytest.raises(DataError, match="from its publisher again") as raised:
        read_plain_pickle(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not witness.exists()


def test_the_exploits_are_real(tmp_path: Path) -> None:
    """The standard unpickler runs them."""
    for name in ("eval", "exec", "system", "open", "inst", "obj"):
        witness = tmp_path / name
        pickle.loads(exploits(witness)[name])
        assert witness.exists(), name


WHOLE = pickle.dumps(PLAIN, protocol=4)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        WHOLE[:-1],
        WHOLE[: len(WHOLE) // 2],
        b"not a pickle",
        b"\x80\x63.",
        b"R.",
        b"((lI1\nd.",
        b"I x\n.",
        b"\x80\x04\x8c\x01\xff.",
    ],
)
def test_a_damaged_file(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "torn.p").write_bytes(content)
    with pytest.raises(DataError, match=r"torn\.p: .*\(.+\); get the file from its publisher again"):
        read_plain_pickle(tmp_path / "torn.p")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.p: not readable as a pickle"):
        read_plain_pickle(tmp_path / "gone.p")


def test_line_ends_that_were_changed_are_named(tmp_path: Path) -> None:
    path = tmp_path / "refs.p"
    content = pickle.dumps([{"split": "train"}], protocol=0)
    path.write_bytes(content)
    assert read_plain_pickle(path) == [{"split": "train"}]
    path.write_bytes(content.replace(b"\n", b"\r\n"))
    with pytest.raises(DataError, match="its line ends were changed to those of Windows"):
        read_plain_pickle(path)
