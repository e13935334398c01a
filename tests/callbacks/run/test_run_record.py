from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from callbacks.run import run_record
from callbacks.run.run_record import git_commit, keep_earlier, package_versions


def test_earlier_results_are_kept_under_the_next_free_number(tmp_path: Path) -> None:
    folder = tmp_path / "test"
    keep_earlier(folder)
    for number in range(3):
        folder.mkdir()
        (folder / "metrics.json").write_text(str(number))
        keep_earlier(folder)
    assert not folder.exists()
    assert [(tmp_path / f"test-{n + 1}" / "metrics.json").read_text() for n in range(3)] == ["0", "1", "2"]


def test_the_commit_says_whether_files_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
        return subprocess.run(
            ["git", *identity, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout.strip()

    place = tmp_path / "callbacks" / "run" / "run_record.py"
    place.parent.mkdir(parents=True)
    monkeypatch.setattr(run_record, "__file__", str(place))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_commit() is None
    git("init")
    (tmp_path / "file").write_text("1")
    git("add", ".")
    git("commit", "-m", "x")
    assert git_commit() == git("rev-parse", "--short=12", "HEAD")
    (tmp_path / "file").write_text("2")
    assert git_commit() == git("rev-parse", "--short=12", "HEAD") + "+"
    installed = tmp_path / ".venv" / "weakground" / "callbacks" / "run" / "run_record.py"
    monkeypatch.setattr(run_record, "__file__", str(installed))
    assert git_commit() is None, "the commit of another project's repository"


def test_versions_of_what_is_installed() -> None:
    found = package_versions()
    assert {"python", "torch", "lightning", "numpy"} <= set(found)
    assert all(text[0].isdigit() for text in found.values())
