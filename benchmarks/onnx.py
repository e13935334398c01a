"""A grounder as an ONNX graph in onnxruntime, against the same in torch.

    python -m benchmarks.onnx [--size tiny] [--threads 1]

The model `photos` (tiny: an untrained TTD) looks at an image of noise for three phrases. Both are told the
same number of threads, and must agree to 1e-4.
"""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks._common import Report, Size, Unavailable, best_seconds, rate_row, report
from commands.export_onnx import INSTALL, PHRASES
from weakground.grounder import Grounder
from weakground.models import instantiate, load
from weakground.onnx_graph import Graph, Inputs, export

TINY = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 16, "head_width": 8, "patch_size": 8},
    "text_cfg": {"context_length": 16, "width": 16, "heads": 2, "layers": 1},
}


def grounder_of(size: Size) -> Grounder:
    if size == "full":
        return load("photos")
    backbone = {"class_path": "MaskCLIP", "init_args": {"clip": {"sizes": TINY}}}
    model = {"backbone": backbone, "images": {"eval_size": 32}}
    return Grounder(instantiate({"class_path": "TTDSelfDistill", "init_args": model}))


@torch.no_grad()
def in_torch(graph: Graph, inputs: Inputs) -> np.ndarray:
    return graph(*inputs).numpy()


def run(size: Size, threads: int = 1) -> Report:
    """How often as fast onnxruntime is as torch."""
    if any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxscript", "onnxruntime")):
        raise Unavailable(f"onnxruntime is not installed: {INSTALL}")
    import onnxruntime

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    with tempfile.TemporaryDirectory() as folder:
        graph = export(grounder_of(size), Path(folder) / "graph.onnx")
        session = onnxruntime.InferenceSession(f"{folder}/graph.onnx", options, ["CPUExecutionProvider"])
    noise = np.random.default_rng(0).integers(0, 256, (graph.side, graph.side, 3), np.uint8)
    inputs = graph.inputs(noise, PHRASES)
    fed = {name: value.numpy() for name, value in inputs._asdict().items()}
    ways = {"torch": partial(in_torch, graph, inputs), "onnxruntime": lambda: session.run(None, fed)[0]}
    np.testing.assert_allclose(ways["onnxruntime"](), ways["torch"](), rtol=0, atol=1e-4)
    seconds = best_seconds(ways, repeats=10 if size == "full" else 1)
    torch.set_num_threads(before)
    lines = [
        f"{name:12} {1000 * best:8.1f} ms an image with {len(PHRASES)} phrases"
        for name, best in seconds.items()
    ]
    path = f"onnxruntime, an image with {len(PHRASES)} phrases"
    return Report(
        lines, [rate_row(path, "images", 1 / seconds["onnxruntime"], 1 / seconds["torch"], "torch")]
    )


def main(argv: Sequence[str] | None = None) -> None:
    report(run, __doc__, argv, threads=1)


if __name__ == "__main__":
    main()
