"""Gradient caching against one pass over the batch, and the chunked cross-entropy against the plain one: peak
memory and captions a second.

    python -m benchmarks.gradient_cache [--size tiny] [--device cuda]

Every row is a process of its own, which does one step of the paper's network (K = 4, width 128, 6 + 3
layers, 49,408 words) on made captions of 8 to 16 words, and says its peak memory above what it held before
the step. "one pass" keeps the graph of the whole batch, with the chunked cross-entropy; "plain" also computes
all logits at once; "cached" encodes 256 captions at a time. Without noise all must agree on losses and
gradients.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from torch.nn import functional as F
from tqdm import tqdm

from benchmarks._common import Report, Size, in_own_process, peak_memory, rate_row, report
from callbacks.evaluations.results import format_rows
from lightning_modules.text_group import inference
from lightning_modules.text_group import module as text_group
from lightning_modules.text_group.module import TextGroupDiscovery
from lightning_modules.text_group.options import MemoryOptions
from lightning_modules.text_group.tokenizer import Pieces
from networks.text_group import TextGroupTransformer, TextSize

MODES = ("plain", "one pass", "cached")


@dataclass(frozen=True)
class Step:
    """A training step's network and how it is taken; ``chunk`` captions are encoded at a time if cached."""

    width: int = 128
    depth: int = 6
    vocab_size: int = 49408
    chunk: int = 256
    device: str = "cpu"


FULL = Step()
TINY = Step(width=32, depth=1, vocab_size=2000, chunk=64)


@dataclass(frozen=True)
class Measured:
    """The cost of one step: its peak memory, and captions a second."""

    mebibytes: float
    speed: float


def plain_cross_entropy(
    hidden: torch.Tensor, embedding: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor, chunk: int
) -> torch.Tensor:
    return (F.cross_entropy(hidden @ embedding.t(), targets, reduction="none") * weights).sum()


def made_pieces(batch: int, vocab_size: int, device: str) -> Pieces:
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(10, 19, (batch,), generator=generator)
    mask = torch.arange(18) < lengths[:, None]
    ids = torch.randint(0, vocab_size, (batch, 18), generator=generator) * mask
    return Pieces(ids.to(device), mask.to(device), [list(range(int(length) - 2)) for length in lengths])


def made_batch(captions: int, step: Step) -> tuple[Pieces, torch.Tensor]:
    """Captions, and an image vector for each."""
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(captions, 384, generator=generator).to(step.device)
    return made_pieces(captions, step.vocab_size, step.device), vectors


def module_of(mode: str, step: Step) -> Any:
    """The method in training mode, without a trainer; it keeps the terms that it would log."""
    torch.manual_seed(0)
    size = TextSize(width=step.width, vocab_size=step.vocab_size)
    tokenizer = SimpleNamespace(vocab_size=step.vocab_size, start_id=-1, end_id=-1, digest="")
    memory = MemoryOptions(step.chunk if mode == "cached" else None)
    with patch.object(inference, "tokenizer_of", lambda vocabulary: tokenizer):
        module: Any = TextGroupDiscovery(TextGroupTransformer(depth=step.depth, size=size), memory=memory)
    module.trainer = SimpleNamespace(world_size=1, strategy=SimpleNamespace())
    module.manual_backward = lambda loss: loss.backward()
    module.terms = {}
    module.log_terms = lambda loss, terms: module.terms.update(terms)
    return module.to(step.device).train()


def cross_entropy_of(mode: str) -> AbstractContextManager:
    """A context in which the reconstruction is computed as ``mode`` says."""
    if mode == "plain":
        return patch.object(text_group, "vocabulary_cross_entropy", plain_cross_entropy)
    return nullcontext()


def assert_modes_agree() -> None:
    """On the losses and the gradients of a small step without noise, in double precision."""
    pieces, vectors = made_batch(150, TINY)
    results = {}
    for mode in MODES:
        module = module_of(mode, TINY).double().eval()
        with cross_entropy_of(mode):
            module.backward_step(pieces, vectors.double())
        gradients = torch.cat([parameter.grad.flatten() for parameter in module.network.parameters()])
        results[mode] = {**module.terms, "gradients": gradients}
    for mode in MODES:
        torch.testing.assert_close(results[mode], results["one pass"], rtol=1e-5, atol=1e-8)


def measure(mode: str, captions: int, step: Step) -> Measured:
    """One step after a small one that warms up."""
    module = module_of(mode, step)
    pieces, vectors = made_batch(captions, step)

    def finished_step() -> None:
        module.backward_step(pieces, vectors)
        if step.device == "cuda":
            torch.cuda.synchronize()

    with cross_entropy_of(mode):
        module.backward_step(*made_batch(16, step))
        started = time.perf_counter()
        mebibytes = peak_memory(finished_step, step.device)
        return Measured(mebibytes, captions / (time.perf_counter() - started))


def in_a_process(mode: str, captions: int, step: Step) -> Measured | None:
    """What `measure` finds; None where the memory does not suffice."""
    try:
        return in_own_process(measure, mode, captions, step)
    except (BrokenProcessPool, torch.OutOfMemoryError):
        return None


def run(size: Size, device: str = "cpu") -> Report:
    """Memory and speed of every mode, as shares of those of one pass."""
    assert_modes_agree()
    batches, step = ([150], TINY) if size == "tiny" else ([256, 512, 1024, 2048, 4096], FULL)
    step = replace(step, device=device)
    table = []
    rows = []
    for captions in tqdm(batches, desc="batches", leave=False):
        measured = {mode: in_a_process(mode, captions, step) for mode in MODES}
        for mode, cost in measured.items():
            texts = [f"{cost.mebibytes:,.0f}", f"{cost.speed:,.1f}"] if cost else ["out of memory", "-"]
            table.append([str(captions), mode, *texts])
        whole = measured["one pass"]
        cached = measured["cached"]
        if whole and cached:
            share = f"{cached.mebibytes / whole.mebibytes:.2f} x"
            path = f"text groups, gradients of {captions} captions cached"
            rows.append(rate_row(path, "captions", cached.speed, whole.speed, "one pass", share))
    return Report([format_rows(["batch", "mode", "peak MiB of the step", "captions/s"], table)], rows)


def main(argv: Sequence[str] | None = None) -> None:
    report(run, __doc__, argv, device="cpu")


if __name__ == "__main__":
    main()
