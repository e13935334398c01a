"""Says what is where in a photograph, with no phrase given: python cli.py describe photo.jpg

Parts of the photograph get the phrases of a bank that are most like them; phrases on which several parts
agree are found in it and drawn (the WWbL task, with a bank in the place of a captioner).
"""

from __future__ import annotations

import sys
from pathlib import Path

from commands.ground import report, write
from commands.option_parser import option_parser
from commands.quick_imports import quick_imports


def main(argv: list[str]) -> int:
    """Describes a photograph as a command; returns the exit code."""
    parser = option_parser("describe", __doc__)
    parser.add_argument("photo", type=Path, help="an image file")
    parser.add_argument(
        "--phrases", type=Path, help="the bank, a phrase a line; by default common phrases of captions"
    )
    parser.add_argument(
        "--regions",
        choices=("grid", "search"),
        default="grid",
        help="fixed grids, or also selective search (needs opencv-contrib-python-headless)",
    )
    parser.add_argument("--most", type=int, default=8, help="phrases at most")
    parser.add_argument(
        "--model", default="photos", help="a model of the project, a run, or a checkpoint of a run"
    )
    parser.add_argument("--out", type=Path, default=Path("described"), help="folder that is written into")
    parser.add_argument("--runs", default="runs", help="folder of all runs")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args(argv[1:])
    for path in (options.photo, options.phrases):
        if path is not None and not path.is_file():  # told before torch is imported
            print(f"error: there is no file {path.absolute()}.", file=sys.stderr)
            return 1
    from commands.runs import RunError
    from datamodules.errors import DataError
    from lightning_modules.errors import ModelError

    with quick_imports():  # here, so that --help is instant
        from weakground.models import SHIPPED, load

    bank = options.phrases or SHIPPED / "phrases.txt"
    phrases = [line.strip() for line in bank.read_text(encoding="utf-8").splitlines() if line.strip()]
    try:
        model = load(options.model, options.device, options.runs)
        result = model.describe(options.photo, phrases, options.regions, options.most)
    except (DataError, ModelError, RunError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if not result.phrases:
        print(f"no two parts of {options.photo} agree on a phrase of {bank}.")
        return 0
    report(result)
    paths = write(result, options.out, options.photo.stem, str(options.model))
    print(f"written: {', '.join(map(str, paths))}")
    return 0
