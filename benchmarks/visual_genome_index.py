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

import json
import multiprocessing
import pickle
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from tqdm import tqdm

from benchmarks._common import (
    Report,
    Size,
    fresh_processes,
    highest_resident,
    in_own_process,
    rate_row,
    report,
)
from datamodules.sets.visual_genome import VisualGenomeSplit, open_regions

REGIONS = 50
WORDS = (  # noqa: SIM905 (a list of words reads better)
    "man woman dog cat tree car street sign window building white black red blue green brown wearing shirt "
    "on the of a in with and sky grass table standing sitting holding large small wooden plate water road "
    "wall chair light hair head leg face boat train horse bus kite snow surfboard"
).split()


def generate(root: Path, images: int) -> None:
    """``region_descriptions.json``, ``image_data.json`` and ``data_splits.pickle``, as their publishers write
    them.
    """
    rng = np.random.default_rng(0)
    (root / "VG_100K").mkdir(parents=True)
    distinct = min(50_000, images * REGIONS)
    phrases = [" ".join(rng.choice(WORDS, size)) for size in rng.integers(2, 9, distinct)]
    template = (
        '{"region_id": %d, "width": %d, "height": %d, "image_id": %d, "phrase": "%s", "y": %d, "x": %d}'
    )
    with (
        (root / "region_descriptions.json").open("w") as regions,
        (root / "image_data.json").open("w") as sizes,
    ):
        for n, number in enumerate(tqdm(range(1, images + 1), desc=f"writing {root.name}", leave=False)):
            chosen, x, y, w, h = rng.integers((distinct, 400, 300, 300, 300), size=(REGIONS, 5)).T.tolist()
            lines = [
                template % (number * 100 + k, w[k] + 1, h[k] + 1, number, phrases[chosen[k]], y[k], x[k])
                for k in range(REGIONS)
            ]
            regions.write(f'{", " if n else "["}{{"regions": [{", ".join(lines)}], "id": {number}}}')
            size = {
                "image_id": number,
                "width": 800,
                "height": 600,
                "url": f"https://x/VG_100K/{number}.jpg",
                "coco_id": None,
            }
            sizes.write((", " if n else "[") + json.dumps(size))
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
    """Time and memory of building the index of a folder."""
    before = highest_resident()
    start = time.perf_counter()
    cpu = time.process_time()
    open_regions(root, root)
    return {
        "seconds": time.perf_counter() - start,
        "of them on a core": time.process_time() - cpu,
        "peak MiB": highest_resident(),
        "after imports": before,
    }


def open_split(root: Path) -> VisualGenomeSplit:
    return VisualGenomeSplit(root, "akbari", "train", cache_dir=root)


def set_up(root: Path, number: int) -> dict[str, float]:
    """Time and memory of opening an index that is there, and the rates at which ``number`` rows are read."""
    start = time.perf_counter()
    cpu = time.process_time()
    source = open_split(root)
    opening = {"seconds": time.perf_counter() - start, "of them on a core": time.process_time() - cpu}
    rng = np.random.default_rng(1)
    some = rng.integers(len(source.index), size=number).tolist()
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
    before = highest_resident()
    start = time.perf_counter()
    cpu = time.process_time()
    content = read_json(root)
    spent = {"seconds": time.perf_counter() - start, "of them on a core": time.process_time() - cpu}
    return {**spent, "peak MiB": highest_resident(), "after imports": before, "images": len(content)}


def worker(way: str, root: Path, source: Any, ready: Any, results: Any) -> None:
    """Reads every phrase; puts its own MiB, those with its share of others, and the letters read."""
    process = psutil.Process()
    before = process.memory_full_info()
    if way == "json":
        content = read_json(root)
        read = sum(len(region["phrase"]) for regions in content.values() for region in regions)
    else:
        source = source or open_split(root)
        rows = map(source.index.row, range(len(source.index)))
        read = sum(len(phrase) for row in rows for phrase in row["phrases"])
    ready.wait()  # all have read all, and all still live
    after = process.memory_full_info()
    results.put(((after.uss - before.uss) / 2**20, (after.pss - before.pss) / 2**20, read))
    ready.wait()


def workers(way: str, root: Path, number: int, context: Any, source: Any = None) -> dict[str, float]:
    """The memory of several processes of a `multiprocessing` context that have all read every phrase."""
    ready = context.Barrier(number)
    results = context.SimpleQueue()
    arguments = (way, root, source, ready, results)
    processes = [context.Process(target=worker, args=arguments) for _ in range(number)]
    for process in processes:
        process.start()
    grown = [results.get() for _ in processes]
    for process in processes:
        process.join()
    own, shared, letters = zip(*grown, strict=True)
    assert len(set(letters)) == 1, f"the workers did not read the same: {letters}"
    return {
        "own MiB, worst": max(own),
        "own MiB, mean": sum(own) / number,
        "with its share, MiB": sum(shared) / number,
        "letters": letters[0],
    }


@dataclass(frozen=True)
class Scale:
    """Images of the data set and of the baseline, worker processes, and rows that are read."""

    images: int = 108_077
    baseline: int = 10_000
    workers: int = 8
    reads: int = 30_000


def measure(root: Path, images: int, reads: int) -> tuple[list[str], dict[str, float]]:
    """Generates a data set and indexes it: lines of the report, and what opening the index cost."""
    generate(root, images)
    mebibytes = (root / "region_descriptions.json").stat().st_size / 2**20
    built = in_own_process(build, root)
    opened = in_own_process(set_up, root, reads)
    lines = [
        f"{images:,} images, {images * REGIONS:,} regions, {mebibytes:,.0f} MiB of JSON",
        line("index, built", built),
        line("index, opened with its split", opened),
    ]
    return lines, opened


def line(title: str, numbers: dict[str, float]) -> str:
    """A title, and numbers by name, the large ones without decimals."""
    texts = [f"{name} {number:,.{0 if number >= 100 else 2}f}" for name, number in numbers.items()]
    return f"  {title:<40}" + "  ".join(texts)


def run(size: Size) -> Report:
    """What opening and holding the data in a worker cost, as shares of the same with ``json.load``."""
    scale = Scale(images=60, baseline=40, workers=2, reads=200) if size == "tiny" else Scale()
    fresh = fresh_processes()
    with tempfile.TemporaryDirectory() as folder:
        full = Path(folder) / "full"
        small = Path(folder) / "small"
        lines, _ = measure(full, scale.images, scale.reads)
        opening = workers("index", full, scale.workers, fresh)
        forked = workers("index", full, scale.workers, multiprocessing.get_context("fork"), open_split(full))
        lines.append(line(f"index, {scale.workers} workers that open it", opening))
        lines.append(line(f"index, {scale.workers} forked workers", forked))

        small_lines, opened = measure(small, scale.baseline, scale.reads)
        by_index = workers("index", small, 2, fresh)
        by_json = workers("json", small, 2, fresh)
        loaded = in_own_process(load_json, small)
        lines += small_lines
        lines.append(line("index, 2 workers that open it", by_index))
        lines.append(line("json.load, once", loaded))
        lines.append(line("json.load, 2 workers that load it", by_json))
    assert by_index["letters"] == by_json["letters"], "the index holds other phrases than the file"
    times = {"index": opened["of them on a core"], "json.load": loaded["of them on a core"]}
    share = f"{by_index['own MiB, mean'] / by_json['own MiB, mean']:.3f} x"
    path = f"Visual Genome opened, {scale.baseline:,} images"
    row = rate_row(path, "times", 1 / times["index"], 1 / times["json.load"], "json.load", share)
    return Report(lines, [row])


def main(argv: Sequence[str] | None = None) -> None:
    report(run, __doc__, argv)


if __name__ == "__main__":
    main()
