"""The main job on data that the project makes itself: a small ALBEF is pre-trained on scenes, fine-tuned with
HIST's losses, judged and shown.

Every stage is an ordinary command, printed before it runs. A stage that is done already is not done again.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from callbacks.evaluations.results import format_rows
from commands.report import method_cells, read_metrics
from commands.runs import RunError, claim

STEPS = {"small": (620, 350), "full": (2000, 600)}
EPOCHS = 5  # of fine-tuning
PAPER = {"untrained": None, "pretrain": 79.4, "phrase": 81.6, "phrase_add": 85.0, "hist": 85.3}
TITLES = {
    "untrained": "the same network, untrained",
    "pretrain": "pre-trained, zero-shot",
    "phrase": "+ L_phrase",
    "phrase_add": "+ L_phrase + L_add",
    "hist": "+ L_phrase + L_add + L_subject",
}
ABLATION = {
    "phrase": ["--model.add_weight", "0", "--model.subject_weight", "0"],
    "phrase_add": ["--model.subject_weight", "0"],
    "hist": [],
}


def stages(size: str, seed: int, runs: Path, extra: list[str]) -> dict[str, list[list[str]]]:
    """For each row of the table its commands: one that trains and one that judges."""
    pretrain_steps, finetune_steps = STEPS[size]
    prefix = f"demo-{size}" + (f"-seed{seed}" if seed else "")
    start = runs / prefix / "pretrain" / "checkpoints" / "last.ckpt"
    commands = {}
    for name in TITLES:
        base = name in {"untrained", "pretrain"}
        config = "configs/demo/pretrain.yaml" if base else "configs/demo/hist.yaml"
        common = [
            "--config",
            config,
            "--runs",
            str(runs),
            "--name",
            f"{prefix}/{name}",
            "--seed_everything",
            str(seed),
            *extra,
        ]
        options = ["--trainer.max_steps", str(pretrain_steps if base else finetune_steps)]
        if not base:
            epoch = str(finetune_steps // EPOCHS)  # alpha follows the epochs, so they grow with the run
            options += [
                "--trainer.limit_train_batches",
                epoch,
                "--model.pretrained",
                str(start),
                *ABLATION[name],
            ]
        fit, test = ["fit", *common, *options], ["test", *common]
        commands[name] = [test] if name == "untrained" else [fit, [*test, "--ckpt_path", "last"]]
    return commands


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="cli.py demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--size",
        choices=STEPS,
        default="small",
        help="small: within 10 minutes on 2 cores; full: a longer run",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    options, extra = parser.parse_known_args(argv[1:])
    from commands.trainer import main as train  # here, so that --help is instant

    started, folders = time.monotonic(), {}
    for name, commands in stages(options.size, options.seed, options.runs, extra).items():
        folder = folders[name] = options.runs / commands[0][commands[0].index("--name") + 1]
        try:
            claim(folder, commands[0][1:])
        except RunError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        if (folder / "test" / "metrics.json").is_file():
            print(f"\n== {TITLES[name]}: done before, in {folder}", flush=True)
            continue
        for command in commands:
            if command[0] == "fit" and (folder / "checkpoints" / "last.ckpt").is_file():
                command = [*command, "--ckpt_path", "last"]
            print(f"\n== {TITLES[name]}\n$ python cli.py {' '.join(command)}", flush=True)
            code = train(command)
            if code:
                print("\nnot done; the same command goes on from here.")
                return code
    print(f"\n{table(folders)}\n")
    gallery = folders["hist"] / "test" / "pictures" / "scenes.png"
    print(
        f"Pictures of what the last row's model found: {gallery}\n{time.monotonic() - started:.0f} seconds in all."
    )
    return 0


def table(folders: dict[str, Path]) -> str:
    """The rows of the paper's table 6, with what knows nothing above them."""
    found = {name: read_metrics(folder / "test" / "metrics.json") for name, folder in folders.items()}
    rows: list[list[Any]] = []
    for baseline in ("random", "centre"):
        rows.append([baseline, "", *method_cells(found["pretrain"], baseline), "-"])
    for name, title in TITLES.items():
        rows.append(
            [
                title,
                str(found[name]["step"] or ""),
                *method_cells(found[name], "model"),
                f"{paper:.1f}" if (paper := PAPER[name]) else "-",
            ]
        )
    header = [
        "pointing game etc. in %, 95 % intervals",
        "steps",
        "pointing game",
        "box accuracy",
        "mean IoU",
        "n",
        "paper: pointing, Flickr30k",
    ]
    return format_rows(header, rows)


if __name__ == "__main__":
    sys.exit(main(["demo", *sys.argv[1:]]))
