"""Time and memory of MCB attention's pooling over a picture, against the plain form in the same run.

    python -m benchmarks.compact_bilinear [--size tiny] [--device cuda]

512 image features at every position of a 64 x 64 map and a text of 128, d = 1024, forward and backward,
float32. The plain form repeats the text at every position and takes both transforms there, as the public
layers do. ``spectrum once`` takes the text's transform once an image; ``matrix`` applies the layer as the
matrix that it is for a given text; ``folded`` folds it into the 1 x 1 convolution that follows (512
channels), which the rows marked "+ conv" have, too. All must agree. On a CPU it is the processor's time that
counts, whatever else the machine does. Memory is the peak above what was there before: on a GPU as the
allocator counts it, on a CPU what a process of its own had resident.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks._common import Report, Size, best_seconds, in_own_process, peak_memory, rate_row, report
from networks.layers.compact_bilinear import CompactBilinear, count_sketch

IMAGE = 512
TEXT = 128
SKETCH = 1024
HIDDEN = 512
SIDES: dict[Size, int] = {"tiny": 16, "full": 64}
REPEATS: dict[Size, int] = {"tiny": 1, "full": 5}


def plain(layer: CompactBilinear, x: Tensor, y: Tensor) -> Tensor:
    """(N,P,C), (N,T) -> (N,P,d): the text at every position, both transforms there."""
    everywhere = y[:, None].expand(-1, x.shape[1], -1).contiguous()
    sketches = (
        count_sketch(x, layer.x_index, layer.x_sign, layer.size),
        count_sketch(everywhere, layer.y_index, layer.y_sign, layer.size),
    )
    spectra = [torch.fft.rfft(sketch) for sketch in sketches]
    return torch.fft.irfft(spectra[0] * spectra[1], n=layer.size)


def spectrum_once(layer: CompactBilinear, x: Tensor, y: Tensor) -> Tensor:
    return layer(x, y[:, None])


def matrix(layer: CompactBilinear, x: Tensor, y: Tensor) -> Tensor:
    return x @ layer.linear_map(y)


def with_convolution(way: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda layer, x, y, weight: way(layer, x, y) @ weight


def folded(layer: CompactBilinear, x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    return x @ (layer.linear_map(y) @ weight)


WAYS: dict[str, Callable[..., Tensor]] = {
    "plain": plain,
    "spectrum once": spectrum_once,
    "matrix": matrix,
    "plain + conv": with_convolution(plain),
    "spectrum once + conv": with_convolution(spectrum_once),
    "matrix + conv": with_convolution(matrix),
    "folded": folded,
}


def inputs(positions: int, device: str) -> tuple[nn.Module, list[Tensor]]:
    """The layer, and image features (1,P,C), a text (1,T) and the weight of a 1 x 1 convolution."""
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(1, positions, IMAGE, generator=generator)
    text = torch.randn(1, TEXT, generator=generator)
    weight = torch.randn(SKETCH, HIDDEN, generator=generator) / SKETCH**0.5
    layer = CompactBilinear(IMAGE, TEXT, SKETCH).to(device)
    return layer, [tensor.to(device).requires_grad_() for tensor in (image, text, weight)]


def baseline(name: str) -> str:
    """The plain way that does as much as ``name``."""
    return "plain + conv" if "conv" in name or name == "folded" else "plain"


def step(name: str, layer: nn.Module, tensors: list[Tensor]) -> list[Tensor]:
    """One forward and backward: the text's gradient and the mean of the output's squares."""
    used = tensors if baseline(name) == "plain + conv" else tensors[:2]
    out = WAYS[name](layer, *used)
    loss = out.square().mean()
    gradients = torch.autograd.grad(loss, used)
    return [loss.detach(), gradients[1]]


def finished_step(name: str, layer: nn.Module, tensors: list[Tensor]) -> None:
    """A step for which the device was waited."""
    step(name, layer, tensors)[0].item()


def memory_of_step(name: str, positions: int, device: str, threads: int) -> float:
    """MiB that a step needs beyond its inputs."""
    torch.set_num_threads(threads)
    layer, tensors = inputs(positions, device)
    few_positions = tensors[0][:, :8].detach().requires_grad_()
    finished_step(name, layer, [few_positions, *tensors[1:]])  # what torch itself sets up
    return peak_memory(partial(finished_step, name, layer, tensors), device)


def run(size: Size, device: str = "cpu") -> Report:
    """Speed and memory of every way as shares of the plain way's."""
    positions = SIDES[size] ** 2
    layer, tensors = inputs(positions, device)
    for name in WAYS:
        expected = step(baseline(name), layer, tensors)
        torch.testing.assert_close(step(name, layer, tensors), expected, rtol=1e-3, atol=1e-5)
    ways = {name: partial(finished_step, name, layer, tensors) for name in WAYS}
    clock = time.process_time if device == "cpu" else time.perf_counter
    seconds = best_seconds(ways, REPEATS[size], clock)
    threads = torch.get_num_threads()
    memory = {name: in_own_process(memory_of_step, name, positions, device, threads) for name in WAYS}
    lines = []
    rows = []
    for name in WAYS:
        speed = seconds[baseline(name)] / seconds[name]
        share = memory[name] / memory[baseline(name)]
        measured = f"{1e3 * seconds[name]:8.1f} ms {memory[name]:8.1f} MiB"
        lines.append(f"{name:21} {measured}   {speed:5.2f} x as fast, {share:5.2f} of the memory")
        if name != baseline(name):
            other = 1 / seconds[baseline(name)]
            path = f"MCB attention's pooling, {name}"
            rows.append(rate_row(path, "steps", 1 / seconds[name], other, baseline(name), f"{share:.2f} x"))
    return Report(lines, rows)


def main(argv: Sequence[str] | None = None) -> None:
    report(run, __doc__, argv, device="cpu")


if __name__ == "__main__":
    main()
