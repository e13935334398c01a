"""Gradient caching against one pass over the batch, and the chunked cross-entropy against the plain one: peak
memory and captions a second.

    python -m benchmarks.gradient_cache [--batches 256 512 1024 2048 4096] [--chunk 256] [--device cuda]
    [--vocab_size 49408]

Every row is a process of its own, which does one step of the paper's network (K = 4, width 128, 6 + 3 layers)
on made captions of 8 to 16 words, and says its peak memory above what it held before the step. On the CPU
that is the process's largest resident memory. "one pass" keeps the graph of the whole batch, with the chunked
cross-entropy; "plain" also computes all logits at once.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import Any

import torch
from torch.nn import functional as F

from callbacks.evaluations.results import format_rows
from lightning_modules.text_group import inference
from lightning_modules.text_group import module as text_group
from lightning_modules.text_group.module import TextGroupDiscovery
from lightning_modules.text_group.options import MemoryOptions
from lightning_modules.text_group.tokenizer import Pieces
from networks.text_group import TextGroupTransformer, TextSize


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


def peak(device: str) -> float:
    """In MiB."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def measure(mode: str, batch: int, options: argparse.Namespace) -> dict[str, float]:
    """One step after a small one that warms up."""
    torch.manual_seed(0)
    network = TextGroupTransformer(size=TextSize(vocab_size=options.vocab_size))
    if mode == "plain":
        text_group.vocabulary_cross_entropy = plain_cross_entropy
    module: Any = TextGroupDiscovery.__new__(TextGroupDiscovery)
    made_tokenizer = SimpleNamespace(vocab_size=options.vocab_size, start_id=-1, end_id=-1, digest="")
    original, inference.tokenizer_of = inference.tokenizer_of, lambda _: made_tokenizer
    module.__init__(network, memory=MemoryOptions(options.chunk if mode == "cached" else None))
    inference.tokenizer_of = original
    module.trainer = SimpleNamespace(world_size=1, strategy=SimpleNamespace())
    module.manual_backward, module.log_terms = lambda loss: loss.backward(), lambda loss, terms: None
    module.to(options.device).train()
    module.backward_step(
        made_pieces(16, options.vocab_size, options.device), torch.randn(16, 384, device=options.device)
    )
    pieces, vectors = (
        made_pieces(batch, options.vocab_size, options.device),
        torch.randn(batch, 384, device=options.device),
    )
    if options.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    before, started = peak(options.device), time.perf_counter()
    module.backward_step(pieces, vectors)
    if options.device == "cuda":
        torch.cuda.synchronize()
    return {"MiB": peak(options.device) - before, "captions/s": batch / (time.perf_counter() - started)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batches", type=int, nargs="+", default=[256, 512, 1024, 2048, 4096])
    parser.add_argument("--modes", nargs="+", default=["plain", "one pass", "cached"])
    parser.add_argument("--chunk", type=int, default=256)
    parser.add_argument("--vocab_size", type=int, default=49408)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--single", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.single:
        mode, batch = json.loads(options.single)
        print(json.dumps(measure(mode, batch, options)))
        return
    rows = []
    for batch in options.batches:
        for mode in options.modes:
            command = [
                sys.executable,
                "-m",
                "benchmarks.gradient_cache",
                "--chunk",
                str(options.chunk),
                "--vocab_size",
                str(options.vocab_size),
            ]
            command += ["--device", options.device, "--single", json.dumps([mode, batch])]
            done = subprocess.run(command, capture_output=True, text=True)
            found = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else None
            rows.append(
                [
                    str(batch),
                    mode,
                    *(
                        [f"{found['MiB']:,.0f}", f"{found['captions/s']:,.1f}"]
                        if found
                        else ["out of memory", "-"]
                    ),
                ]
            )
            print(*rows[-1], flush=True)
    print(format_rows(["batch", "mode", "peak MiB of the step", "captions/s"], rows))


if __name__ == "__main__":
    main()
