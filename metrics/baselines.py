"""Heat maps of methods that look at nothing, judged under the same protocol as a model: a number means little
without them.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

# A bump of this standard deviation, in units of the image side, is above half of its peak over the middle
# half of each side.
_SIGMA = 0.25 / np.sqrt(2 * np.log(2))


def bumps(centres: Tensor, grid: int | tuple[int, int]) -> Tensor:
    """Gaussian bumps, half an image side wide at half of their peak.

    Args:
        centres: (q,2), y and x as fractions of the image.
        grid: side of the maps, or their height and width.

    Returns:
        (q,h,w) float32, in [0, 1].
    """
    height, width = (grid, grid) if isinstance(grid, int) else grid
    y = (torch.arange(height, dtype=torch.float64) + 0.5) / height - centres[:, :1].double()
    x = (torch.arange(width, dtype=torch.float64) + 0.5) / width - centres[:, 1:].double()
    along_y = torch.exp(-(y**2) / (2 * _SIGMA**2))
    along_x = torch.exp(-(x**2) / (2 * _SIGMA**2))
    return (along_y[:, :, None] * along_x[:, None, :]).float()


def centre_heatmaps(q: int, grid: int | tuple[int, int] = 65) -> Tensor:
    """The same bump in the middle of every image. Its point is the centre, its box about the middle half of
    each side.

    An odd grid has one largest cell; on an even one the four middle cells tie, and the point may be up to
    half a cell above and left of the centre.

    Args:
        q: number of maps.
        grid: side of the maps, or their height and width.

    Returns:
        (q,h,w) float32.

    Example:
        >>> centre_heatmaps(1, grid=3)[0, 1].tolist()
        [0.2916322648525238, 1.0, 0.2916322648525238]
    """
    return bumps(torch.full((1, 2), 0.5), grid).expand(q, -1, -1)


def random_heatmaps(keys: Sequence[str], grid: int | tuple[int, int] = 65) -> Tensor:
    """One bump a query, its centre uniform over the image and a function of the query's key alone.

    A bump and not noise: the largest value of noise is as uniform, but the box around noise is the whole
    image. The centre comes from the CRC-32 of the key, mixed; hence it is the same on every machine, in any
    batch and order. Under a protocol that averages the mentions of a chain, give them one key: the average of
    several bumps would be drawn to the middle.

    Args:
        keys: q names.
        grid: side of the maps, or their height and width.

    Returns:
        (q,h,w) float32.
    """
    crc = np.array([zlib.crc32(key.encode()) for key in keys], dtype=np.uint64)
    state = crc + np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        state = (state ^ (state >> np.uint64(shift))) * np.uint64(factor)
    state ^= state >> np.uint64(31)
    halves = np.stack((state >> np.uint64(32), state & np.uint64(0xFFFFFFFF)), 1)
    return bumps(torch.from_numpy((halves.astype(np.float64) + 0.5) / 2**32), grid)
