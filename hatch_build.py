"""What a wheel holds: the folders of code of this repository as parts of one package, `weakground`.

In a clone they lie at the root and import each other as `from metrics.boxes import ...`. Installed like that,
they would take names such as `metrics`, `networks` or `commands` from everyone else in the environment, and a
`metrics.py` in the user's own folder would take theirs. A path entry or an import hook would not help, since
there is only one `sys.modules["metrics"]`. So the names are written out when a wheel is built: what is
installed is plain Python, `from weakground.metrics.boxes import ...`, and its messages speak of the command
`weakground`. An editable install is the clone itself.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOMS = ("callbacks", "commands", "datamodules", "lightning_modules", "metrics", "networks")
IMPORT = re.compile(rf"^(\s*(?:>>> )?(?:from|import) )({'|'.join(ROOMS)}|cli)\b", re.MULTILINE)
WORDS = {"python cli.py": "weakground", "pip install -e '.[": "pip install 'weakground["}


def as_installed(text: str, is_code: bool) -> str:
    """A file's text as it is installed.

    Args:
        text: as the repository has it.
        is_code: whether it is Python.
    """
    if is_code:
        text = IMPORT.sub(r"\1weakground.\2", text)
    for words, replacement in WORDS.items():
        text = text.replace(words, replacement)
    return text


def installed_files(root: Path) -> dict[Path, str]:
    """The files of the repository that are installed, with their paths in the environment."""
    files = {root / "cli.py": "weakground/cli.py"}
    for folder in (*ROOMS, "configs", "weakground"):
        for path in sorted((root / folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                inside = path.relative_to(root / folder if folder == "weakground" else root)
                files[path] = f"weakground/{inside.as_posix()}"
    return files


class WeakgroundBuildHook(BuildHookInterface[Any]):
    """Puts the files into the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Writes the texts as they are installed.

        Args:
            version: ``standard``, or ``editable``.
            build_data: of hatch.
        """
        if version == "editable":
            return
        self.folder = Path(tempfile.mkdtemp())
        for path, place in installed_files(Path(self.root)).items():
            if path.suffix in {".py", ".yaml", ".md"}:
                written = self.folder / place
                written.parent.mkdir(parents=True, exist_ok=True)
                text = as_installed(path.read_text(encoding="utf-8"), path.suffix == ".py")
                written.write_text(text, encoding="utf-8")
                path = written
            build_data["force_include"][str(path)] = place

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Removes them again."""
        if version != "editable":
            shutil.rmtree(self.folder)
