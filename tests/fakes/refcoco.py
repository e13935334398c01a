"""RefCOCO, RefCOCO+ and RefCOCOg in REFER's layout, with photographs of COCO's train2014."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from datamodules.sets.refcoco import RefCOCOPairs, draw_pairs
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
    asked: dict[str, dict[str, Asked]] = {}
    captions: dict[str, list[str]] = {}
    skipped: dict[str, set[str]] = {"train": stray}
    left_out = set(stray)
    for split in ("train", "val", *tests):
        of_set = asked.setdefault(
            split if split in {"train", "val"} else name if split == "test" else f"{name}_{split}", {}
        )
        for colour in COLOURS[split]:
            image, refs, queries = writer.sound(split, colour)
            of_set |= queries
            if split == "train":
                captions[str(image)] = [" ".join(query.phrase.split()) for query in queries.values()]
        if split in tests:
            faults = writer.faulty(split, refs[0])
            skipped[name if split == "test" else f"{name}_{split}"] = faults.left_out | faults.unasked | stray
            left_out |= faults.left_out
            of_set |= faults.sound
    writer.write(root / folder, split_by)
    del asked["train"]
    val = asked.pop("val")
    return SplitFake(
        {"root": root}, captions, {"val": {name: val}, "test": asked}, skipped, writer.masks, left_out
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


def write_refcocopairs(root: Path) -> ReferFake:
    """The pairs that are drawn from RefCOCO+; objects with a broken box are never drawn."""
    plus = write_refcocoplus(root)
    things = {
        key.split("/")[0]: asked
        for tests in plus.queries.values()
        for queries in tests.values()
        for key, asked in queries.items()
    }
    data = RefCOCOPairs(root=root)
    queries: dict[str, dict[str, Asked]] = {}
    for split, splits in (("val", ["val"]), ("test", ["testA", "testB"])):
        queries[split] = {}
        for pair in draw_pairs(data.source(data.annotations(), *splits), data.pair_seed):
            first, second = (things[str(ref)] for ref in pair["objects"])
            key = f"{pair['image']}/{'+'.join(map(str, pair['objects']))}"
            queries[split][key] = Asked(first.colour, first.size, pair["phrase"], first.boxes + second.boxes)
    skipped = {"train": plus.skipped["train"], "refcoco_pairs": plus.left_out}
    return ReferFake(
        {"root": root},
        plus.captions,
        {split: {"refcoco_pairs": found} for split, found in queries.items()},
        skipped,
    )
