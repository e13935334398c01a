"""RefCOCO, RefCOCO+ and RefCOCOg in REFER's layout, with photographs of COCO's train2014."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tests.fakes.base import Asked
from tests.fakes.refer import ReferFake, Writer

COLOURS = {
    "train": [(200, 30, 40), (30, 180, 50), (20, 60, 220), (90, 90, 10)],
    "val": [(10, 20, 30), (40, 50, 60), (70, 80, 90)],
    "testA": [(250, 10, 10), (10, 250, 10), (10, 10, 250)],
    "testB": [(99, 0, 99), (0, 99, 99)],
    "test": [(99, 0, 99), (0, 99, 99)],
}


@dataclass
class SplitFake(ReferFake):
    """Also says which names opening any of the tests must report."""

    left_out: set[str] = field(default_factory=set)


def write_set(
    root: Path, name: str, folder: str, split_by: str, tests: tuple[str, ...] = ("testA", "testB")
) -> SplitFake:
    """Sound images in all splits, one in each test with every fault, and a broken reference that is of no
    split.

    Args:
        root: folder to write into.
        name: of the set in results.
        folder: of the annotations.
        split_by: whose split.
        tests: names of the test splits.
    """
    writer = Writer(root / "images" / "mscoco" / "images" / "train2014", "COCO_train2014_{:012d}.jpg")
    writer.references.append(["no", "reference"])  # of no split, thus reported by all
    stray = {f"refs({split_by}).p:0"}
    set_names = {split: name if split == "test" else f"{name}_{split}" for split in tests}
    queries_of_sets: dict[str, dict[str, Asked]] = {}
    captions: dict[str, list[str]] = {}
    skipped: dict[str, set[str]] = {"train": stray}
    left_out = set(stray)
    for split in ("train", "val", *tests):
        queries_of_set = queries_of_sets.setdefault(set_names.get(split, split), {})
        for colour in COLOURS[split]:
            image, refs, queries = writer.sound(split, colour)
            queries_of_set |= queries
            if split == "train":
                captions[str(image)] = [" ".join(query.phrase.split()) for query in queries.values()]
        if split in tests:
            faults = writer.faulty(split, refs[0])
            skipped[set_names[split]] = faults.left_out | faults.unasked | stray
            left_out |= faults.left_out
            queries_of_set |= faults.sound
    writer.write(root / folder, split_by)
    del queries_of_sets["train"]
    val = queries_of_sets.pop("val")
    return SplitFake(
        {"root": root},
        captions,
        {"val": {name: val}, "test": queries_of_sets},
        skipped,
        writer.masks,
        left_out,
    )


def write(root: Path) -> SplitFake:
    """RefCOCO, split by UNC."""
    return write_set(root, "refcoco", "refcoco", "unc")


def write_refcocoplus(root: Path) -> SplitFake:
    """RefCOCO+."""
    return write_set(root, "refcoco_plus", "refcoco+", "unc")


def write_refcocog(root: Path) -> SplitFake:
    """RefCOCOg, split by UMD."""
    return write_set(root, "refcocog", "refcocog", "umd", ("test",))
