"""Time and memory of MCB attention's pooling over a picture, against the plain form in the same run.

    python -m benchmarks.compact_bilinear [--side 64] [--images 1] [--device cuda]

512 image features at every position and a text of 128, d = 1024, forward and backward, float32. The plain
form repeats the text at every position and takes both transforms there, as the public layers do. ``spectrum
once`` takes the text's transform once an image; ``matrix`` applies the layer as the matrix that it is for a
given text; ``folded`` folds it into the 1 x 1 convolution that follows (512 channels), which the rows marked
"+ conv" have, too. All must agree. On a CPU it is the processor's time that counts, whatever else the machine
does. Memory is the peak above what was there before: on a GPU as the allocator counts it, on a CPU what a
process of its own had resident.
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from networks.layers.compact_bilinear import CompactBilinear, count_sketch

IMAGE, TEXT, SKETCH, HIDDEN = 512, 128, 1024, 512


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


def inputs(images: int, positions: int, device: str) -> tuple[nn.Module, list[Tensor]]:
    generator = torch.Generator().manual_seed(0)
    tensors = [
        torch.randn(images, positions, IMAGE, generator=generator),
        torch.randn(images, TEXT, generator=generator),
    ]
    tensors.append(torch.randn(SKETCH, HIDDEN, generator=generator) / SKETCH**0.5)
    return CompactBilinear(IMAGE, TEXT, SKETCH).to(device), [
        tensor.to(device).requires_grad_() for tensor in tensors
    ]


def step(name: str, layer: nn.Module, tensors: list[Tensor]) -> list[Tensor]:
    """One forward and backward: the text's gradient and the mean of the output's squares."""
    used = tensors if "conv" in name or name == "folded" else tensors[:2]
    out = WAYS[name](layer, *used)
    loss = out.square().mean()
    gradients = torch.autograd.grad(loss, used)
    return [loss.detach(), gradients[1]]


def seconds(name: str, layer: nn.Module, tensors: list[Tensor]) -> float:
    clock = time.process_time if tensors[0].device.type == "cpu" else time.perf_counter
    start = clock()
    step(name, layer, tensors)[0].item()  # waits for the device, too
    return clock() - start


def peak(name: str, images: int, positions: int, device: str, threads: int) -> float:
    """Megabytes that a step needs beyond its inputs."""
    torch.set_num_threads(threads)
    layer, tensors = inputs(images, positions, device)
    if device != "cpu":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step(name, layer, tensors)
        return (torch.cuda.max_memory_allocated() - before) / 1e6
    step(
        name,
        layer,
        [tensor[:, :8].detach().requires_grad_() if n == 0 else tensor for n, tensor in enumerate(tensors)],
    )  # what torch itself sets up
    Path("/proc/self/clear_refs").write_text("5")  # the highest resident memory starts anew
    before = highest_resident()
    step(name, layer, tensors)
    return (highest_resident() - before) / 1e3


def highest_resident() -> int:
    """Kilobytes (Linux)."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])  # type: ignore[index]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--side", type=int, default=64, help="of the feature map")
    parser.add_argument("--images", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    positions = arguments.side**2
    layer, tensors = inputs(arguments.images, positions, arguments.device)
    best = dict.fromkeys(WAYS, float("inf"))
    for _ in tqdm(range(arguments.repeats)):
        for name in WAYS:
            best[name] = min(best[name], seconds(name, layer, tensors))
    for name in WAYS:
        expected = step("plain + conv" if "conv" in name or name == "folded" else "plain", layer, tensors)
        torch.testing.assert_close(step(name, layer, tensors), expected, rtol=1e-3, atol=1e-5)
    memory = {}
    for name in WAYS:
        with multiprocessing.get_context("spawn").Pool(
            1
        ) as process:  # a process of its own: resident memory never shrinks
            memory[name] = process.apply(
                peak, (name, arguments.images, positions, arguments.device, torch.get_num_threads())
            )
    for name in WAYS:
        base = "plain + conv" if "conv" in name or name == "folded" else "plain"
        ratios = f"{best[base] / best[name]:5.2f} x as fast, {memory[name] / memory[base]:5.2f} of the memory"
        print(f"{name:21} {1e3 * best[name]:8.1f} ms {memory[name]:8.1f} MB   {ratios}")


if __name__ == "__main__":
    main()
