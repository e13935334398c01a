"""Torch, Lightning and what reads photographs, imported in fewer seconds: they are most of a start."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# What torchmetrics, and with it Lightning, imports for metrics and plots that nothing here uses.
UNUSED_BY_METRICS = frozenset({"matplotlib", "scipy", "torchvision", "transformers"})


@contextmanager
def quick_imports() -> Iterator[None]:
    """Heavy libraries are imported inside of it, in a process that runs a command of this project.

    Garbage is not looked for meanwhile: what modules define lives to the end, and to go through it again and
    again is a fifth of the time. And torchmetrics takes `UNUSED_BY_METRICS` for packages that are not
    installed; whatever else needs them imports them as ever.

    Example:
        >>> with quick_imports():
        ...     import lightning.pytorch
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        with _hidden_from_metrics():
            yield
    finally:
        if collects:
            gc.enable()


@contextmanager
def _hidden_from_metrics() -> Iterator[None]:
    """The two ways in which torchmetrics asks for packages do not find `UNUSED_BY_METRICS`."""
    from lightning_utilities.core import imports  # here, since even that is too much for --help

    check = imports.RequirementCache._check_requirement
    is_available: Callable[[str], bool] = imports.package_available

    def check_others(requirement: imports.RequirementCache) -> None:
        if imports.Requirement(requirement.requirement).name in UNUSED_BY_METRICS:
            requirement.available = False
            requirement.message = "not looked for: no metric of this project needs it"
        else:
            check(requirement)

    imports.RequirementCache._check_requirement = check_others
    imports.package_available = lambda name: name not in UNUSED_BY_METRICS and is_available(name)
    try:
        yield
    finally:
        imports.RequirementCache._check_requirement = check
        imports.package_available = is_available
