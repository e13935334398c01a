"""Features are computed once, by several processes or after an interruption, and training reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

import cli
from tests.tiny import last_checkpoint, tiny_config, write_config


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    """A folder of twelve photographs, one of which is torn, and their captions."""
    rng = np.random.default_rng(0)
    photos = tmp_path / "photos"
    photos.mkdir()
    lines = ["image,caption"]
    for number in range(12):
        cv2.imwrite(str(photos / f"{number:02d}.png"), rng.integers(0, 256, (40, 50, 3), np.uint8))
        lines.append(f"{number:02d}.png,a red ball and a tall tree")
    (photos / "07.png").write_bytes(b"torn")
    (tmp_path / "captions.csv").write_text("\n".join(lines))
    config = tiny_config("PhraseAlignment")
    config["trainer"]["callbacks"] = []
    config["data"] = {
        "class_path": "ImageCaptionFolder",
        "init_args": {
            "images": str(photos),
            "captions": str(tmp_path / "captions.csv"),
            "cache_dir": str(tmp_path / "cache"),
            "batch_size": 4,
            "num_workers": 0,
            "max_skipped": 0.5,
        },
    }
    return ["--config", write_config(tmp_path / "tiny.yaml", config), "--runs", str(tmp_path / "runs")]


def features_of(tmp_path: Path) -> list[str]:
    return ["--data.features", str(tmp_path / "features")]


def test_training_on_features_is_training_on_images(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["features", *arguments, *features_of(tmp_path)]) == 0
    assert "features of 12 images: 1 of 1 parts" in capsys.readouterr().out
    assert cli.main(["fit", *arguments, "--name", "images"]) == 0
    assert cli.main(["fit", *arguments, "--name", "features", *features_of(tmp_path)]) == 0
    states: list[dict[str, Any]] = [
        last_checkpoint(tmp_path / "runs" / name)["state_dict"] for name in ("images", "features")
    ]
    assert not any("tower" in name for name in states[0])  # the towers are had again from their packages
    for name, tensor in states[0].items():
        np.testing.assert_allclose(states[1][name], tensor, rtol=0.05, atol=5e-3)
    skipped = (tmp_path / "runs" / "features" / "skipped-train-rank0.tsv").read_text()
    assert "07.png" in skipped


def test_parts_and_second_calls(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datamodules.storage.features.CHUNK", 4)
    command = ["features", *arguments, *features_of(tmp_path)]
    assert cli.main([*command, "--part", "1/2"]) == 0
    assert "1 of 3 parts" in capsys.readouterr().out
    before = (tmp_path / "features" / "000001.npy").stat().st_mtime_ns
    assert cli.main(command) == 0
    assert "3 of 3 parts" in capsys.readouterr().out
    assert (tmp_path / "features" / "000001.npy").stat().st_mtime_ns == before  # not computed again


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--data.augmentation.flip", "0.5"], "unchanged images"),
        (["--model.options.training_size", "64"], "another encoder, or of images of another size"),
    ],
)
def test_what_does_not_fit_is_told(
    arguments: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    extra: list[str],
    message: str,
) -> None:
    command = ["features", *arguments, *features_of(tmp_path)]
    assert cli.main(command) == 0
    assert cli.main([*command, *extra]) in {1, 2}
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_a_wrong_part_is_told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["features", *arguments, "--part", "4/4"])
    assert ended.value.code == 2
    assert "is no part: 0/4 is the first of four" in capsys.readouterr().err


def test_a_model_without_a_frozen_encoder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write_config(tmp_path / "tiny.yaml", yaml.safe_load(yaml.safe_dump(tiny_config())))
    command = ["features", "--config", config, "--runs", str(tmp_path / "runs"), *features_of(tmp_path)]
    assert cli.main(command) == 1
    assert "no frozen encoder" in capsys.readouterr().err
