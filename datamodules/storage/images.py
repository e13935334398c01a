"""From an image file to the uint8 array that a model takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from datamodules.batches import Preprocessing
from datamodules.errors import DataError, one_line

PIL_FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
ORIENTATION = 0x0112  # the EXIF tag
# What brings an image of each orientation upright.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_image(path: Path | BinaryIO, name: str = "", size: tuple[int, int] | None = None) -> np.ndarray:
    """Reads an image file as RGB, whatever its mode; what is transparent is white, as on a page.

    An image is turned upright as its EXIF data say. Where annotations say of which size it was when they were
    made, it is turned as they saw it: upright or as stored, whichever fits.

    Args:
        path: path of the file, or the open file itself.
        name: what an error message calls the file; its path by default.
        size: height and width in pixels that annotations say it has; None if they say nothing.

    Returns:
        (H,W,3) uint8.

    Raises:
        DataError: the file is missing, empty, truncated, no image, or not of the size.
    """
    with opened_image(path, "an image", name) as image:
        image.load()
        upright = _upright(image)
        if size is None or _size(upright) == size:
            return _as_rgb(upright)
        if _size(image) == size:
            return _as_rgb(image)
        raise DataError(
            f"{name or path}: the image is {upright.width}x{upright.height}, but its annotations are for "
            f"{size[1]}x{size[0]}"
        )


def rgb_pixels(image: Image.Image) -> np.ndarray:
    """An open image as (H,W,3) uint8 RGB, upright; what is transparent is white."""
    return _as_rgb(_upright(image))


@contextmanager
def opened_image(path: Path | BinaryIO, what: str, name: str = "") -> Iterator[Image.Image]:
    """An open image file. Whatever goes wrong with it is a `DataError`.

    Args:
        path: path of the file, or the open file itself.
        what: what it must be, for the message of an error.
        name: what a message calls the file; its path by default.

    Raises:
        DataError: the file is missing or damaged, or what the caller does with it fails.
    """
    try:
        with Image.open(path) as image:
            yield image
    except DataError:
        raise
    except Exception as error:  # a decoder raises nearly anything where a file is damaged
        raise DataError(f"{name or path}: not readable as {what} ({one_line(error)})") from error


def _size(image: Image.Image) -> tuple[int, int]:
    return image.height, image.width


def _upright(image: Image.Image) -> Image.Image:
    """An image turned as its EXIF data say.

    ``PIL.ImageOps.exif_transpose`` writes these data anew, too, and fails on what it cannot write.
    """
    turn = TURNS.get(image.getexif().get(ORIENTATION, 1))
    return image if turn is None else image.transpose(turn)


def _as_rgb(image: Image.Image) -> np.ndarray:
    """(H,W,3) uint8. Raises `ValueError` where nobody knows which number is white."""
    if image.mode in {"I", "F"}:
        raise ValueError("32 bits a pixel, of which nothing says which number is white")
    if image.mode.startswith("I"):  # 16 bits a pixel, which Pillow would cut off at 255
        image = Image.fromarray((np.asarray(image) / 257).round().astype(np.uint8))
    if image.has_transparency_data:
        seen = image.convert("RGBA")
        page = Image.new("RGBA", seen.size, "white")
        image = Image.alpha_composite(page, seen)
    return np.asarray(image.convert("RGB"))


def resize_image(image: np.ndarray, preprocessing: Preprocessing, size: int | None = None) -> np.ndarray:
    """Resizes an image as the model wants it.

    Args:
        image: (H,W,3) uint8.
        preprocessing: says how, and the interpolation.
        size: side of the square, or length of the shorter side; by default that of ``preprocessing``.

    Returns:
        (h,w,3) uint8.

    Example:
        >>> photo = np.zeros((48, 64, 3), np.uint8)
        >>> from dataclasses import replace
        >>> square = Preprocessing(32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        >>> resize_image(photo, square).shape
        (32, 32, 3)
        >>> resize_image(photo, replace(square, resize="short_side")).shape
        (32, 43, 3)
    """
    height, width = resized_shape(image.shape[0], image.shape[1], preprocessing, size)
    if image.shape[:2] == (height, width):
        return image
    if preprocessing.interpolation == "cv2_bilinear":
        return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    resample = PIL_FILTERS[preprocessing.interpolation]
    return np.asarray(Image.fromarray(image).resize((width, height), resample))


def resize_image_fast(image: np.ndarray, preprocessing: Preprocessing, size: int | None = None) -> np.ndarray:
    """As `resize_image`, in a fifth of its time; for training, where no number of a paper hangs on a pixel.

    torch's resampling of bytes is PIL's but for its rounding: of photographs at 224 pixels, 7 values in a
    million differ by more than 1, at 384 pixels 2 in ten thousand (`benchmarks.images`).
    """
    height, width = resized_shape(image.shape[0], image.shape[1], preprocessing, size)
    if image.shape[:2] == (height, width) or preprocessing.interpolation not in PIL_FILTERS:
        return resize_image(image, preprocessing, size)
    channels_first = torch.from_numpy(np.require(image, requirements=["C", "W"])).permute(2, 0, 1)[None]
    resized = F.interpolate(channels_first, (height, width), mode=preprocessing.interpolation, antialias=True)
    return resized[0].permute(1, 2, 0).numpy()


def resized_shape(
    height: int, width: int, preprocessing: Preprocessing, size: int | None = None
) -> tuple[int, int]:
    """Height and width in pixels of a resized image; at least one pixel each."""
    size = preprocessing.image_size if size is None else size
    if preprocessing.resize == "square":
        return size, size
    if preprocessing.resize == "keep":
        return height, width
    scale = min(size / min(height, width), preprocessing.longest_side / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def resize_for_training(
    image: np.ndarray, preprocessing: Preprocessing, rng: np.random.Generator
) -> np.ndarray:
    """Resizes a training image, and cuts out a random window where the model wants one.

    Args:
        image: (H,W,3) uint8.
        preprocessing: of the model; see `datamodules.batches.RandomWindow`.
        rng: source of all random draws.

    Returns:
        (h,w,3) uint8.
    """
    window = preprocessing.training
    if window is None:
        return resize_image_fast(image, preprocessing)
    size = int(rng.integers(window.sizes[0], window.sizes[1] + 1))
    resized = resize_image_fast(image, preprocessing, size)
    height, width = resized.shape[:2]
    top = int(rng.integers(0, max(0, height - window.crop) + 1))
    left = int(rng.integers(0, max(0, width - window.crop) + 1))
    return resized[top : top + window.crop, left : left + window.crop]


def augment(
    image: np.ndarray,
    rng: np.random.Generator,
    crop_scale: tuple[float, float],
    flip: float,
    jitter: float,
) -> np.ndarray:
    """Crops, flips and recolours an image at random.

    Args:
        image: (H,W,3) uint8.
        rng: source of all random draws.
        crop_scale: least and greatest share of the area that the crop keeps; its aspect ratio is changed by
            a factor between 3/4 and 4/3. A least share of 1 keeps the whole image.
        flip: probability of a horizontal flip.
        jitter: brightness, contrast and saturation are each scaled by a factor within ``1 ± jitter``.

    Returns:
        (h,w,3) uint8.
    """
    if crop_scale[0] < 1:
        image = _random_crop(image, rng, crop_scale)
    if rng.random() < flip:
        image = image[:, ::-1]
    if jitter > 0:
        image = _jitter_colours(image, rng, jitter)
    return np.ascontiguousarray(image)


def _random_crop(image: np.ndarray, rng: np.random.Generator, crop_scale: tuple[float, float]) -> np.ndarray:
    height, width = image.shape[:2]
    area = rng.uniform(*crop_scale) * height * width
    ratio = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
    crop_width = min(width, max(1, round(np.sqrt(area * ratio))))
    crop_height = min(height, max(1, round(np.sqrt(area / ratio))))
    top = rng.integers(0, height - crop_height + 1)
    left = rng.integers(0, width - crop_width + 1)
    return image[top : top + crop_height, left : left + crop_width]


def _jitter_colours(image: np.ndarray, rng: np.random.Generator, jitter: float) -> np.ndarray:
    brightness, contrast, saturation = rng.uniform(1 - jitter, 1 + jitter, size=3).astype(np.float32)
    pixels = image.astype(np.float32) * brightness
    pixels = (pixels - pixels.mean()) * contrast + pixels.mean()
    grey = pixels @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    saturated = (pixels - grey[..., None]) * saturation + grey[..., None]
    return np.clip(saturated, 0, 255).astype(np.uint8)


def to_tensor(image: np.ndarray) -> torch.Tensor:
    """Copies an image (H,W,3) uint8 into a tensor (3,H,W) uint8."""
    return torch.from_numpy(np.array(image.transpose(2, 0, 1), order="C"))
