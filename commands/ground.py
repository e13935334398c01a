"""Finds phrases in a photograph: python cli.py ground photo.jpg "a dog on the grass" "the man"

Prints the point and the box of each phrase, and writes the picture, the heat maps and a file with the
numbers. The default model comes with the project; it learnt from captions alone where phrases are.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commands.option_parser import option_parser
from commands.quick_imports import quick_imports

if TYPE_CHECKING:
    from weakground.grounder import GroundingResult


def build_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = option_parser("ground", __doc__)
    parser.add_argument("photo", type=Path, help="an image file")
    parser.add_argument("phrases", nargs="+", metavar="phrase", help="what to find")
    parser.add_argument(
        "--model", default="photos", help="a model of the project, a run, or a checkpoint of a run"
    )
    parser.add_argument("--out", type=Path, default=Path("grounded"), help="folder that is written into")
    parser.add_argument("--runs", default="runs", help="folder of all runs")
    parser.add_argument("--device", default="cpu")
    return parser


def main(argv: list[str]) -> int:
    """Grounds phrases as a command; returns the exit code."""
    options = build_parser().parse_args(argv[1:])
    if not options.photo.is_file():  # told before torch is imported
        print(f"error: there is no file {options.photo.absolute()}.", file=sys.stderr)
        return 1
    from commands.runs import RunError
    from datamodules.errors import DataError
    from lightning_modules.errors import ModelError

    try:
        with quick_imports():  # here, so that --help is instant
            from weakground.models import load

            model = load(options.model, options.device, options.runs)
        started = time.perf_counter()
        result = model.ground(options.photo, options.phrases)
        seconds = time.perf_counter() - started
    except (DataError, ModelError, RunError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    from weakground.inputs import in_other_scripts

    paths = write(result, options.out, options.photo.stem, str(options.model))
    report(result)
    for phrase in in_other_scripts(result.phrases):
        print(f"note: {phrase!r} has no Latin letter: models that learnt from English do not know it.")
    height, width = result.image.shape[:2]
    print(
        f"pixels of {options.photo} ({width}x{height}); {seconds:.1f} s; "
        f"written: {', '.join(map(str, paths))}"
    )
    return 0


def report(result: GroundingResult) -> None:
    """Prints point and box of each phrase."""
    for record in records(result):
        box = "no box" if record["box"] is None else "box {:.0f} {:.0f} {:.0f} {:.0f}".format(*record["box"])
        print("{!r}: point {} {}, {}".format(record["phrase"], *record["point"], box))


def records(result: GroundingResult) -> list[dict[str, Any]]:
    """For each phrase a plain record: phrase, point (x, y), box (or None) and score."""
    rows = []
    for phrase, decision in zip(result.phrases, result.decisions, strict=True):
        box = None if decision.box is None else [round(side, 1) for side in decision.box]
        score = round(decision.score, 3)
        rows.append({"phrase": phrase, "point": list(decision.point), "box": box, "score": score})
    return rows


def write(result: GroundingResult, folder: Path, stem: str, model: str) -> list[Path]:
    """Writes ``<stem>.png``, a heat map for each phrase, and ``<stem>.json``.

    Returns:
        The paths of the picture and of the numbers.
    """
    import cv2

    folder.mkdir(parents=True, exist_ok=True)
    picture = folder / f"{stem}.png"
    cv2.imwrite(str(picture), result.picture()[..., ::-1])
    rows = records(result)
    for query, row in enumerate(rows):
        words = "".join(letter if letter.isalnum() else "-" for letter in row["phrase"])[:60].strip("-")
        path = folder / f"{stem}-{query + 1}-{words}.png"
        cv2.imwrite(str(path), result.heatmap_picture(query))
        row["heatmap"] = path.name
    numbers = folder / f"{stem}.json"
    content = {"image": f"{stem}", "model": model, "queries": rows}
    numbers.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return [picture, numbers]
