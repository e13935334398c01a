"""What an epoch of CC12M costs on 8, 64 and 512 GPUs: python -m benchmarks._scaling [--write docs/scaling.md]

Operations of a training step are counted on the processor at the papers' sizes, with two rows (some minutes,
10 GB of memory); the rest is arithmetic on what `Assumed` says.
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks import gradient_cache
from benchmarks.gpu import (
    CLIP_FROM_SCRATCH,
    HIST_FULL,
    WITHOUT_ADD,
    Case,
    CountedOperations,
    batch_of,
    made_vocabulary,
    module_of,
)
from networks.groupvit import GroupViTImageEncoder

BEGIN = "<!-- tables: python -m benchmarks._scaling --write docs/scaling.md -->\n"
END = "<!-- end of tables -->\n"
GPUS = (8, 64, 512)
COUNTED_ROWS = 2
HEADER = (
    "GPUs",
    "minutes an epoch",
    "steps",
    "ms a step",
    "bound by",
    "images/s",
    "GB/s read",
    "cores a GPU to keep up",
    "all-reduce GB, ms",
    "all-gather MB",
    "queue: steps",
)


@dataclass(frozen=True)
class Assumed:
    """What was not measured here.

    Args:
        pairs: of CC12M in the mirror's shards.
        bytes_of_pair: image and caption in a shard.
        peak: operations a second of an H100 SXM in bfloat16, without sparsity, as its maker states.
        share: of the peak that a step reaches.
        network: bytes a second and GPU that an all-reduce moves.
        cores: of a GPU.
        decoding: images a second of a core, at 256 px (measured: docs/results/speed.md).
        disk: bytes a second at which a checkpoint is written.
    """

    pairs: int = 10_968_539
    bytes_of_pair: float = 100e3
    peak: float = 989e12
    share: float = 0.30
    network: float = 40e9
    cores: int = 16
    decoding: float = 345
    disk: float = 2e9


@dataclass(frozen=True)
class Cost:
    """A training step of one row, and what there is of a network.

    Args:
        name: of the method.
        operations: of a row, forwards and backwards.
        rows: of a GPU's batch.
        trained: parameters with gradients.
        stored: bytes of a checkpoint, with AdamW's two moments.
        gathered: numbers of a row that all processes get.
        queue: features that a queue holds; 0 for none.
    """

    name: str
    operations: float
    rows: int
    trained: int
    stored: int
    gathered: int = 0
    queue: int = 0


@dataclass(frozen=True)
class Method:
    """A method at its paper's size.

    Args:
        case: as `benchmarks.gpu` measures it on a card; its rows are those of a GPU's batch.
        gathered, queue: see `Cost`.
    """

    case: Case
    gathered: int = 0
    queue: int = 0


HIST_ALL = Case("HIST on ALBEF, all losses", "hist_albef.yaml", 56, 256, HIST_FULL)
METHODS = (
    Method(HIST_ALL, 2 * 256, 65_536),
    Method(
        Case("HIST on ALBEF, without L_add", "hist_albef.yaml", 56, 256, (*HIST_FULL, WITHOUT_ADD)),
        2 * 256,
        65_536,
    ),
    Method(Case("HIST on BLIP-large", "hist_blip.yaml", 32, 224, HIST_FULL), 2 * 256, 57_600),
    Method(
        Case("TTD, ViT-B/16 at 448 px", "ttd_maskclip.yaml", 32, 448, (("backbone.init_args.weights", None),))
    ),
    Method(Case("g (WWbL) at 304 px", "wwbl_coco.yaml", 32, 304, CLIP_FROM_SCRATCH)),
)


def counted(step: Callable[[], object]) -> int:
    """Operations of a call; attention is taken apart into the products that it consists of."""
    with sdpa_kernel(SDPBackend.MATH), CountedOperations() as operations:
        step()
    return operations.total


def cost_of(method: Method, vocabulary: str) -> Cost:
    """Counts a training step of a few rows."""
    case = method.case
    few = Case(case.name, case.config, COUNTED_ROWS, case.side, case.changes)
    module = module_of(few, vocabulary, "cpu")
    batch = batch_of(module, few, "cpu")
    operations = counted(lambda: module.training_step(batch, 0).backward())
    return _cost(case.name, operations / COUNTED_ROWS, case.rows, module, method.gathered, method.queue)


def cost_of_text_groups(rows: int = 512, step: gradient_cache.Step = gradient_cache.FULL) -> Cost:
    """Counts gradient caching with the paper's text network, and the frozen image encoder once an image."""
    module = gradient_cache.module_of("cached", step)
    pieces, vectors = gradient_cache.made_batch(COUNTED_ROWS, step)
    texts = counted(lambda: module.backward_step(pieces, vectors)) / COUNTED_ROWS
    encoder = GroupViTImageEncoder()
    side = encoder.image_size
    with torch.no_grad():
        images = counted(lambda: encoder(torch.zeros(1, 3, side, side)))
    return _cost("text groups, 512 captions a GPU", texts + images, rows, module, gathered=2 * 256)


def _cost(name: str, operations: float, rows: int, module: Any, gathered: int = 0, queue: int = 0) -> Cost:
    trained = sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
    content: dict[str, Any] = {"state_dict": module.state_dict()}
    module.on_save_checkpoint(content)  # leaves out what can be read again
    stored = sum(value.numel() * value.element_size() for value in content["state_dict"].values())
    return Cost(name, operations, rows, trained, stored + 8 * trained, gathered, queue)


def row(cost: Cost, gpus: int, assumed: Assumed = Assumed()) -> list[str]:
    """The cells of `HEADER`.

    Example:
        >>> row(Cost("a", 1e12, 56, 200_000_000, 0, 512, 65536), 8)[:4]
        ['8', '77.0', '24,483', '189']
    """
    batch = gpus * cost.rows
    reduced = 2 * (gpus - 1) / gpus * 4 * cost.trained
    parts = {  # that run beside each other
        "computing": cost.rows * cost.operations / (assumed.peak * assumed.share),
        "network": reduced / assumed.network,
        "decoding": cost.rows / (assumed.cores * assumed.decoding),
    }
    seconds = max(parts.values())
    steps = assumed.pairs // batch
    images = batch / seconds
    gathered = (gpus - 1) * cost.rows * cost.gathered * 4
    return [
        str(gpus),
        f"{steps * seconds / 60:.1f}",
        f"{steps:,}",
        f"{1000 * seconds:.0f}",
        max(parts, key=parts.__getitem__),
        f"{images:,.0f}",
        f"{images * assumed.bytes_of_pair / 1e9:.2f}",
        f"{cost.rows / max(parts['computing'], parts['network']) / assumed.decoding:.1f}",
        f"{reduced / 1e9:.2f}, {1000 * reduced / assumed.network:.0f}",
        f"{gathered / 1e6:.1f}" if cost.gathered else "-",
        f"{cost.queue / batch:.1f}" if cost.queue else "-",
    ]


def tables(costs: Sequence[Cost], assumed: Assumed = Assumed()) -> Iterator[str]:
    """A table of Markdown for each method, with what it is computed from above it."""
    for cost in costs:
        yield (
            f"**{cost.name}**: {cost.operations / 1e12:.3g} TFLOP a row (counted), {cost.rows} rows a GPU,\n"
            f"{cost.trained / 1e6:,.1f} M trained parameters, checkpoint {cost.stored / 1e9:.2f} GB, written "
            f"in {cost.stored / assumed.disk:.1f} s.\n"
        )
        lines = [HEADER, ["---"] * len(HEADER), *(row(cost, gpus, assumed) for gpus in GPUS)]
        yield "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def main(argv: Sequence[str] | None = None) -> None:
    """Counts, and prints the tables or puts them into a page."""
    parser = argparse.ArgumentParser("python -m benchmarks._scaling", description=__doc__)
    parser.add_argument("--write", type=Path, help="the page, between whose marks the tables stand")
    options = parser.parse_args(argv)
    costs = []
    with made_vocabulary() as vocabulary:
        for method in METHODS:
            costs.append(cost_of(method, vocabulary))
            gc.collect()
    costs.append(cost_of_text_groups())
    text = "\n".join(tables(costs))
    print(text)
    if options.write:
        before, _, rest = options.write.read_text(encoding="utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        options.write.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
