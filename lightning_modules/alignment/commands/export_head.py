"""Writes the trained head of a run of `PhraseAlignment` as two small files: NAME.safetensors with the weights
in float16, and NAME.json with the model's options and the run that the weights come from. The towers are not
among them: they come with their packages.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from commands.option_parser import option_parser


def build_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = option_parser("export_head", __doc__)
    parser.add_argument("run", help="name or folder of a run, or a checkpoint of it")
    parser.add_argument("--out", type=Path, required=True, help="path of both files, without suffix")
    parser.add_argument("--runs", default="runs", help="folder of all runs")
    return parser


def main(argv: list[str]) -> int:
    """Writes the head as a command; returns the exit code."""
    options = build_parser().parse_args(argv[1:])
    from commands.runs import RunError
    from lightning_modules.errors import ModelError
    from weakground.models import find_run

    try:
        folder, checkpoint = find_run(Path(options.run), Path(options.runs))
        export(folder, checkpoint, options.out)
    except (ModelError, RunError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"written: {options.out}.safetensors, {options.out}.json")
    return 0


def export(folder: Path, checkpoint: str, out: Path) -> None:
    """Writes the head of a run.

    Args:
        folder: of the run.
        checkpoint: ``best``, ``last`` or a file.
        out: path of both files, without suffix.

    Raises:
        ModelError: the run is of another method.
    """
    from safetensors.torch import save_file

    from lightning_modules.alignment.module import PhraseAlignment
    from lightning_modules.errors import ModelError
    from weakground.models import load_run, model_config

    module = load_run(folder, checkpoint)
    if not isinstance(module, PhraseAlignment):
        raise ModelError(f"{folder} is a run of {type(module).__name__}, and not of PhraseAlignment.")
    out.parent.mkdir(parents=True, exist_ok=True)
    state = {name: value.half().contiguous() for name, value in module.network.head_state().items()}
    save_file(state, out.with_suffix(".safetensors"))
    description = {"model": model_config(folder), "training": _origin(folder, module.loaded_step)}
    out.with_suffix(".json").write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")


def _origin(folder: Path, step: int) -> dict[str, Any]:
    """The run that the weights come from."""
    start = json.loads((folder / "run.json").read_text(encoding="utf-8"))[0]
    return {"steps": step, **{name: start.get(name) for name in ("seed", "commit", "config_sha256")}}
