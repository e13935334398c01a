"""A page in the browser on which models find phrases in photographs, side by side:

    python cli.py show --model photos --model my_run

Its visitor chooses a photograph, their own or one of a gallery, and writes phrases or a caption. The page is
served to this machine alone unless --host says otherwise, loads nothing from elsewhere, and keeps uploads
neither on disk nor in a log.
"""

from __future__ import annotations

import argparse
import importlib.util
import socket
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from commands.option_parser import option_parser
from commands.quick_imports import quick_imports

if TYPE_CHECKING:
    from weakground.grounder import Grounder

INSTALL = "pip install -c constraints.txt -e '.[show]'"
# Seconds after which a silent browser has left, and what it was shown is let go. A machine that is busy with
# a model may take several to answer a browser, which would begin anew if it were forgotten meanwhile.
RECONNECT = 60.0


def build_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = option_parser("show", __doc__)
    parser.add_argument(
        "--model",
        dest="models",
        action="append",
        metavar="NAME",
        help="a model of the project, a run, or a checkpoint of a run; once for each; photos by default",
    )
    parser.add_argument("--runs", default="runs", help="folder of all runs")
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--host", default="127.0.0.1", help="0.0.0.0 lets everybody in who can reach this machine"
    )
    parser.add_argument("--port", type=int, default=7860)
    return parser


def main(argv: list[str]) -> int:
    """Serves the page as a command until it is interrupted; returns the exit code."""
    options = build_parser().parse_args(argv[1:])
    problem = obstacle(options.host, options.port)
    if problem is not None:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    # Here, so that --help is instant.
    from commands.runs import RunError
    from lightning_modules.errors import ModelError

    try:
        models = load_models(options.models or ["photos"], options.device, options.runs)
    except (ModelError, RunError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    serve(models, options.host, options.port)
    return 0


def obstacle(host: str, port: int) -> str | None:
    """Why the page cannot be served, if so."""
    if importlib.util.find_spec("nicegui") is None:
        return f"the page needs NiceGUI, which is not installed: {INSTALL}"
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        return f"the page cannot be served at {host}:{port} ({error.strerror}); choose another --port."
    return None


def load_models(names: list[str], device: str, runs: str) -> dict[str, Grounder]:
    """The models by name, each once.

    Raises:
        ModelError, RunError: see `weakground.models.load`.
    """
    with quick_imports():
        from weakground.models import load

        return {name: load(name, device, runs) for name in dict.fromkeys(names)}


def serve(models: dict[str, Grounder], host: str, port: int) -> None:
    """Serves the page until the process is interrupted."""
    from nicegui import app, ui

    from commands.page import page
    from weakground.comparison import Comparison
    from weakground.photographs import photographs

    address = f"http://{host}:{port}"
    app.on_startup(lambda: print(f"{address} shows {', '.join(models)}; Ctrl-C ends it.", flush=True))
    with suppress(KeyboardInterrupt):
        ui.run(
            page(Comparison(models), photographs()),
            host=host,
            port=port,
            title="Weakground",
            favicon="🔎",
            reload=False,
            show=False,
            show_welcome_message=False,
            reconnect_timeout=RECONNECT,
        )
