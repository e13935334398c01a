"""The main job on data that the project makes itself.

A small ALBEF is pre-trained on scenes, fine-tuned with HIST's losses, judged and shown. What is run is the
table configs/ablation/demo.yaml; `python cli.py ablation --help` says how tables are run. Every run is an
ordinary command, printed before it starts; one that is done already is not done again.
"""

from __future__ import annotations

import argparse
import sys

from commands import ablation

TABLE = "configs/ablation/demo.yaml"


def main(argv: list[str]) -> int:
    """Runs the demo as a command; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="cli.py demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--size",
        choices=("small", "full"),
        default="small",
        help="small: within 10 minutes on 2 cores; full: a longer run",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", default="runs", help="folder of all runs")
    options, extra = parser.parse_known_args(argv[1:])
    words = ["--scale", options.size, "--seeds", str(options.seed), "--runs", options.runs]
    return ablation.main(["ablation", TABLE, *words, *extra])


if __name__ == "__main__":
    sys.exit(main(["demo", *sys.argv[1:]]))
