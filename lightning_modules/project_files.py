"""Files that come with the project: configurations, vocabularies, weights.

Configurations and command lines name them as they lie in the repository, e.g.
``configs/demo/scenes_vocab.txt``. They are found from any folder, and where the project is installed, too.
"""

from __future__ import annotations

from pathlib import Path

# What holds `networks`, `metrics` and the other folders of code: a clone, or the installed package.
HOME = Path(__file__).parents[1]
INSTALLED = __package__ != "lightning_modules"  # then it is weakground.lightning_modules
FOLDERS = {"configs": HOME / "configs", "weakground": HOME if INSTALLED else HOME / "weakground"}


def project_file(path: Path | str) -> Path:
    """A file as it is named if it is there, else the one of that name that comes with the project.

    Args:
        path: of a file; one of the project begins with ``configs`` or ``weakground``.

    Returns:
        The path itself if there is no such file at all.

    Example:
        >>> project_file("configs/hist_albef.yaml").is_file()
        True
        >>> project_file("gone.yaml").as_posix()
        'gone.yaml'
    """
    path = Path(path)
    folder = FOLDERS.get(path.parts[0]) if path.parts else None
    if folder is None or path.exists():
        return path
    shipped = folder.joinpath(*path.parts[1:])
    return shipped if shipped.exists() else path
