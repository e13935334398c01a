"""Keeps freed memory in the process, which halves the time of convolutions on a processor."""

from __future__ import annotations

import ctypes
import os

# Options of mallopt in glibc's malloc.h.
TRIM_THRESHOLD = -1
TOP_PAD = -2
MMAP_MAX = -4
MOST = 2**31 - 1  # the largest value that an option takes


def keep_freed_memory() -> bool:
    """Tells glibc to hold on to what is freed.

    By itself it returns every large block to the system at once, and the next tensor gets it anew, page by
    page, each filled with zeros: as much work as the convolution that fills it, on a virtual machine above
    all. The process stays as large as it has been at most, which training is at every step anyway. Variables
    of the environment that set glibc's malloc otherwise are left to have their way.

    Returns:
        Whether it was done: not without glibc, and not where such a variable is set.
    """
    if any(name.startswith("MALLOC_") for name in os.environ):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is None:
        return False
    options = {MMAP_MAX: 0, TRIM_THRESHOLD: MOST, TOP_PAD: 64 * 2**20}
    return all(mallopt(option, value) for option, value in options.items())
