from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
from commands.memory import keep_freed_memory
import numpy as np
print(keep_freed_memory())
np.ones(8 * 2**20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    np.ones(8 * 2**20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc")
@pytest.mark.parametrize("variables", [{}, {"MALLOC_ARENA_MAX": "4"}])
def test_freed_memory_is_taken_again_without_new_pages(variables: dict[str, str]) -> None:
    done, faults = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=variables, capture_output=True, text=True, check=True
    ).stdout.split()
    assert done == str(not variables)  # the user's own settings have their way
    assert (int(faults) < 1000) == (not variables)  # ten times 64 MiB are 160,000 pages
