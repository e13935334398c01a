"""A whole run through the command line, in this process: fit, validate, test, predict, and what each leaves
behind.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import cv2
import pytest
import torch
import yaml

import cli
from commands.options import accepted_arguments
from commands.trainer import run
from lightning_modules.catalogue import METHODS
from tests.tiny import last_checkpoint, metrics, tiny_config, tiny_of, write_config

METRICS = {"pointing_game", "box_accuracy", "mean_iou"}
METHOD = {method.__name__: method for method in METHODS}
MONITOR = {method.__name__: tiny_of(method).monitor for method in METHODS}
GROUNDING = [name for name, monitor in MONITOR.items() if monitor.endswith("pointing_game")]
# For what the command line does in the same way for every method.
one_method = pytest.mark.parametrize("folder", ["VisionLanguagePretrain"], indirect=True)


@pytest.fixture(scope="module", params=list(MONITOR))
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished and judged run named ``tiny``."""
    base = tmp_path_factory.mktemp(request.param)
    config = write_config(base / "tiny.yaml", tiny_config(request.param))
    run(["fit", "--config", config, "--runs", str(base / "runs"), "--monitor", MONITOR[request.param]])
    run(["test", "--config", config, "--runs", str(base / "runs"), "--ckpt_path", "last"])
    return base / "runs" / "tiny"


@pytest.fixture
def grounded(folder: Path) -> Path:
    """The same, of a method that is judged by where it points."""
    if method(folder) not in GROUNDING:
        pytest.skip("judged by other metrics")
    return folder


def method(folder: Path) -> str:
    return yaml.safe_load((folder / "config.yaml").read_text())["model"]["class_path"].rsplit(".", 1)[-1]


def arguments(folder: Path) -> list[str]:
    return ["--config", str(folder.parents[1] / "tiny.yaml"), "--runs", str(folder.parent)]


def test_what_a_run_leaves(folder: Path) -> None:
    kept = yaml.safe_load((folder / "config.yaml").read_text())
    assert kept["data"]["init_args"]["train_size"] == 12
    assert set(kept["model"]["init_args"]) == set(accepted_arguments(METHOD[method(folder)]))  # with defaults
    (start,) = json.loads((folder / "run.json").read_text())
    assert start["seed"] == 0
    assert start["processes"] == 1
    assert {"python", "torch", "lightning"} <= set(start["packages"])
    assert start["commit"] is None or len(start["commit"].rstrip("+")) == 12
    assert len(start["config_sha256"]) == 64
    state = last_checkpoint(folder)
    assert state["global_step"] == 4
    assert (folder / "checkpoints" / "best.ckpt").is_file()
    assert not list(folder.rglob("*.partial"))


def test_metrics_file(folder: Path) -> None:
    content = metrics(folder)
    assert {
        "run",
        "checkpoint",
        "seconds",
        "skipped",
        "protocols",
        "results",
        "seed",
        "commit",
        "config_sha256",
        "packages",
        "precision",
    } <= set(content)
    assert (content["run"], content["skipped"], content["processes"]) == ("tiny", 0, 1)
    assert content["checkpoint"].endswith("last.ckpt")
    results = content["results"]
    keys = [(result["dataset"], result["protocol"], result["method"], result["metric"]) for result in results]
    assert len(set(keys)) == len(keys)
    assert {protocol for _, protocol, _, _ in keys} == set(content["protocols"])
    assert MONITOR[method(folder)].removeprefix("val/").split("/") in [
        [dataset, protocol, metric] for dataset, protocol, _, metric in keys
    ]
    for result in results:
        if result["n"]:
            assert 0 <= result["value"] <= 1
            assert result["low"] is None or 0 <= result["low"] <= result["value"] <= result["high"] <= 1
    for place in {(dataset, protocol, metric) for dataset, protocol, _, metric in keys}:
        of_methods = {
            r["method"]: r["n"] for r in results if (r["dataset"], r["protocol"], r["metric"]) == place
        }
        assert "model" in of_methods
        # What knows nothing is judged, too, but by how alike its masks are.
        assert len(of_methods) > 1 or place[-1] == "tag_correlation"
        if place[2] != "precision":  # which is a share of what a method selects
            assert len(set(of_methods.values())) == 1  # by the same questions


def test_metrics_of_grounding(grounded: Path) -> None:
    results = metrics(grounded)["results"]
    keys = {(result["dataset"], result["protocol"], result["method"], result["metric"]) for result in results}
    assert keys == {
        ("scenes", rules, by, metric)
        for rules in ("clean", "selfeq")
        for by in ("model", "random", "centre")
        for metric in METRICS
    }
    for result in results:
        if result["metric"] != "mean_iou":
            hits = result["value"] * result["n"]
            assert math.isclose(hits, round(hits), abs_tol=result["n"] * 1e-6)


def test_pictures_can_be_looked_at(grounded: Path) -> None:
    pictures = sorted((grounded / "test" / "pictures").glob("*.png"))
    names = [*(f"scenes-{n:02d}.png" for n in range(14)), "scenes.png"]  # 7 images, 2 phrases each
    assert [path.name for path in pictures] == names
    for path in pictures:
        picture = cv2.imread(str(path))
        assert picture.shape[0] >= 288
        assert picture.std() > 10
    assert (grounded / "val" / "pictures" / "scenes.png").is_file()


@one_method
def test_alone_test_judges_the_newest_run_and_keeps_the_old_result(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = metrics(folder)
    assert cli.main(["test", "--runs", str(folder.parent), "--ckpt_path", "last"]) == 0
    assert metrics(folder)["results"] == before["results"]
    assert json.loads((folder / "test-1" / "metrics.json").read_text()) == before
    assert f"judging the run {folder} (last checkpoint)" in caplog.text
    assert f"{MONITOR[method(folder)].rsplit('/', 1)[-1]} %" in caplog.text


def test_validate(folder: Path) -> None:
    monitor = MONITOR[method(folder)]
    command = run(["validate", *arguments(folder), "--ckpt_path", "best"])
    logged = {name: float(value) for name, value in command.trainer.callback_metrics.items()}
    assert all(name.startswith("val/") for name in logged)
    best = torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)
    monitored = next(
        state["best_model_score"] for name, state in best["callbacks"].items() if "ModelCheckpoint" in name
    )
    assert logged[monitor] == pytest.approx(float(monitored), abs=1e-6)


def test_predict(grounded: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("commands.trainer.wandb_logger", None)  # it would not be called
    assert cli.main(["predict", *arguments(grounded), "--ckpt_path", "last", "--trainer.logger", "true"]) == 0
    assert "predictions written to" in caplog.text
    for noise in ("GPU available", "Seed set to", "Restoring states", "Loaded model weights"):
        assert noise not in caplog.text
    lines = [
        json.loads(line)
        for line in (grounded / "predict" / "predictions-rank0.jsonl").read_text().splitlines()
    ]
    assert len(lines) == next(
        result["n"] for result in metrics(grounded)["results"] if result["protocol"] == "clean"
    )
    for line in lines[:20]:
        x, y = line["point"]
        heatmap = cv2.imread(str(grounded / "predict" / line["heatmap"]), cv2.IMREAD_UNCHANGED)
        assert heatmap.shape == (32, 32)
        assert heatmap[y, x] >= 0.9 * heatmap.max()
        assert line["box"] is None or 0 <= line["box"][0] < line["box"][2] <= 32
        assert 0 <= line["score"] <= 1
        assert (line["score"] > 0) == (line["box"] is not None)
        picture = cv2.imread(str(grounded / "predict" / line["picture"]))
        assert picture.shape[1] > picture.shape[0]  # the image beside its heat map


@one_method
def test_predict_under_a_protocol_of_the_config(grounded: Path) -> None:
    config = write_config(
        grounded.parents[1] / "predictions.yaml",
        {"trainer": {"callbacks": [{"class_path": "Predictions", "init_args": {"protocol": "selfeq"}}]}},
    )
    assert cli.main(["predict", *arguments(grounded), "--config", config, "--ckpt_path", "last"]) == 0
    text = (grounded / "predict" / "predictions-rank0.jsonl").read_text()
    assert {json.loads(line)["protocol"] for line in text.splitlines()} == {"selfeq"}


@one_method
def test_a_second_fit_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (folder / "checkpoints" / "last.ckpt").read_bytes()
    assert cli.main(["fit", *arguments(folder)]) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert "already holds a run" in line
    assert "--ckpt_path last" in line
    assert "--name" in line
    assert (folder / "checkpoints" / "last.ckpt").read_bytes() == before
