"""Writes the backbone of a run of `TTDSelfDistill` with its adapters merged into its weights, under the names
that its authors gave them: open_clip's for MaskCLIP, those of tcl.pth for TCL.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from commands.option_parser import option_parser

if TYPE_CHECKING:
    from torch import Tensor

    from networks.dense_encoder import DenseEncoder


def main(argv: list[str]) -> int:
    """Writes the weights as a command; returns the exit code."""
    parser = option_parser("export_merged", __doc__)
    parser.add_argument("run", help="name or folder of a run, or a checkpoint of it")
    parser.add_argument("--out", type=Path, required=True, help="the file, which ends with .safetensors")
    parser.add_argument("--runs", default="runs", help="folder of all runs")
    options = parser.parse_args(argv[1:])
    from commands.runs import RunError
    from lightning_modules.errors import ModelError
    from weakground.models import find_run, load_run

    try:
        folder, checkpoint = find_run(Path(options.run), Path(options.runs))
        from lightning_modules.ttd.module import TTDSelfDistill  # now that a wrong name has been told

        module = load_run(folder, checkpoint)
        if not isinstance(module, TTDSelfDistill):
            raise ModelError(f"{folder} is a run of {type(module).__name__}, and not of TTDSelfDistill.")
    except (ModelError, RunError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    from safetensors.torch import save_file

    options.out.parent.mkdir(parents=True, exist_ok=True)
    state = merged_state(module.network)
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, options.out)
    print(f"written: {options.out}, {len(state)} tensors")
    return 0


def merged_state(network: DenseEncoder) -> dict[str, Tensor]:
    """All weights of a network under their official names; its adapters are merged in place."""
    from networks.clip_dense import DenseCLIP, official_clip_weights
    from networks.layers.lora import merge_adapters

    merge_adapters(network)
    state = network.state_dict()
    return official_clip_weights(state) if isinstance(network, DenseCLIP) else state
