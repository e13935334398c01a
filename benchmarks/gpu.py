"""What a graphics card makes of the methods at their papers' sizes, as a share of what it can do at best.

    python -m benchmarks.gpu --device cuda [--out gpu.json] [--size tiny]

First it checks that the card computes what the processor computes (a small HIST step in float32 and in
bfloat16). Then it measures the card's own rates (a large matrix product in bfloat16, a copy), and training
steps with random weights and made batches: milliseconds, images a second, the share of the matrix
rate that the counted operations make up, memory at the peak, and how often a step made the processor wait for
the card. The parts of a method run one after the other, each in memory of its own. On a processor all runs at
tiny size and in float32, so that the script is sound when a card is there.
"""

from __future__ import annotations

import gc
import json
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from benchmarks._common import Report, Row, Size, Unavailable, report, short, trainer_half_an_epoch_on
from datamodules.batches import ImageTextBatch, PhraseBatch
from weakground.models import instantiate

CONFIGS = Path(__file__).parents[1] / "configs"
WORDS = (
    "a",
    "the",
    "red",
    "blue",
    "green",
    "small",
    "large",
    "square",
    "circle",
    "star",
    "triangle",
    "cross",
)


@dataclass(frozen=True)
class Case:
    """A training step to be measured.

    Args:
        name: for the table.
        config: a file below ``configs``.
        rows: images of a batch.
        side: of the square images, in pixels.
        changes: options of the model that differ from the file's; each dotted name and its value.
    """

    name: str
    config: str
    rows: int
    side: int
    changes: tuple[tuple[str, Any], ...] = ()


VOCABULARY = "backbone.init_args.vocabulary"
HIST_FULL = (("pretrained", None), (VOCABULARY, "made"), ("alpha_schedule", "constant"))
WITHOUT_ADD = ("weights", {"add": 0.0, "subject": 1.0})
CLIP_FROM_SCRATCH = (("clip_use", {"pretrained": None}), ("trunk_weights", None))
FULL = (
    Case("HIST on ALBEF, all losses", "hist_albef.yaml", 56, 256, HIST_FULL),
    Case("HIST on ALBEF, without L_add", "hist_albef.yaml", 56, 256, (*HIST_FULL, WITHOUT_ADD)),
    Case("TTD on MaskCLIP, ViT-B/16", "ttd_maskclip.yaml", 32, 448, (("backbone.init_args.weights", None),)),
    Case("g (WWbL), VGG16 and ViT-B/32", "wwbl_coco.yaml", 32, 304, CLIP_FROM_SCRATCH),
)
TINY = (
    Case("HIST on ALBEF, all losses", "demo/hist.yaml", 4, 64, (("pretrained", None),)),
    Case("TTD on MaskCLIP", "demo/ttd.yaml", 4, 64),
    Case("g (WWbL)", "demo/wwbl.yaml", 4, 64),
)


@dataclass(frozen=True)
class Measured:
    """A training step on the device.

    Args:
        name: of the case.
        milliseconds: of a step, the least of the repeats.
        images_per_second: rows by that time.
        teraflops: counted operations of matrix products, convolutions and attention, a second.
        memory_gib: at the peak, weights and optimiser included; 0 on a processor.
        waits: operations of a step that made the processor wait for the card; 0 on a processor.
    """

    name: str
    milliseconds: float
    images_per_second: float
    teraflops: float
    memory_gib: float
    waits: int


def wait_for(device: str) -> None:
    """Returns when the device has done all that it was given."""
    if device != "cpu":
        torch.cuda.synchronize()


def least_seconds(step: Callable[[], object], device: str, repeats: int) -> float:
    """The shortest of some runs of a step, after two to get warm."""
    best = float("inf")
    for number in range(repeats + 2):
        wait_for(device)
        start = time.perf_counter()
        step()
        wait_for(device)
        if number >= 2:
            best = min(best, time.perf_counter() - start)
    return best


def matrix_rate(device: str, side: int) -> float:
    """TFLOP/s of a product of two square matrices, in bfloat16 on a card and in float32 on a processor."""
    precision = torch.float32 if device == "cpu" else torch.bfloat16
    left = torch.randn(side, side, device=device, dtype=precision)
    right = torch.randn(side, side, device=device, dtype=precision)
    return 2 * side**3 / least_seconds(lambda: left @ right, device, 10) / 1e12


def copy_rate(device: str, megabytes: int) -> float:
    """GB/s that a copy within the device's memory reads and writes."""
    source = torch.empty(megabytes * 2**20, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * source.numel() / least_seconds(lambda: target.copy_(source), device, 10) / 1e9


@contextmanager
def made_vocabulary() -> Iterator[str]:
    """A file with as many words as BERT's, the made captions' among them."""
    special = ["[PAD]", *(f"[unused{number}]" for number in range(99)), "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = [*special, *WORDS]
    words += [f"word{number}" for number in range(30522 - len(words))]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vocab.txt"
        path.write_text("\n".join(words), encoding="utf-8")
        yield str(path)


def module_of(case: Case, vocabulary: str, device: str) -> Any:
    """The case's model with the weights of seed 0, half an epoch after the start, and no trainer."""
    config = yaml.safe_load((CONFIGS / case.config).read_text(encoding="utf-8"))
    model = config["model"]
    for name, value in case.changes:
        *path, last = name.split(".")
        section = model["init_args"]
        for part in path:
            section = section[part]
        section[last] = vocabulary if value == "made" else value
    torch.manual_seed(0)
    module = instantiate(model).to(device).train()
    module.trainer = trainer_half_an_epoch_on()
    module.log_terms = lambda loss, terms: None
    return module


def batch_of(module: Any, case: Case, device: str) -> Any:
    """A made batch of the kind that the module learns from."""
    generator = torch.Generator().manual_seed(0)

    def text(words: int) -> str:
        chosen = torch.randint(len(WORDS), (words,), generator=generator).tolist()
        return " ".join(WORDS[number] for number in chosen)

    images = torch.randn(case.rows, 3, case.side, case.side, generator=generator).to(device)
    keys = [str(row) for row in range(case.rows)]
    if issubclass(module.needs.batch, PhraseBatch):
        phrases = [text(3) for _ in keys]
        partners: list[str | None] = [text(3) for _ in keys]
        return PhraseBatch(images, phrases, [text(1) for _ in keys], partners, keys)
    return ImageTextBatch(images, [text(10) for _ in keys], keys)


def training_step(module: Any, batch: Any, optimizer: torch.optim.Optimizer, device: str) -> float:
    """One step, in bfloat16 on a card and in float32 on a processor; returns the loss."""
    with torch.autocast(device, dtype=torch.bfloat16, enabled=device != "cpu"):
        loss = module.training_step(batch, 0)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return loss.detach()


class CountedOperations(TorchDispatchMode):
    """Adds up the operations of matrix products, convolutions and attention, forward and backward.

    torch's own ``FlopCounterMode`` also follows modules, which fails where a map is a gradient to a leaf.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs an operation, and counts it."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        count = flop_registry.get(func._overloadpacket)
        if count is not None:
            self.total += count(*args, **kwargs, out_val=result)
        return result


def count_waits(step: Callable[[], object], device: str) -> int:
    """How many operations of a step make the processor wait for the card."""
    if device == "cpu":
        return 0
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(warning.message) for warning in caught)


def measure(case: Case, vocabulary: str, device: str, repeats: int) -> Measured:
    """Measures a case."""
    module = module_of(case, vocabulary, device)
    batch = batch_of(module, case, device)
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-5, fused=True)

    def step() -> float:
        return training_step(module, batch, optimizer, device)

    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
    with CountedOperations() as counted:
        loss = step()
    assert torch.isfinite(torch.as_tensor(loss)), f"{case.name}: the loss is {loss}"
    seconds = least_seconds(step, device, repeats)
    memory = 0.0 if device == "cpu" else torch.cuda.max_memory_allocated() / 2**30
    measured = Measured(
        case.name,
        milliseconds=1000 * seconds,
        images_per_second=case.rows / seconds,
        teraflops=counted.total / seconds / 1e12,
        memory_gib=memory,
        waits=count_waits(step, device),
    )
    return measured


def free_memory(device: str) -> None:
    """Gives back what a case has left behind; a module and the step that holds it are a cycle."""
    gc.collect()
    if device != "cpu":
        torch.cuda.empty_cache()


def check_device(device: str, vocabulary: str) -> dict[str, float]:
    """How far a device's losses of a small HIST step are from a processor's, relative to these.

    Raises:
        AssertionError: further than rounding explains.
    """
    case = TINY[0]
    losses = {}
    for name, place, is_half in (
        ("processor", "cpu", False),
        ("float32", device, False),
        ("bfloat16", device, True),
    ):
        module = module_of(case, vocabulary, place).eval()
        batch = batch_of(module, case, place)
        with torch.no_grad(), torch.autocast(place, dtype=torch.bfloat16, enabled=is_half):
            maps = module.ground(batch.images, batch.phrases, torch.arange(case.rows, device=place))
            similarity = module.match(batch.images, batch.phrases)
        losses[name] = torch.cat([maps.float().flatten(), similarity.float().flatten()]).cpu()
    expected = losses.pop("processor")
    errors = {name: ((value - expected).norm() / expected.norm()).item() for name, value in losses.items()}
    assert errors["float32"] < 1e-3, f"the device computes something else: {errors}"
    assert errors["bfloat16"] < 0.2, f"bfloat16 is too far off: {errors}"
    return errors


def run(size: Size, device: str = "cpu", out: str = "") -> Report:
    """Rates of the device, and the share of them that training steps reach."""
    if device != "cpu" and not torch.cuda.is_available():
        raise Unavailable("this machine has no graphics card that torch can use: leave out --device")
    is_tiny = size == "tiny" or device == "cpu"
    name = "a processor" if device == "cpu" else torch.cuda.get_device_name()
    with made_vocabulary() as vocabulary:
        errors = check_device(device, vocabulary)
        matrix = matrix_rate(device, 256 if is_tiny else 8192)
        copy = copy_rate(device, 1 if is_tiny else 4096)
        cases = TINY if is_tiny else FULL
        measured = []
        for case in cases:
            measured.append(measure(case, vocabulary, device, repeats=1 if is_tiny else 10))
            free_memory(device)
    lines = [
        f"{name}, torch {torch.__version__}",
        f"a small step differs from the processor's by {errors['float32']:.1e} (float32), "
        f"{errors['bfloat16']:.1e} (bfloat16)",
        f"matrix product {matrix:.3g} TFLOP/s, copy {copy:.0f} GB/s",
    ]
    lines += [
        f"{one.name:32s} {one.milliseconds:9.1f} ms {one.images_per_second:8.1f} images/s "
        f"{one.teraflops:7.3g} TFLOP/s ({one.teraflops / matrix:.0%}) {one.memory_gib:6.1f} GiB "
        f"{one.waits:4d} waits"
        for one in measured
    ]
    if out:
        found = {
            "device": name,
            "torch": torch.__version__,
            "errors": errors,
            "matrix_tflops": matrix,
            "copy_gbs": copy,
            "steps": [asdict(one) for one in measured],
        }
        Path(out).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    rows = [
        Row(
            f"{one.name}, a step on {name}",
            f"{short(one.teraflops)} TFLOP/s, {short(one.images_per_second)} images/s",
            f"{short(matrix)}, a matrix product",
            one.teraflops / matrix,
            f"{one.memory_gib:.1f} GiB" if one.memory_gib else "",
        )
        for one in measured
    ]
    return Report(lines, rows)


def main(argv: Sequence[str] | None = None) -> None:
    report(run, __doc__, argv, device="cpu", out="")


if __name__ == "__main__":
    main()
