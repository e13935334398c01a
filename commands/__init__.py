"""The subcommands. A new one is a module with ``main(argv) -> exit code`` (``argv[0]`` is its name) and a
line here.
"""

from __future__ import annotations

from typing import NamedTuple


class Command(NamedTuple):
    module: str
    summary: str


COMMANDS = {
    "fit": Command(
        "commands.trainer", "train: --config configs/hist_albef.yaml [--name NAME] [--ckpt_path last]"
    ),
    "validate": Command(
        "commands.trainer", "judge on the validation sets: --config FILE --ckpt_path best|last|FILE"
    ),
    "test": Command("commands.trainer", "judge on the test sets; alone, it judges the newest run"),
    "predict": Command(
        "commands.trainer", "find phrases in images of your own: heat maps, points and boxes as files"
    ),
    "report": Command(
        "commands.report", "what was measured, a table for each kind of evaluation: report [RUN ...]"
    ),
    "prepare": Command(
        "commands.prepare",
        "what a data set needs and how it is had: prepare [NAME] [OPTION=VALUE ...] [--root DIR] [--download]",
    ),
    "doctor": Command(
        "commands.doctor",
        "what is missing for a configuration, and the next command: doctor [--config FILE ...]",
    ),
    "spans": Command(
        "lightning_modules.text_group.commands.spans",
        "baselines of groups of words, judged on marked phrases: spans --spans FILE",
    ),
    "vectors": Command(
        "lightning_modules.text_group.commands.vectors",
        "GroupViT's vectors of images, computed once: vectors --images DIR --weights FILE --out DIR",
    ),
    "ablation": Command(
        "commands.ablation",
        "run a table of configs/ablation and print it beside the paper's numbers: ablation FILE [--scale demo]",
    ),
    "demo": Command(
        "commands.demo",
        "pre-train, fine-tune, judge and show on made scenes: demo [--size small|full] [--seed N]",
    ),
}

USAGE = "\n".join(
    [
        "Weakground: weakly supervised visual grounding.",
        "",
        "usage: python cli.py SUBCOMMAND [options]",
        "",
        *(f"  {name:<10}{command.summary}" for name, command in COMMANDS.items()),
        "",
        "`python cli.py SUBCOMMAND --help` lists a subcommand's options; `--print_config` shows the configuration that it would run with.",
    ]
)
