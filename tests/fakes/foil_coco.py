"""FOIL-COCO: captions and their foils carry the same number."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.fakes.judged import Judged, save_photo


def write(root: Path) -> Judged:
    """A caption with two foils, one with one; a foil before its caption, one without a caption, one whose
    image is missing, and records without fields.
    """
    images = root / "val2014"
    seen = {n: save_photo(images / f"COCO_val2014_{n:012d}.jpg", n) for n in (1, 2)}

    def caption(
        foil_id: int, number: int, image: int, text: str, target: str = "ORIG", foil: str = "ORIG"
    ) -> dict[str, Any]:
        words = {"target_word": target, "foil_word": foil, "foil": foil != "ORIG"}
        return {"id": number, "foil_id": foil_id, "image_id": image, "caption": text, **words}

    annotations: list[Any] = [
        caption(10, 5, 1, "A cat on grass.", "dog", "cat"),
        caption(11, 5, 1, "A dog  on grass."),
        caption(12, 5, 1, "A horse on grass.", "dog", "horse"),
        caption(13, 6, 2, "A red bus"),
        caption(14, 6, 2, "A red car", "bus", "car"),
        caption(15, 7, 2, "A lonely foil", "boat", "foil"),
        caption(16, 8, 3, "A tree"),
        caption(17, 8, 3, "A tower", "tree", "tower"),
        {"id": 9, "image_id": 1, "caption": "No flag"},
        "nonsense",
        caption(18, 6, 2, "  ", "bus", "car"),
    ]
    listed = [{"id": n, "file_name": f"COCO_val2014_{n:012d}.jpg"} for n in (1, 3)] + [
        {"file_name": "x.jpg"}
    ]  # image 2 is not listed
    path = root / "foilv1.0_test_2017.json"
    path.write_text(json.dumps({"info": {}, "licenses": [], "images": listed, "annotations": annotations}))
    records = {
        "10": ((seen[1], "A dog on grass."), (seen[1], "A cat on grass."), "foil"),
        "12": ((seen[1], "A dog on grass."), (seen[1], "A horse on grass."), "foil"),
        "14": ((seen[2], "A red bus"), (seen[2], "A red car"), "foil"),
    }
    broken = {"foil 15", "caption 8", "caption 9", "caption 10", "image 2"}
    return Judged({"root": root, "images": images}, records, [path, images], broken, skipped={"17"})
