"""A run has one W&B id; without an account nothing of W&B runs; with one, its failures are not the run's."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from commands.wandb_account import STEP, has_account, run_id, run_options
from commands.wandb_logger import wandb_logger


def test_the_id_is_made_once(tmp_path: Path) -> None:
    first = run_id(tmp_path / "a" / "b")
    assert len(first) == 12
    assert run_id(tmp_path / "a" / "b") == first
    assert (tmp_path / "a" / "b" / "wandb_id.txt").read_text() == first
    assert run_id(tmp_path / "c") != first


def test_an_empty_file_is_no_id(tmp_path: Path) -> None:
    (tmp_path / "wandb_id.txt").touch()
    assert len(run_id(tmp_path)) == 12


@pytest.mark.parametrize(
    ("mode", "account", "online"),
    [("offline", None, False), ("online", None, True), (None, False, False), (None, True, True)],
)
def test_the_logger_of_a_run(
    mode: str | None, account: bool | None, online: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made twice, as by a start and a resume; nothing is sent before something is logged."""
    monkeypatch.delenv("WANDB_MODE")
    if mode:
        monkeypatch.setenv("WANDB_MODE", mode)
    monkeypatch.setattr("commands.wandb_logger.has_account", lambda: account)
    for _ in range(2):
        logger = wandb_logger(tmp_path, "demo/hist")
        assert (logger is not None) == online
        if logger is not None:
            assert logger._wandb_init["id"] == run_id(tmp_path)
            assert logger._wandb_init["resume"] == "allow"
            assert logger._wandb_init["project"] == "weakground"


def test_a_run_below_a_folder_is_of_that_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_options(tmp_path, "table-demo/row-seed0")["group"] == "table-demo"
    assert "group" not in run_options(tmp_path, "hist")
    monkeypatch.setenv("WANDB_RUN_GROUP", "mine")
    assert "group" not in run_options(tmp_path, "table-demo/row-seed0")


def test_an_account_is_known_by_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    assert has_account() is True


def test_an_account_is_known_by_what_login_wrote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert has_account() is False
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password key\n")
    assert has_account() is True
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    assert has_account() is False


class Run:
    """Stands in for W&B's run: keeps what it is told, or is lost."""

    def __init__(self, last_step: int | None = None) -> None:
        self.rows: list[dict[str, Any]] = []
        self.summary = {} if last_step is None else {STEP: last_step}
        self.config = SimpleNamespace(update=lambda *args, **kwargs: None)
        self.lost = False

    def log(self, row: dict[str, Any]) -> None:
        if self.lost:
            raise ConnectionResetError("Connection lost")
        self.rows.append(row)

    def finish(self) -> None:
        self.log({"finished": True})


@pytest.fixture
def logger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("WANDB_MODE", "online")
    return wandb_logger(tmp_path, "hist")


def test_a_resumed_run_sends_a_step_once_and_a_test_always(logger: Any) -> None:
    logger._experiment = Run(last_step=9)
    for step in (4, 9, 14):
        logger.log_metrics({"train/loss": 0.5}, step)
    logger.log_metrics({"test/accuracy": 0.9}, 9)
    assert [row[STEP] for row in logger._experiment.rows] == [14, 9]


def test_a_run_goes_on_without_wandb(logger: Any, recwarn: pytest.WarningsRecorder) -> None:
    run = logger._experiment = Run()
    logger.log_metrics({"train/loss": 0.5}, 4)
    run.lost = True
    for step in (9, 14):
        logger.log_metrics({"train/loss": 0.5}, step)
    logger.log_hyperparams({})
    logger.finalize("success")
    logger.close()
    assert len(run.rows) == 1
    warned = [str(warning.message) for warning in recwarn.list if "W&B is lost" in str(warning.message)]
    assert len(warned) == 1
    assert "cli.py sync" in warned[0]


def test_a_run_starts_without_wandb(logger: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**options: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr("wandb.init", refuse)
    logger.log_metrics({"train/loss": 0.5}, 4)
    assert logger._lost
