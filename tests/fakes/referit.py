"""ReferIt: RefCLEF in REFER's layout, photographs in numbered folders, and MultiGrounding's lists."""

from __future__ import annotations

from pathlib import Path

from tests.fakes.base import Asked
from tests.fakes.refcoco import COLOURS
from tests.fakes.refer import ReferFake, Writer


def write(root: Path, multigrounding: bool = False) -> ReferFake:
    """The lists, and not what the references say, make the splits; an image that is listed need not have a
    reference.

    Args:
        root: folder to write into.
        multigrounding: the folders that MultiGrounding's code wants, instead of REFER's.
    """
    images = root / ("ReferIt_Images" if multigrounding else "images/saiapr_tc-12")
    writer = Writer(images, "00/images/{}.jpg", unique=True, form="packed_list")
    queries_of_splits: dict[str, dict[str, Asked]] = {}
    listed: dict[str, list[int]] = {}
    captions = {}
    for split in ("train", "val", "test"):
        queries_of_splits[split] = {}
        listed[split] = [99999]
        for colour in COLOURS[split]:
            image, refs, queries = writer.sound("val", colour)
            listed[split].append(image)
            queries_of_splits[split] |= queries
            if split == "train":
                captions[str(image)] = [" ".join(query.phrase.split()) for query in queries.values()]
    faults = writer.faulty("train", refs[0])
    listed["test"] += faults.images
    queries_of_splits["test"] |= faults.sound
    folder = root / ("ReferIt_Splits" if multigrounding else "refclef")
    writer.write(folder, "unc")
    for split, numbers in listed.items():
        (folder / f"referit_{split}_imlist.txt").write_text("\n".join(map(str, numbers)) + "\n")
    return ReferFake(
        arguments={"root": root},
        captions=captions,
        queries={split: {"referit": queries_of_splits[split]} for split in ("val", "test")},
        skipped={"referit": faults.left_out | faults.unasked},
        masks=writer.masks,
        useless={"referit": len(COLOURS["test"])},  # a sentence is said twice of an object
    )
