"""The main job on what the project brings along.

Phrases are found in a photograph by the model that comes with the project. Then a small ALBEF is
pre-trained on made scenes, fine-tuned with HIST's losses, judged and shown. What is run is the table
configs/ablation/demo.yaml; `python cli.py ablation --help` says how tables are run. Every run is an ordinary
command, printed before it starts; one that is done already is not done again.
"""

from __future__ import annotations

import sys
from pathlib import Path

from commands import ablation, ground
from commands.option_parser import option_parser
from weakground.photographs import photographs

TABLE = "configs/ablation/demo.yaml"


def ground_photograph(folder: Path) -> int:
    """Finds phrases in a photograph that scikit-learn ships; returns the exit code of `ground`."""
    photo = photographs()[0]
    words = ["ground", str(photo.path), *photo.phrases, "--out", str(folder)]
    print(f"$ python cli.py {' '.join(repr(word) if ' ' in word else word for word in words)}", flush=True)
    return ground.main(words)


def main(argv: list[str]) -> int:
    """Runs the demo as a command; returns the exit code."""
    parser = option_parser("demo", __doc__)
    parser.add_argument(
        "--size",
        choices=("small", "full"),
        default="small",
        help="small: within 10 minutes on 2 cores; full: a longer run",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", default="runs", help="folder of all runs")
    options, extra = parser.parse_known_args(argv[1:])
    ground_photograph(Path(options.runs) / "demo-photograph")
    words = ["--scale", options.size, "--seeds", str(options.seed), "--runs", options.runs]
    return ablation.main(["ablation", TABLE, *words, *extra])


if __name__ == "__main__":
    sys.exit(main(["demo", *sys.argv[1:]]))
