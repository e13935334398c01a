"""The backgrounds of procedural scenes: muted, textured and noisy."""

from __future__ import annotations

import math
from functools import lru_cache
from random import Random

import numpy as np
from scipy.ndimage import gaussian_filter

from datamodules.synthetic.random_choices import pick


def background(rng: Random, image_size: int) -> np.ndarray:
    """A texture between two muted colours, with noise.

    Its channels differ by less than those of any object's colour.

    Args:
        rng: source of all random draws.
        image_size: side S in pixels.

    Returns:
        (S,S,3) uint8.
    """
    first = 70 + 110 * rng.random()
    contrast = 20 + 40 * rng.random()
    second = first + contrast if first < 125 else first - contrast
    ends = np.array([_muted_colour(rng, first), _muted_colour(rng, second)])
    palette = (ends[0] + np.linspace(0, 1, 256)[:, None] * (ends[1] - ends[0])).astype(np.uint8)
    texture = pick(rng, _textures(image_size))
    noise = _noise(image_size)
    x, y, s, t = (int(rng.random() * image_size) for _ in range(4))
    levels = texture[y : y + image_size, x : x + image_size]
    return palette[levels] + noise[t : t + image_size, s : s + image_size]


def _muted_colour(rng: Random, light: float) -> list[float]:
    return [light + 30 * rng.random() - 15 for _ in range(3)]


@lru_cache(maxsize=4)
def _textures(image_size: int) -> list[np.ndarray]:
    """Gradients, stripes, checks, blobs and noise.

    Returns:
        (2S,2S) uint8 in [0, 255] each: twice the image's side, so that crops differ.
    """
    rng = np.random.default_rng(0)
    side = 2 * image_size
    v, u = np.mgrid[:side, :side] / image_size
    fields = []
    for _ in range(6):
        angle = rng.uniform(0, math.pi)
        phase = rng.uniform(0, math.pi)
        frequency = rng.uniform(2.5, 7)
        along = math.cos(angle) * u + math.sin(angle) * v
        across = math.cos(angle) * v - math.sin(angle) * u
        stripes = np.sin(2 * math.pi * frequency * along)
        fields += [
            np.sin(2.2 * along + phase),
            stripes,
            np.tanh(3 * stripes * np.sin(2 * math.pi * frequency * across)),
            _blobs(rng, side, image_size, 0.05, 0.12),
            _blobs(rng, side, image_size, 0.01, 0.025),
        ]
    return [(255 * (field - field.min()) / np.ptp(field)).astype(np.uint8) for field in fields]


def _blobs(rng: np.random.Generator, side: int, image_size: int, least: float, most: float) -> np.ndarray:
    """White noise (side, side), blurred by a random share, between two limits, of the image's side."""
    noise = rng.standard_normal((side, side))
    return gaussian_filter(noise, image_size * rng.uniform(least, most), mode="wrap")


@lru_cache(maxsize=4)
def _noise(image_size: int) -> np.ndarray:
    """(2S,2S,3) uint8 in [0, 31), grey for the most part."""
    rng = np.random.default_rng(1)
    side = 2 * image_size
    grey = rng.integers(0, 20, (side, side, 1))
    return (grey + rng.integers(0, 12, (side, side, 3))).astype(np.uint8)
