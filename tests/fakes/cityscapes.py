"""Cityscapes: the publisher's own numbers, and the train ids that may lie beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.fakes.judged import Judged, label_map, save_numbers, save_photo


def write(root: Path) -> Judged:
    """An image with ids, one with train ids beside ids that say something else, one whose train ids are out
    of range, one without labels.
    """
    records = {}
    names = [
        f"{city}_{number:06d}_000019" for number, city in enumerate(["aachen", "bochum", "bochum", "ulm"])
    ]
    train_id = np.full(256, 255)
    train_id[[7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]] = range(19)
    for number, name in enumerate(names):
        city = name.split("_")[0]
        seen = save_photo(root / "leftImg8bit" / "val" / city / f"{name}_leftImg8bit.png", number)
        labels = root / "gtFine" / "val" / city / f"{name}_gtFine"
        numbers = label_map(number, [0, 3, 7, 8, 24, 29, 33])
        if number < 3:
            save_numbers(labels.with_name(f"{labels.name}_labelIds.png"), numbers)
        if number == 0:
            records[name] = (seen, train_id[numbers].tolist())
        if number == 1:
            train_ids = label_map(9, [0, 18, 255])
            save_numbers(labels.with_name(f"{labels.name}_labelTrainIds.png"), train_ids)
            records[name] = (seen, train_ids.tolist())
        if number == 2:
            save_numbers(labels.with_name(f"{labels.name}_labelTrainIds.png"), label_map(9, [0, 19]))
    (root / "leftImg8bit" / "val" / "ulm" / "license.txt").write_text("no image")
    return Judged(
        {"root": root},
        records,
        [root / "leftImg8bit" / "val", root / "gtFine" / "val"],
        skipped=set(names[2:]),
    )
