"""SVO-Probes: a table with an unnamed first column, and images of which many are gone."""

from __future__ import annotations

import csv
from pathlib import Path

from tests.fakes.judged import Judged, save_photo

HEADER = [
    "",
    "sentence",
    "pos_triplet",
    "neg_triplet",
    "pos_url",
    "neg_url",
    "pos_image_id",
    "neg_image_id",
    "subj_neg",
    "verb_neg",
    "obj_neg",
]


def write(root: Path) -> Judged:
    """A row of each kind; one in which two things differ, one with a dead image, one whose image is broken,
    one cut off, one with an unknown flag.
    """
    seen = {n: save_photo(root / "images" / f"{n}.{'png' if n == 3 else 'jpg'}", n) for n in range(1, 5)}
    (root / "images" / "6.jpg").write_bytes(b"<html>404</html>")

    def row(key: int, sentence: str, positive: int, negative: int, *flags: object) -> list[object]:
        return [
            key,
            sentence,
            "dog,run,park",
            "['dog,sit,park']",
            "http://a/x.jpg",
            "http://b/y.jpg",
            positive,
            negative,
            *flags,
        ]

    rows = [
        row(0, "A dog runs, in a park.", 1, 2, False, True, False),
        row(1, 'A "dog" runs.', 1, 3, True, False, False),
        row(2, "A dog runs.", 4, 2, "FALSE", "false", "TRUE"),
        row(3, "A dog runs.", 1, 2, True, True, False),
        row(4, "A dog runs.", 1, 5, True, False, False),
        row(5, "A dog runs.", 1, 6, True, False, False),
        row(6, "A dog runs.", 1, 2, "yes", False, False),
        [7, "A dog"],
    ]
    with (root / "svo_probes.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([HEADER, *rows])
    records = {
        "0": ((seen[1], "A dog runs, in a park."), (seen[2], "A dog runs, in a park."), "verb"),
        "1": ((seen[1], 'A "dog" runs.'), (seen[3], 'A "dog" runs.'), "subject"),
        "2": ((seen[4], "A dog runs."), (seen[2], "A dog runs."), "object"),
    }
    return Judged(
        {"root": root},
        records,
        [root / "images", root / "svo_probes.csv"],
        broken={"row 6", "row 7"},
        skipped={"5"},
        useless=2,  # two things differ; an image is not there
    )
