"""The annotations of Visual Genome at their real size: how long their index takes to build and to open, and
what it costs each worker process.

    python -m benchmarks.visual_genome_index [--images 108077] [--baseline 10000] [--workers 8] [--folder
    FOLDER]

The data set is generated: 108,077 images with 50 regions each, in the publisher's JSON (about 0.7 GB, and 0.3
    GB of index), without photographs. Each
step runs in processes of its own. Memory of workers is what is theirs alone (USS, as the system counts it
once all of them have read every row), beyond what they had after their imports. The baseline is the reference
codes' way at a smaller size: `json.load` in every process, and a dictionary by image.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import pickle
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from tqdm import tqdm

from datamodules.sets.visual_genome import VisualGenomeSplit, open_regions

REGIONS = 50
WORDS = (  # noqa: SIM905 (a list of words reads better)
    "man woman dog cat tree car street sign window building white black red blue green brown wearing shirt on the of a in with and sky grass table"
    " standing sitting holding large small wooden plate water road wall chair light hair head leg face boat train horse bus kite snow surfboard"
).split()


def generate(root: Path, images: int) -> None:
    """``region_descriptions.json``, ``image_data.json`` and ``data_splits.pickle``, as their publishers write
    them.
    """
    rng = np.random.default_rng(0)
    (root / "VG_100K").mkdir(parents=True)
    phrases = [" ".join(rng.choice(WORDS, size)) for size in rng.integers(2, 9, 50_000)]
    template = (
        '{"region_id": %d, "width": %d, "height": %d, "image_id": %d, "phrase": "%s", "y": %d, "x": %d}'
    )
    with (
        (root / "region_descriptions.json").open("w") as regions,
        (root / "image_data.json").open("w") as sizes,
    ):
        for n, number in enumerate(tqdm(range(1, images + 1), desc=f"writing {root.name}", leave=False)):
            chosen, x, y, w, h = rng.integers((50_000, 400, 300, 300, 300), size=(REGIONS, 5)).T.tolist()
            lines = [
                template % (number * 100 + k, w[k] + 1, h[k] + 1, number, phrases[chosen[k]], y[k], x[k])
                for k in range(REGIONS)
            ]
            regions.write(f'{", " if n else "["}{{"regions": [{", ".join(lines)}], "id": {number}}}')
            sizes.write(
                f'{", " if n else "["}{{"image_id": {number}, "width": 800, "height": 600, "url": "https://x/VG_100K/{number}.jpg", "coco_id": null}}'
            )
        regions.write("]")
        sizes.write("]")
    with (root / "data_splits.pickle").open("wb") as file:
        pickle.dump(
            {
                "train": set(range(1, images - images // 6)),
                "test": set(range(images - images // 6, images + 1)),
            },
            file,
        )


def build(root: Path) -> dict[str, float]:
    before, start, cpu = peak(), time.perf_counter(), time.process_time()
    open_regions(root, root)
    return {
        "seconds": time.perf_counter() - start,
        "of them on a core": time.process_time() - cpu,
        "peak MiB": peak(),
        "after imports": before,
    }


def peak() -> float:
    """MiB that this process has had at most, its share of mapped files included."""
    return (
        next(
            int(line.split()[1])
            for line in Path("/proc/self/status").read_text().splitlines()
            if line.startswith("VmHWM")
        )
        / 1024
    )


def open_split(root: Path) -> VisualGenomeSplit:
    return VisualGenomeSplit(root, "akbari", "train", cache_dir=root)


def set_up(root: Path) -> dict[str, float]:
    start, cpu = time.perf_counter(), time.process_time()
    source = open_split(root)
    opening = {"seconds": time.perf_counter() - start, "of them on a core": time.process_time() - cpu}
    rng = np.random.default_rng(1)
    some = rng.integers(len(source.index), size=30_000).tolist()
    reads: dict[str, Callable[[int], Any]] = {
        "rows/s, phrases alone": lambda row: source.index.value(row, "phrases"),
        "rows/s, all columns": source.index.row,
        "images/s, as captions": lambda row: source.captions(row % len(source)),
        "images/s, as queries": lambda row: source.queries(row % len(source)),
    }
    rates = {}
    for name, read in reads.items():
        begun = time.process_time()  # of this process, so that a busy machine does not count
        for row in some:
            read(row)
        rates[name] = len(some) / (time.process_time() - begun)
    return {**opening, **rates}


def read_json(root: Path) -> dict[int, list[dict]]:
    with (root / "region_descriptions.json").open() as file:
        return {entry["id"]: entry["regions"] for entry in json.load(file)}


def load_json(root: Path) -> dict[str, float]:
    before, start, cpu = peak(), time.perf_counter(), time.process_time()
    content = read_json(root)
    spent = {"seconds": time.perf_counter() - start, "of them on a core": time.process_time() - cpu}
    return {**spent, "peak MiB": peak(), "after imports": before, "images": len(content)}


def worker(way: str, root: Path, source: Any, ready: Any, results: Any) -> None:
    process = psutil.Process()
    before = process.memory_full_info()
    if way == "json":
        content = read_json(root)
        read = sum(len(region["phrase"]) for regions in content.values() for region in regions)
    else:
        source = source or open_split(root)
        read = sum(len(source.index.row(row)["phrases"]) for row in range(len(source.index)))
    ready.wait()  # all have read all, and all still live
    after = process.memory_full_info()
    results.put(((after.uss - before.uss) / 2**20, (after.pss - before.pss) / 2**20, read))
    ready.wait()


def workers(way: str, root: Path, number: int, method: str, source: Any = None) -> dict[str, float]:
    context = multiprocessing.get_context(method)
    ready, results = context.Barrier(number), context.SimpleQueue()
    processes = [
        context.Process(target=worker, args=(way, root, source, ready, results)) for _ in range(number)
    ]
    for process in processes:
        process.start()
    grown = [results.get() for _ in processes]
    for process in processes:
        process.join()
    own, shared, _ = zip(*grown, strict=True)
    return {
        "own MiB, worst": max(own),
        "own MiB, mean": sum(own) / number,
        "with its share, MiB": sum(shared) / number,
    }


def alone(task: Callable[[Path], dict[str, float]], root: Path) -> dict[str, float]:
    """The task in a fresh process, whose peak is its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(task, (root,))


def report(title: str, found: dict[str, float]) -> None:
    print(
        f"{title:<42}"
        + "  ".join(f"{name} {value:,.{0 if value >= 100 else 2}f}" for name, value in found.items()),
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=108_077)
    parser.add_argument("--baseline", type=int, default=10_000, help="images of the baseline")
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument(
        "--folder", type=Path, help="for the generated files, instead of the system's own for temporary ones"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        full, small = Path(folder) / "full", Path(folder) / "small"
        for root, images in ((full, arguments.images), (small, arguments.baseline)):
            generate(root, images)
            size = (root / "region_descriptions.json").stat().st_size / 2**20
            print(f"{images:,} images, {images * REGIONS:,} regions, {size:,.0f} MiB of JSON", flush=True)
            report("  index, built", alone(build, root))
            report("  index, opened with its split", alone(set_up, root))
            if root == full:
                report(
                    f"  index, {arguments.workers} workers that open it",
                    workers("index", root, arguments.workers, "spawn"),
                )
                report(
                    f"  index, {arguments.workers} forked workers",
                    workers("index", root, arguments.workers, "fork", open_split(root)),
                )
        report("  index, 2 workers that open it", workers("index", small, 2, "spawn"))
        report("  json.load, once", alone(load_json, small))
        report("  json.load, 2 workers that load it", workers("json", small, 2, "spawn"))


if __name__ == "__main__":
    main()
