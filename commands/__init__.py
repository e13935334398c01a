"""The subcommands.

A new one is a module with ``main(argv) -> exit code`` (``argv[0]`` is its name) and a line here. A method's
own subcommands lie in the method's folder ``commands``, a file each, and are listed there: ``COMMANDS`` in
its ``__init__.py`` says what each of them is for.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pkgutil import iter_modules
from typing import NamedTuple


class Command(NamedTuple):
    """A subcommand.

    Args:
        module: that holds its ``main``, as it is called in a clone.
        summary: for the list of all subcommands.
    """

    module: str
    summary: str


PREFIX = __name__.removesuffix("commands")  # empty in a clone, "weakground." where it is installed
GENERAL = {
    "ground": Command(
        "commands.ground",
        'find phrases in a photograph: ground photo.jpg "the dog" "a red ball" [--model RUN]',
    ),
    "describe": Command(
        "commands.describe", "say what is where in a photograph, with no phrase given: describe photo.jpg"
    ),
    "show": Command(
        "commands.show",
        "a page in the browser: photographs, phrases, models side by side: show [--model RUN ...]",
    ),
    "fit": Command(
        "commands.start", "train: --config configs/hist_albef.yaml [--name NAME] [--ckpt_path last]"
    ),
    "validate": Command(
        "commands.start", "judge on the validation sets: --config FILE --ckpt_path best|last|FILE"
    ),
    "test": Command("commands.start", "judge on the test sets; alone, it judges the newest run"),
    "predict": Command(
        "commands.start", "find phrases in images of your own: heat maps, points and boxes as files"
    ),
    "report": Command(
        "commands.report", "what was measured, a table for each kind of evaluation: report [RUN ...]"
    ),
    "prepare": Command(
        "commands.prepare",
        "what a data set needs and how to get it: "
        "prepare [NAME] [OPTION=VALUE ...] [--root DIR] [--download]",
    ),
    "doctor": Command(
        "commands.doctor",
        "what is missing for a configuration, and the next command: doctor [--config FILE ...]",
    ),
    "features": Command(
        "commands.features",
        "compute what a frozen encoder sees in the training images once: "
        "features --config FILE --data.features FOLDER",
    ),
    "ablation": Command(
        "commands.ablation",
        "run a table of configs/ablation and print it beside the paper's numbers: "
        "ablation FILE [--scale demo]",
    ),
    "leaderboard": Command(
        "commands.leaderboard",
        "run every method of a table of configs/leaderboards, and write a page that compares them",
    ),
    "sweep": Command(
        "commands.sweep",
        "search for good options by validation, run after run: sweep configs/sweeps/FILE [--trials N]",
    ),
    "launch": Command(
        "commands.launch",
        "run a command, or a table of runs, on a cluster: launch --cluster FILE fit --config FILE",
    ),
    "export_onnx": Command(
        "commands.export_onnx",
        "write a model as an ONNX graph, which runs without torch: export_onnx RUN --out FILE",
    ),
    "sync": Command("commands.sync", "upload runs to W&B that were trained without it: sync [RUN ...]"),
    "demo": Command(
        "commands.demo",
        "pre-train, fine-tune, judge and show on made scenes: demo [--size small|full] [--seed N]",
    ),
}


def commands_of_methods() -> dict[str, Command]:
    """The subcommands that methods list, by name; nothing but the lists is imported."""
    commands = {}
    methods = import_module(f"{PREFIX}lightning_modules")
    for method in iter_modules(methods.__path__, f"{methods.__name__}."):
        if not method.ispkg or find_spec(f"{method.name}.commands") is None:
            continue
        package = import_module(f"{method.name}.commands")
        for name, summary in package.COMMANDS.items():
            commands[name] = Command(f"{package.__name__.removeprefix(PREFIX)}.{name}", summary)
    return commands


COMMANDS = {**GENERAL, **commands_of_methods()}

WIDTH = max(map(len, COMMANDS)) + 2
USAGE = "\n".join(
    [
        "Weakground: weakly supervised visual grounding.",
        "",
        "usage: python cli.py SUBCOMMAND [options]",
        "",
        *(f"  {name:<{WIDTH}}{command.summary}" for name, command in COMMANDS.items()),
        "",
        "`python cli.py SUBCOMMAND --help` lists a subcommand's options; `--print_config` shows the "
        "configuration that it would run with.",
    ]
)
