"""A resumed run goes on under its own W&B id; without an account it is logged offline."""

from __future__ import annotations

from pathlib import Path

import pytest

from commands.wandb_logger import run_id, wandb_logger


def test_the_id_is_made_once(tmp_path: Path) -> None:
    first = run_id(tmp_path / "a" / "b")
    assert len(first) == 12
    assert run_id(tmp_path / "a" / "b") == first
    assert (tmp_path / "a" / "b" / "wandb_id.txt").read_text() == first
    assert run_id(tmp_path / "c") != first


@pytest.mark.parametrize(
    ("mode", "account"), [("offline", None), ("online", None), ("offline", False), ("online", True)]
)
def test_the_logger_of_a_run(
    mode: str, account: bool | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made twice, as by a start and a resume; nothing is sent before something is logged."""
    if account is None:
        monkeypatch.setenv("WANDB_MODE", mode)
    else:
        monkeypatch.delenv("WANDB_MODE")
        monkeypatch.setattr("commands.wandb_logger.has_account", lambda: account)
    loggers = [wandb_logger(tmp_path, "demo/hist") for _ in range(2)]
    ids = {logger._wandb_init["id"] for logger in loggers}
    assert ids == {run_id(tmp_path)}
    assert {logger._wandb_init["resume"] for logger in loggers} == {"allow"}
    assert {logger._wandb_init["mode"] for logger in loggers} == {mode}
    assert {logger._wandb_init["project"] for logger in loggers} == {"weakground"}


def test_an_account_is_known_by_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    from commands.wandb_logger import has_account

    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    assert has_account() is True


def test_an_account_is_known_by_what_login_wrote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from commands.wandb_logger import has_account

    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert has_account() is False
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password key\n")
    assert has_account() is True
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    assert has_account() is False
