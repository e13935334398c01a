"""From a file to the square uint8 image that a model takes."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from datamodules.batches import Preprocessing
from datamodules.errors import DataError

PIL_FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


def read_image(path: Path | BinaryIO, name: str = "") -> np.ndarray:
    """An image file as RGB uint8 (H,W,3), upright (EXIF), whatever its mode.

    Args:
        path: of the file, or the open file itself.
        name: what an error calls it; the path by default.

    Raises:
        DataError: the file is missing, empty, truncated or no image.
    """
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I"):  # 16 bits a pixel, which Pillow would cut off at 255
                upright = Image.fromarray((np.asarray(upright) / 257).round().clip(0, 255).astype(np.uint8))
            return np.asarray(upright.convert("RGB"))
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, SyntaxError, ValueError) as error:
        raise DataError(
            f"{name or path}: not readable as an image ({type(error).__name__}: {error})"
        ) from error


def resize_square(image: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """(H,W,3) uint8 -> (S,S,3) uint8; the aspect ratio is not kept, as in all the methods here."""
    side = preprocessing.image_size
    if image.shape[:2] == (side, side):
        return image
    if preprocessing.interpolation == "cv2_bilinear":
        return cv2.resize(image, (side, side), interpolation=cv2.INTER_LINEAR)
    return np.asarray(Image.fromarray(image).resize((side, side), PIL_FILTERS[preprocessing.interpolation]))


def augment(
    image: np.ndarray, rng: np.random.Generator, crop_scale: tuple[float, float], flip: float, jitter: float
) -> np.ndarray:
    """A random crop (area in ``crop_scale``, aspect 3/4 to 4/3), a horizontal flip with probability ``flip``,
    and brightness, contrast and saturation each scaled by a factor in ``1 ± jitter``. (H,W,3) uint8 ->
    (h,w,3) uint8."""
    height, width = image.shape[:2]
    if crop_scale[0] < 1:
        area = rng.uniform(*crop_scale) * height * width
        ratio = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
        w = min(width, max(1, round(np.sqrt(area * ratio))))
        h = min(height, max(1, round(np.sqrt(area / ratio))))
        top, left = rng.integers(0, height - h + 1), rng.integers(0, width - w + 1)
        image = image[top : top + h, left : left + w]
    if rng.random() < flip:
        image = image[:, ::-1]
    if jitter > 0:
        brightness, contrast, saturation = rng.uniform(1 - jitter, 1 + jitter, size=3).astype(np.float32)
        pixels = image.astype(np.float32) * brightness
        pixels = (pixels - pixels.mean()) * contrast + pixels.mean()
        grey = pixels @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
        image = np.clip((pixels - grey[..., None]) * saturation + grey[..., None], 0, 255).astype(np.uint8)
    return np.ascontiguousarray(image)


def to_tensor(image: np.ndarray) -> torch.Tensor:
    """(S,S,3) uint8 array -> (3,S,S) uint8 tensor."""
    return torch.from_numpy(np.array(image.transpose(2, 0, 1), order="C"))
