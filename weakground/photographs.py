"""Photographs that installed packages bring along, to try models on. The packages are not imported."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import NamedTuple


class Photograph(NamedTuple):
    """A photograph to try.

    Args:
        path: of the file.
        caption: says what it shows.
        phrases: that can be found in it.
    """

    path: Path
    caption: str
    phrases: tuple[str, ...]


# Package, file, caption, phrases.
_KNOWN = (
    (
        "sklearn",
        "datasets/images/china.jpg",
        "a temple with a red roof stands behind trees by a lake",
        ("the temple", "the lake", "trees"),
    ),
    (
        "sklearn",
        "datasets/images/flower.jpg",
        "a red flower grows in front of green leaves",
        ("a red flower", "green leaves"),
    ),
    (
        "skimage",
        "data/astronaut.png",
        "an astronaut in an orange suit smiles in front of a flag",
        ("the face of a woman", "an orange suit", "a flag"),
    ),
    (
        "skimage",
        "data/coffee.png",
        "a cup of coffee and a spoon on a wooden table",
        ("a cup of coffee", "a spoon", "the table"),
    ),
    (
        "skimage",
        "data/chelsea.png",
        "a cat with green eyes looks past the camera",
        ("the nose of a cat", "the ears"),
    ),
    (
        "skimage",
        "data/rocket.jpg",
        "a rocket stands between towers under a blue sky",
        ("a rocket", "the sky", "a tower"),
    ),
)


def photographs() -> list[Photograph]:
    """Those whose package is installed; scikit-learn always is, scikit-image may be.

    Example:
        >>> photographs()[0].path.name
        'china.jpg'
    """
    present = []
    for package, file, caption, phrases in _KNOWN:
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            continue
        path = Path(spec.origin).parent / file
        if path.is_file():
            present.append(Photograph(path, caption, phrases))
    return present
