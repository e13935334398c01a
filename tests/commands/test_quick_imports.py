"""What is hidden from torchmetrics while it is imported, and nothing longer than that."""

from __future__ import annotations

import gc

from lightning_utilities.core import imports

from commands.quick_imports import UNUSED_BY_METRICS, quick_imports


def test_unused_packages_are_hidden_meanwhile() -> None:
    before = (imports.RequirementCache._check_requirement, imports.package_available)
    with quick_imports():
        assert not any(imports.RequirementCache(f"{name}>=0.1") for name in UNUSED_BY_METRICS)
        assert not imports.package_available("scipy")
        assert imports.RequirementCache("torch>=2")
        assert imports.package_available("torch")
    assert before == (imports.RequirementCache._check_requirement, imports.package_available)
    assert imports.RequirementCache("scipy>=1")


def test_garbage_is_collected_again_afterwards() -> None:
    assert gc.isenabled()
    with quick_imports():
        assert not gc.isenabled()
    assert gc.isenabled()
    gc.disable()
    try:
        with quick_imports():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
