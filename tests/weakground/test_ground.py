"""From a photograph and phrases to points, boxes and pictures: in Python, and by the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

import cli
import weakground
from commands.runs import RunError
from commands.trainer import run
from datamodules.errors import DataError
from lightning_modules.packaged_weights import PACKAGED_WEIGHTS
from tests.tiny import tiny_config, write_config

installed = pytest.mark.skipif(
    any(weights.find() is None for weights in PACKAGED_WEIGHTS), reason="needs the extra 'photos'"
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs with one trained model that can ground."""
    base = tmp_path_factory.mktemp("ground")
    config = write_config(base / "tiny.yaml", tiny_config("PhraseAlignment"))
    run(["fit", "--config", config, "--runs", str(base / "runs")])
    return base / "runs"


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "a photo.png"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8))
    return path


def test_a_run_grounds_a_photograph(runs: Path, photo: Path) -> None:
    for name in ("tiny", runs / "tiny", runs / "tiny" / "checkpoints" / "last.ckpt"):
        result = weakground.load(name, runs=runs).ground(photo, ["the red ball", "a tree"])
        assert result.phrases == ["the red ball", "a tree"]
        assert result.image.shape == (60, 90, 3)
        assert result.heatmaps.shape == (2, 60, 90)
        assert 0 <= result.heatmaps.min() <= result.heatmaps.max() <= 1
        assert (result.points < [90, 60]).all()
        assert (result.points >= 0).all()
        for decision, (x0, y0, x1, y1) in zip(result.decisions, result.boxes, strict=True):
            assert decision.hit is None  # nobody has said where it is
            assert decision.box is None or 0 <= x0 < x1 <= 90
            assert decision.box is None or 0 <= y0 < y1 <= 60
        assert result.show().size[0] > 90


def test_one_phrase_and_an_array(runs: Path, photo: Path) -> None:
    model = weakground.load("tiny", runs=runs)
    image = cv2.imread(str(photo))[..., ::-1]
    from_array = model.ground(np.ascontiguousarray(image), "a  red   ball")
    from_file = model.ground(photo, ["a red ball"])
    assert from_array.phrases == ["a red ball"]
    np.testing.assert_array_equal(from_array.points, from_file.points)


def test_a_photograph_may_have_several_forms(runs: Path, photo: Path) -> None:
    model = weakground.load("tiny", runs=runs)
    pixels = np.ascontiguousarray(cv2.imread(str(photo))[..., ::-1])
    expected = model.ground(photo, "a red ball").heatmaps
    for same in (Image.fromarray(pixels), torch.from_numpy(pixels), str(photo)):
        np.testing.assert_array_equal(model.ground(same, "a red ball").heatmaps, expected)
    grey = model.ground(pixels[..., 0], "a red ball").image
    np.testing.assert_array_equal(grey, np.stack([pixels[..., 0]] * 3, axis=2))


@pytest.mark.parametrize(
    "photo", [np.zeros((4, 4, 3)), np.zeros((3, 4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8)]
)
def test_what_is_no_photograph(runs: Path, photo: np.ndarray) -> None:
    with pytest.raises(DataError, match=r"a photograph is a file, a Pillow image or an array"):
        weakground.load("tiny", runs=runs).ground(photo, "a ball")


@pytest.mark.parametrize(
    ("phrase", "message"),
    [("\N{HINDU TEMPLE}", "holds no word"), ("?!", "holds no word"), (3, "must be text")],
)
def test_what_is_no_phrase(runs: Path, photo: Path, phrase: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        weakground.load("tiny", runs=runs).ground(photo, [phrase])


@pytest.mark.parametrize("size", [(1, 1), (3, 400), (400, 2)])
def test_odd_photographs(runs: Path, size: tuple[int, int]) -> None:
    result = weakground.load("tiny", runs=runs).ground(np.zeros((*size, 3), np.uint8), "a ball")
    assert result.heatmaps.shape == (1, *size)


@pytest.mark.parametrize("phrases", [[], [""], "  ", ["a dog", " "]])
def test_an_empty_phrase(runs: Path, photo: Path, phrases: list[str]) -> None:
    with pytest.raises(DataError, match="a phrase is empty"):
        weakground.load("tiny", runs=runs).ground(photo, phrases)


def test_unknown_models(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="did you mean 'tiny'"):
        weakground.load("tinny", runs=runs)
    stray = tmp_path / "stray.ckpt"
    stray.write_bytes(b"")
    with pytest.raises(RunError, match="does not lie in the folder of a run"):
        weakground.load(stray)


def test_command(runs: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    phrases = ["the red ball", "ein Hund / 犬", "犬"]
    words = ["ground", str(photo), *phrases, "--model", "tiny", "--runs", str(runs)]
    assert cli.main([*words, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "'the red ball': point" in printed
    assert printed.count("has no Latin letter") == 1
    assert "note: '犬' has no Latin letter" in printed
    content = json.loads((out / "a photo.json").read_text())
    assert [query["phrase"] for query in content["queries"]] == phrases
    for query in content["queries"]:
        assert cv2.imread(str(out / query["heatmap"]), cv2.IMREAD_UNCHANGED).shape == (60, 90)
    assert (out / "a photo.png").is_file()


@pytest.mark.parametrize(
    ("photo_name", "message"), [("nowhere.jpg", "there is no file"), ("text.jpg", "not readable as an image")]
)
def test_command_with_a_bad_photo(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], photo_name: str, message: str
) -> None:
    (tmp_path / "text.jpg").write_text("no image")
    words = ["ground", str(tmp_path / photo_name), "a dog", "--model", "tiny", "--runs", str(runs)]
    assert cli.main(words) == 1
    assert message in capsys.readouterr().err


@pytest.fixture
def photo_of_china() -> Path:
    import sklearn

    return Path(sklearn.__file__).parent / "datasets" / "images" / "china.jpg"


@installed
def test_the_shipped_model_describes_a_photograph(
    photo_of_china: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["describe", str(photo_of_china), "--out", str(tmp_path / "out"), "--most", "4"]
    assert cli.main(words) == 0
    printed = capsys.readouterr().out
    assert "'a building'" in printed
    content = json.loads((tmp_path / "out" / "china.json").read_text())
    assert 0 < len(content["queries"]) <= 4
    (tmp_path / "bank.txt").write_text("\n")
    assert cli.main([*words, "--phrases", str(tmp_path / "bank.txt")]) == 1
    assert "the bank of phrases is empty" in capsys.readouterr().err


@installed
def test_the_shipped_model_finds_a_pavilion() -> None:
    from sklearn.datasets import load_sample_image

    result = weakground.load("photos").ground(load_sample_image("china.jpg"), ["the temple", "trees"])
    (x, y), _ = result.points
    assert 60 <= x <= 340  # the pavilion fills these columns and rows
    assert 30 <= y <= 410
