"""Writes a model as an ONNX graph, which runs without torch: an image and token ids in, heat maps out.

    python cli.py export_onnx photos --out photos.onnx

Beside FILE.onnx lie FILE.onnx.json, which says what goes in and out, and the tokenizer where it is the
project's own; a CLIP has that of open_clip. If onnxruntime is installed, the graph is compared with torch.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from commands.option_parser import option_parser

if TYPE_CHECKING:
    from weakground.onnx_graph import Graph

INSTALL = "pip install -c constraints.txt -e '.[onnx]'"
PHRASES = ("a dog", "two people on a bench", "the sky")


def main(argv: list[str]) -> int:
    """Writes the graph as a command; returns the exit code."""
    parser = option_parser("export_onnx", __doc__)
    parser.add_argument("model", help="a model of the project, a run, or a checkpoint of a run")
    parser.add_argument("--out", type=Path, required=True, help="the file, which ends with .onnx")
    parser.add_argument("--runs", default="runs", help="folder of all runs")
    options = parser.parse_args(argv[1:])
    if importlib.util.find_spec("onnxscript") is None:
        print(f"error: onnxscript is not installed: {INSTALL}", file=sys.stderr)
        return 1
    # Here, so that --help is instant.
    from commands.runs import RunError
    from lightning_modules.errors import ModelError
    from weakground.models import load

    try:
        model = load(options.model, runs=options.runs)
        from weakground.onnx_graph import export  # now that a wrong name has been told

        graph = export(model, options.out)
    except (ModelError, RunError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"written: {options.out}, {options.out.stat().st_size / 2**20:.0f} MiB")
    if importlib.util.find_spec("onnxruntime") is None:
        print(f"not compared with torch: onnxruntime is not installed: {INSTALL}")
        return 0
    print(f"the largest difference from torch: {largest_difference(graph, options.out):.1e}")
    return 0


def largest_difference(graph: Graph, path: Path) -> float:
    """Between torch and onnxruntime, on an image of noise."""
    import numpy as np
    import onnxruntime
    import torch

    noise = np.random.default_rng(0).integers(0, 256, (graph.side, graph.side, 3), np.uint8)
    inputs = graph.inputs(noise, PHRASES)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (by_onnx,) = session.run(None, {name: value.numpy() for name, value in inputs._asdict().items()})
    with torch.no_grad():
        by_torch = graph(*inputs).numpy()
    return float(np.abs(by_onnx - by_torch).max())
