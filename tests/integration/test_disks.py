"""A disk that is full in the middle of whatever is written: one sentence, nothing half-made, and it goes on.

A limit on the size of files stands in for a full disk: the kernel refuses to write on within a file.
"""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import cli
from callbacks.run.run_record import earlier_starts
from datamodules.storage.whole_files import write_whole
from tests.forked import finish, start
from tests.tiny import ROOT, differences, last_checkpoint, tiny_config, write_config


def cli_with_small_files(limit: int, *arguments: str) -> int:
    """As `cli.main`, where no file may grow beyond ``limit`` bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    return cli.main(list(arguments))


def test_a_save_that_does_not_fit_leaves_the_earlier_checkpoint(tmp_path: Path) -> None:
    content = tiny_config()
    content["trainer"]["callbacks"].pop()  # pictures, which are larger than the checkpoint
    content["model"]["init_args"]["optimisation"]["schedule"] = "constant"  # whatever the last step is
    config = write_config(tmp_path / "tiny.yaml", content)
    fit = ["fit", "--config", config, "--runs", str(tmp_path)]
    assert cli.main([*fit, "--name", "whole"]) == 0
    assert cli.main([*fit, "--name", "full", "--trainer.max_steps", "2"]) == 0
    before = last_checkpoint(tmp_path / "full")
    size = (tmp_path / "full" / "checkpoints" / "last.ckpt").stat().st_size
    resumed = [*fit, "--name", "full", "--ckpt_path", "last"]
    code, output = finish(start(cli_with_small_files, size // 2, *resumed))
    assert code == 1
    [sentence] = [line for line in output.splitlines() if "error" in line.lower()]
    assert sentence.startswith("error: ")
    assert "last." in sentence
    assert "File too large" in sentence
    assert "Traceback" not in output
    assert differences(last_checkpoint(tmp_path / "full"), before) == []
    assert [path.name for path in (tmp_path / "full" / "checkpoints").iterdir()] == ["last.ckpt"]
    assert cli.main(resumed) == 0
    weights, expected = (last_checkpoint(tmp_path / name)["state_dict"] for name in ("full", "whole"))
    assert differences(weights, expected) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_a_file_that_cannot_be_written_leaves_the_earlier_one(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    path = tmp_path / "run.json"
    write_whole(path, "before")
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match=r"run\.json"):
        write_whole(path, "after")
    assert path.read_text() == "before"
    assert [one.name for one in tmp_path.iterdir()] == ["run.json"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.ENOTDIR])
def test_a_disk_error_is_one_sentence(
    code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(argv: list[str]) -> int:
        try:
            raise OSError(code, os.strerror(code), "runs/a/last.ckpt")
        except OSError as error:
            raise RuntimeError("the writer has failed") from error

    monkeypatch.setattr("commands.report.main", fail)
    assert cli.main(["report"]) == 1
    printed = capsys.readouterr().err
    assert printed.startswith(f"error: runs/a/last.ckpt: {os.strerror(code)}; ")
    assert printed.count("\n") == 1


def test_other_errors_stay_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(argv: list[str]) -> int:
        raise FileNotFoundError(errno.ENOENT, "gone")

    monkeypatch.setattr("commands.report.main", fail)
    with pytest.raises(FileNotFoundError):
        cli.main(["report"])


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = f"{sys.executable} cli.py --help | head -1; exit ${{PIPESTATUS[0]}}"
    ended = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode in {0, cli.NO_READER}  # 0 where all is written before `head` goes
    assert ended.stderr == ""


@pytest.mark.parametrize("content", ["", "{", "3"])
def test_a_damaged_record_of_starts_begins_anew(content: Any, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text(content)
    with pytest.warns(UserWarning, match="run.json is damaged"):
        assert earlier_starts(path) == []
    path.write_text('[{"seed": 0}]')
    assert earlier_starts(path) == [{"seed": 0}]
