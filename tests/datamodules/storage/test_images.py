"""Every kind of image file becomes the RGB pixels that a viewer would show, in the size that a model has."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from datamodules.batches import Interpolation, Preprocessing, RandomWindow
from datamodules.errors import DataError
from datamodules.storage.images import (
    augment,
    read_image,
    resize_for_training,
    resize_image,
    resize_image_fast,
    to_tensor,
)

RED = (200, 40, 30)


def preprocessing(side: int, interpolation: Any) -> Preprocessing:
    return Preprocessing(side, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), interpolation)


def save(path: Path, mode: str, **options: Any) -> Path:
    """A red image of 20x12 in a Pillow mode."""
    Image.new("RGB", (20, 12), RED).convert(mode).save(path, **options)
    return path


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("x.jpg", "RGB"),
        ("x.png", "RGBA"),
        ("x.gif", "RGB"),
        ("x.webp", "RGB"),
        ("x.bmp", "RGB"),
        ("x.tif", "RGB"),
    ],
)
def test_colours_of_every_format(name: str, mode: str, tmp_path: Path) -> None:
    image = read_image(save(tmp_path / name, mode))
    assert (image.shape, image.dtype) == ((12, 20, 3), np.uint8)
    assert np.abs(image.astype(int) - RED).max() <= 8


def test_cmyk_is_brought_back(tmp_path: Path) -> None:
    image = read_image(save(tmp_path / "x.jpg", "CMYK", quality=100)).astype(int)
    assert np.abs(image - RED).max() <= 12


@pytest.mark.parametrize("mode", ["L", "LA", "1"])
def test_grey_has_three_equal_channels(mode: str, tmp_path: Path) -> None:
    image = read_image(save(tmp_path / "x.png", mode))
    assert image.shape == (12, 20, 3)
    assert (image.min(-1) == image.max(-1)).all()


@pytest.mark.parametrize("name", ["x.png", "x.tif"])
def test_sixteen_bits_are_scaled_and_not_cut_off(name: str, tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 257 * 100, 65535]], np.uint16)).save(tmp_path / name)
    assert read_image(tmp_path / name)[0, :, 0].tolist() == [0, 100, 255]


@pytest.mark.parametrize(("orientation", "turned"), [(1, 0), (6, 3), (8, 1), (3, 2)])
def test_exif_orientation(orientation: int, turned: int, tmp_path: Path) -> None:
    stored = np.zeros((16, 32, 3), np.uint8)
    stored[:, :16] = RED
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(tmp_path / "x.png", exif=exif)
    assert np.array_equal(read_image(tmp_path / "x.png"), np.rot90(stored, turned))


@pytest.mark.parametrize("kept", [0, 3, 200, -40])
@pytest.mark.parametrize("name", ["x.jpg", "x.png", "x.gif", "x.webp"])
def test_empty_and_truncated_files(name: str, kept: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / name
    Image.fromarray(rng.integers(0, 255, (40, 40, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match="not readable as an image") as raised:
        read_image(path)
    assert str(path) in str(raised.value)


@pytest.mark.filterwarnings("ignore:Tag data larger")
def test_bytes_that_are_wrong_give_an_image_or_a_data_error(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    path = tmp_path / "x"
    outcomes = {"read": 0, "refused": 0}
    for suffix in ("png", "jpeg", "gif", "tiff", "webp", "bmp"):
        Image.fromarray(rng.integers(0, 255, (12, 15, 3), np.uint8)).save(path, suffix)
        sound = path.read_bytes()
        for _ in range(40):
            data = bytearray(sound)
            for _ in range(3):
                data[rng.integers(len(data))] = rng.integers(256)
            path.write_bytes(data)
            try:
                assert read_image(path).shape[-1] == 3
                outcomes["read"] += 1
            except DataError:
                outcomes["refused"] += 1
    assert min(outcomes.values()) > 20


def test_no_image_and_no_file(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_text("<html>404</html>")
    with pytest.raises(DataError, match="UnidentifiedImageError"):
        read_image(tmp_path / "x.jpg")
    with pytest.raises(DataError, match="FileNotFoundError"):
        read_image(tmp_path / "y.jpg")


def test_resize_follows_the_named_library() -> None:
    image = np.random.default_rng(0).integers(0, 255, (37, 53, 3), np.uint8)
    for interpolation, filter_ in (
        ("bicubic", Image.Resampling.BICUBIC),
        ("bilinear", Image.Resampling.BILINEAR),
    ):
        expected = np.asarray(Image.fromarray(image).resize((16, 16), filter_))
        assert np.array_equal(resize_image(image, preprocessing(16, interpolation)), expected)
    expected = cv2.resize(image, (16, 16), interpolation=cv2.INTER_LINEAR)
    assert np.array_equal(resize_image(image, preprocessing(16, "cv2_bilinear")), expected)
    assert resize_image(image[:16, :16], preprocessing(16, "bicubic")).tolist() == image[:16, :16].tolist()


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear", "cv2_bilinear"])
@pytest.mark.parametrize("side", [7, 32, 60])
def test_the_fast_way_gives_nearly_the_same_image(side: int, interpolation: Interpolation) -> None:
    smooth = cv2.GaussianBlur(noise(45, 70), (0, 0), 3)
    image = smooth[:, ::-1]  # as a flip leaves it
    wanted = preprocessing(side, interpolation)
    fast = resize_image_fast(image, wanted)
    assert fast.shape == (side, side, 3)
    assert np.abs(fast.astype(int) - resize_image(image, wanted)).max() <= 1
    short_side = replace(wanted, resize="short_side")
    assert resize_image_fast(image, short_side, 9).shape == resize_image(image, short_side, 9).shape


def test_to_tensor_puts_channels_first_and_copies() -> None:
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    tensor = to_tensor(image)
    assert tensor[:, 0, 1].tolist() == [3, 4, 5]
    image[:] = 0
    assert int(tensor.sum()) == 66


def coordinates(height: int, width: int) -> np.ndarray:
    """(H,W,3) whose first two channels are the pixel's row and column."""
    y, x = np.mgrid[:height, :width]
    return np.stack([y, x, np.zeros_like(x)], -1).astype(np.uint8)


def test_augment_off_is_the_identity() -> None:
    image = coordinates(9, 7)
    assert np.array_equal(augment(image, np.random.default_rng(0), (1.0, 1.0), 0.0, 0.0), image)


def test_crops_keep_to_their_area_and_aspect() -> None:
    image = coordinates(100, 200)
    rng = np.random.default_rng(0)
    areas = []
    starts = set()
    for _ in range(300):
        crop = augment(image, rng, (0.1, 0.4), 0.0, 0.0)
        height, width = crop.shape[:2]
        areas.append(height * width / 20_000)
        starts.add((int(crop[0, 0, 0]), int(crop[0, 0, 1])))
        assert 0.72 < width / height < 1.36
        assert np.array_equal(crop[:, :, 0], crop[:, :1, 0].repeat(width, 1))  # one piece, in order
        assert (np.diff(crop[:, 0, 0].astype(int)) == 1).all()
    assert min(areas) > 0.095
    assert max(areas) < 0.405
    assert np.mean(areas) == pytest.approx(0.25, abs=0.02)
    assert len(starts) > 200


def test_half_of_the_images_are_flipped() -> None:
    image = coordinates(4, 10)
    rng = np.random.default_rng(0)
    flipped = [int(augment(image, rng, (1.0, 1.0), 0.5, 0.0)[0, 0, 1]) for _ in range(400)]
    assert set(flipped) == {0, 9}
    assert 150 < sum(column == 9 for column in flipped) < 250


def test_jitter_stays_within_its_bounds() -> None:
    grey = np.full((4, 4, 3), 100, np.uint8)
    rng = np.random.default_rng(0)
    values = [int(augment(grey, rng, (1.0, 1.0), 0.0, 0.3)[0, 0, 0]) for _ in range(300)]
    assert 69 <= min(values) < 80  # of a uniform grey image only the brightness changes
    assert 120 < max(values) <= 130


# Sizes.

ASPECTS = [(60, 80), (80, 60), (64, 64), (1, 500), (500, 1), (1, 1), (300, 2)]


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize(("height", "width"), ASPECTS)
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear", "cv2_bilinear"])
def test_the_short_side_is_that_of_the_model(height: int, width: int, interpolation: Any) -> None:
    short_side = replace(preprocessing(32, interpolation), resize="short_side", longest_side=96)
    resized = resize_image(noise(height, width), short_side)
    assert max(resized.shape[:2]) <= 96
    assert min(resized.shape[:2]) >= 1
    if max(height, width) <= 3 * min(height, width):
        assert min(resized.shape[:2]) == 32
        assert resized.shape[0] / resized.shape[1] == pytest.approx(height / width, abs=0.02)
    else:
        assert max(resized.shape[:2]) == 96


@pytest.mark.parametrize(("height", "width"), ASPECTS)
def test_kept_images_and_squares(height: int, width: int) -> None:
    image = noise(height, width)
    keep = replace(preprocessing(32, "bicubic"), resize="keep")
    assert resize_image(image, keep) is image
    assert resize_image(image, preprocessing(32, "bicubic")).shape == (32, 32, 3)


@pytest.mark.parametrize(("height", "width"), ASPECTS)
def test_a_training_image_is_a_random_window(height: int, width: int) -> None:
    window = RandomWindow(sizes=(20, 40), crop=24)
    random = replace(preprocessing(32, "bilinear"), resize="short_side", longest_side=90, training=window)
    image = noise(height, width)
    rng = np.random.default_rng(1)
    windows = [resize_for_training(image, random, rng) for _ in range(40)]
    assert all(1 <= side <= 24 for cut in windows for side in cut.shape[:2])
    assert len({cut.tobytes() for cut in windows}) > 5 or max(height, width) == 1
    again = np.random.default_rng(1)
    assert all(np.array_equal(cut, resize_for_training(image, random, again)) for cut in windows)


def test_without_a_window_training_draws_nothing() -> None:
    rng = np.random.default_rng(2)
    square = preprocessing(16, "bicubic")
    image = noise(20, 30)
    assert np.array_equal(resize_for_training(image, square, rng), resize_image_fast(image, square))
    assert rng.random() == np.random.default_rng(2).random()


def test_sizes_are_drawn_from_the_whole_range() -> None:
    window = RandomWindow(sizes=(3, 5), crop=100)
    random = replace(preprocessing(4, "bilinear"), resize="short_side", training=window)
    rng = np.random.default_rng(3)
    assert {resize_for_training(noise(7, 9), random, rng).shape[0] for _ in range(50)} == {3, 4, 5}
