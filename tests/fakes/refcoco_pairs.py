"""Pairs of objects of RefCOCO+, as they are drawn from its fake."""

from __future__ import annotations

from pathlib import Path

from datamodules.sets.refcoco_pairs import RefCOCOPairs, draw_pairs
from tests.fakes.base import Asked
from tests.fakes.refcoco import write_refcocoplus
from tests.fakes.refer import ReferFake


def write(root: Path) -> ReferFake:
    """The pairs that are drawn from RefCOCO+; objects with a broken box are never drawn."""
    plus = write_refcocoplus(root)
    objects: dict[str, Asked] = {}
    for tests in plus.queries.values():
        for queries in tests.values():
            for key, query in queries.items():
                objects[key.split("/")[0]] = query
    data = RefCOCOPairs(root=root)
    annotations = data.annotations()
    pairs_of_splits: dict[str, dict[str, dict[str, Asked]]] = {}
    for split, subsets in (("val", ["val"]), ("test", ["testA", "testB"])):
        pairs: dict[str, Asked] = {}
        for pair in draw_pairs(data.source(annotations, *subsets), data.pair_seed):
            first, second = (objects[str(ref)] for ref in pair["objects"])
            key = f"{pair['image']}/{'+'.join(map(str, pair['objects']))}"
            pairs[key] = Asked(first.colour, first.size, pair["phrase"], first.boxes + second.boxes)
        pairs_of_splits[split] = {"refcoco_pairs": pairs}
    skipped = {"train": plus.skipped["train"], "refcoco_pairs": plus.left_out}
    # In each test, the two images of broken objects have no pair.
    useless = {"refcoco_pairs": 4}
    return ReferFake({"root": root}, plus.captions, pairs_of_splits, skipped, useless=useless)
