"""A run that was stopped and resumed is, bit for bit, the run that was not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import cli
from commands.ending import STOPPED
from lightning_modules.catalogue import METHODS
from tests.tiny import differences, last_checkpoint, tiny_config, write_config

STEPS = 8
VALIDATED = (3, 6)
HELPERS = "tests.integration.helpers"


def train(
    base: Path,
    method: str,
    accumulate: int = 1,
    stop: dict[str, int] | None = None,
    workers: int = 0,
    **trainer: Any,
) -> tuple[int, Path]:
    """Trains below ``base``; a second call with the same folder resumes."""
    config = tiny_config(method)
    config["trainer"]["callbacks"] = [{"class_path": f"{HELPERS}.Order"}]
    if stop:
        config["trainer"]["callbacks"].append({"class_path": f"{HELPERS}.StopAt", "init_args": stop})
    config["trainer"] |= {"max_steps": STEPS, "accumulate_grad_batches": accumulate, **trainer}
    if trainer:
        config["model"]["init_args"]["optimisation"] |= {"schedule": "constant", "warmup_steps": 4}
    config["data"]["init_args"] |= {"num_workers": workers, "val_size": 2, "train_size": 12 * accumulate}
    config["data"]["init_args"]["augmentation"] = {"crop_scale": [0.5, 1.0], "flip": 0.5, "jitter": 0.2}
    folder = base / "runs" / "tiny"
    resume = ["--ckpt_path", "last"] if folder.exists() else []
    return cli.main(
        ["fit", "--config", write_config(base / "tiny.yaml", config), "--runs", str(base / "runs"), *resume]
    ), folder


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Any:
    made: dict[tuple[str, int], Path] = {}

    def run(method: str, accumulate: int) -> Path:
        if (method, accumulate) not in made:
            code, made[method, accumulate] = train(tmp_path_factory.mktemp("whole"), method, accumulate)
            assert code == 0
        return made[method, accumulate]

    return run


CASES = {
    "mid-epoch": ("VisionLanguagePretrain", 1, {"step": 2}, 0),
    "end of an epoch": ("VisionLanguagePretrain", 1, {"step": 3}, 0),
    "second epoch": ("VisionLanguagePretrain", 1, {"step": 5}, 0),
    "mid-epoch, a worker": ("VisionLanguagePretrain", 1, {"step": 2}, 1),
    "end of an epoch, a worker": ("VisionLanguagePretrain", 1, {"step": 6}, 1),
    "between two summed gradients": ("VisionLanguagePretrain", 2, {"step": 2, "accumulated": 0}, 0),
    **{f"{found.__name__}, second epoch": (found.__name__, 1, {"step": 4}, 0) for found in METHODS},
}


@pytest.mark.parametrize("case", CASES)
def test_resumed_equals_uninterrupted(
    case: str, uninterrupted: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    method, accumulate, stop, workers = CASES[case]
    whole = uninterrupted(method, accumulate)
    code, folder = train(tmp_path, method, accumulate, stop, workers)
    assert code == STOPPED
    assert last_checkpoint(folder)["global_step"] == stop["step"]
    assert f"stopped at step {stop['step']}; the same command with --ckpt_path last goes on" in caplog.text
    code, folder = train(tmp_path, method, accumulate, None, workers)
    assert code == 0

    first = last_checkpoint(whole)
    second = last_checkpoint(folder)
    assert first["global_step"] == second["global_step"] == STEPS
    assert first["epoch"] == second["epoch"]
    for part in ("state_dict", "optimizer_states", "lr_schedulers"):
        assert differences(first[part], second[part], part) == []
    assert (folder / "order.txt").read_text() == (whole / "order.txt").read_text()
    assert len(json.loads((folder / "run.json").read_text())) == 2


def test_what_the_runs_above_do(uninterrupted: Any) -> None:
    """Other data and another view of it each step, and a validation an epoch; otherwise there would be little
    to repeat.
    """
    lines = (uninterrupted("VisionLanguagePretrain", 1) / "order.txt").read_text().splitlines()
    steps = [line for line in lines if not line.startswith("validated")]
    assert len({line.split(" ", 2)[2] for line in steps}) == len(steps) == STEPS
    assert [line for line in lines if line.startswith("validated")] == [
        f"validated epoch {n} at step {step}" for n, step in enumerate(VALIDATED)
    ]


def test_resuming_a_finished_run_changes_nothing(tmp_path: Path) -> None:
    train(tmp_path, "VisionLanguagePretrain")
    before = last_checkpoint(tmp_path / "runs" / "tiny")
    code, folder = train(tmp_path, "VisionLanguagePretrain")
    assert code == 0
    assert differences(before["state_dict"], last_checkpoint(folder)["state_dict"]) == []
    assert last_checkpoint(folder)["global_step"] == STEPS


@pytest.mark.parametrize(("parts", "limit"), [({"max_steps": [3, 6]}, None), ({"max_epochs": [1, 2]}, 2)])
def test_a_finished_run_can_be_made_longer(
    parts: dict[str, list[int]], limit: int | None, tmp_path: Path
) -> None:
    common = {"limit_train_batches": limit} if limit else {"max_time": None}
    _, whole = train(tmp_path / "whole", "VisionLanguagePretrain", **common)
    for name, numbers in parts.items():
        for number in numbers:
            train(tmp_path / "parts", "VisionLanguagePretrain", **(common | {"max_steps": -1, name: number}))
    code, folder = train(tmp_path / "parts", "VisionLanguagePretrain", workers=1, **common)
    assert code == 0
    assert steps(folder) == steps(whole)
    assert differences(last_checkpoint(whole)["state_dict"], last_checkpoint(folder)["state_dict"]) == []


def steps(folder: Path) -> list[str]:
    return [
        line for line in (folder / "order.txt").read_text().splitlines() if not line.startswith("validated")
    ]


def test_a_resume_with_another_batch_says_that_its_epoch_differs(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    for size, steps, warned in ((4, 2, False), (4, 3, False), (2, 5, True)):
        config = tiny_config("VisionLanguagePretrain")
        config["trainer"]["max_steps"] = steps
        config["data"]["init_args"] |= {"train_size": 24, "batch_size": size}
        resume = ["--ckpt_path", "last"] if (tmp_path / "runs").exists() else []
        assert (
            cli.main(
                [
                    "fit",
                    "--config",
                    write_config(tmp_path / "tiny.yaml", config),
                    "--runs",
                    str(tmp_path / "runs"),
                    *resume,
                ]
            )
            == 0
        )
        assert (
            any(
                "began with images: 24, images a step: 4, seed: 0, "
                "and goes on with images: 24, images a step: 2, seed: 0;" in str(warning.message)
                for warning in recwarn.list
            )
            == warned
        )
