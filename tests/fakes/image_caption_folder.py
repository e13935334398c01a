"""A user's own folder of images with captions and queries, in every format that is read."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

from tests.fakes.base import Asked, Fake, save_image

SIZE = (24, 32)  # height, width
RED = (200, 30, 40)
GREEN = (30, 180, 50)
BLUE = (20, 60, 220)
IMAGES = {
    "a.jpg": RED,
    "sub/b.png": GREEN,
    "sub/deep/c.JPG": BLUE,
    "with blanks.webp": RED,
    "ünï.bmp": GREEN,
}
# As rows name them (the extension may be left out), with their captions.
CAPTIONS = {
    "a.jpg": ["a dog, a cat and a sofa", 'the "big" dog'],
    "sub/b": ["ein Hündchen"],
    "sub/deep/c.JPG": ["two dogs", "a ball"],
    "with blanks": ["a bird"],
    "ünï.bmp": ["a tree"],
}
BROKEN_IMAGES = ("zero.jpg", "cut.jpg", "words.jpg")


def write_images(folder: Path) -> None:
    """Readable images, and one that is empty, one cut in the middle, one that is no image."""
    for name, colour in IMAGES.items():
        save_image(folder / name, colour, SIZE, **({"format": "JPEG"} if name.endswith("JPG") else {}))
    (folder / "zero.jpg").touch()
    (folder / "cut.jpg").write_bytes((folder / "a.jpg").read_bytes()[:-300])
    (folder / "words.jpg").write_text("not an image")
    (folder / "notes.txt").write_text("neither is this")


def by_path(captions: dict[str, list[str]]) -> dict[str, list[str]]:
    """Captions under the full names of their images."""
    return {FULL_NAMES.get(name, name): texts for name, texts in captions.items()}


def write_captions(
    path: Path, captions: dict[str, list[str]], encoding: str = "utf-8", as_list: bool = True
) -> None:
    """A file whose suffixes say its format: .csv, .tsv or .jsonl, each also with .gz.

    Args:
        path: of the file.
        captions: by image.
        encoding: of the text.
        as_list: JSON lines with one list of captions an image, or a line a caption.
    """
    text = io.StringIO(newline="")
    rows = [(image, caption) for image, of_image in captions.items() for caption in of_image]
    if ".jsonl" in path.suffixes:
        lines: list[dict[str, Any]] = [
            {"image": image, "captions": of_image} for image, of_image in captions.items()
        ]
        for line in lines if as_list else [{"image": image, "caption": caption} for image, caption in rows]:
            text.write(json.dumps(line, ensure_ascii=False) + "\n")
    else:
        table = [("image", "caption"), *rows]
        if ".tsv" in path.suffixes:  # which has no quoting
            text.writelines("\t".join(row) + "\n" for row in table)
        else:
            csv.writer(text).writerows(table)
    data = text.getvalue().encode(encoding)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def write_queries(path: Path) -> dict[str, Asked]:
    """Sound queries, which are returned by key, and every kind of broken one (see `BROKEN_QUERIES`)."""
    sound: list[tuple[dict[str, Any], tuple[int, int, int]]] = [
        ({"image": "a.jpg", "phrase": "a dog", "boxes": [[0, 0, 10, 12.5]]}, RED),
        ({"image": "a.jpg", "phrase": "the left things", "boxes": [[1, 2, 3, 4], [5, 6, 32, 24]]}, RED),
        ({"image": "sub/b", "phrase": "sticks out", "boxes": [[-5, -5, 10, 100]]}, GREEN),
        ({"image": "sub/deep/c.JPG", "phrase": "a ball", "boxes": [31, 23, 32, 24]}, BLUE),
        ({"image": "a.jpg", "phrase": "to be found, not judged", "boxes": []}, RED),
        ({"image": "a.jpg", "phrase": "nor is this"}, RED),
    ]
    bad: list[Any] = [
        {"image": "a.jpg", "phrase": "inverted", "boxes": [[10, 0, 5, 5]]},
        {"image": "a.jpg", "phrase": "empty box", "boxes": [[5, 5, 5, 9]]},
        {"image": "a.jpg", "phrase": "nan", "boxes": [[float("nan"), 0, 5, 5]]},
        {"image": "a.jpg", "phrase": "outside", "boxes": [[40, 0, 45, 5]]},
        {"image": "a.jpg", "phrase": "three numbers", "boxes": [[1, 2, 3]]},
        {"image": "a.jpg", "phrase": "words", "boxes": {"x": 1}},
        {"image": "a.jpg", "phrase": " ", "boxes": [[0, 0, 5, 5]]},
        {"image": "a.jpg", "boxes": [[0, 0, 5, 5]]},
        {"image": "gone.jpg", "phrase": "a dog", "boxes": [[0, 0, 5, 5]]},
        {"phrase": "no image", "boxes": [[0, 0, 5, 5]]},
        {"image": "cut.jpg", "phrase": "unreadable", "boxes": [[0, 0, 5, 5]]},
        ["a", "list"],
    ]
    lines = [json.dumps(row) for row, _ in sound] + [json.dumps(row) for row in bad] + ["{half a row", ""]
    path.write_text("\n".join(lines), encoding="utf-8")
    return {
        f"{path.name}:{n}": Asked(
            colour, SIZE, row["phrase"], [row["boxes"]] if row["phrase"] == "a ball" else row.get("boxes", [])
        )
        for n, (row, colour) in enumerate(sound, 1)
    }


FULL_NAMES = {"sub/b": "sub/b.png", "with blanks": "with blanks.webp"}
BROKEN_QUERIES = {f"test.jsonl:{n}" for n in range(7, 20)}


def write(root: Path) -> Fake:
    """Images, captions and queries below ``root``; unreadable images have captions, too."""
    write_images(root / "images")
    write_captions(
        root / "captions.csv",
        CAPTIONS | {name: ["a caption"] for name in BROKEN_IMAGES} | {"gone.jpg": ["a ghost"]},
    )
    queries = write_queries(root / "test.jsonl")
    (root / "val.jsonl").write_text(
        json.dumps({"image": "a.jpg", "phrase": "a dog", "boxes": [[0, 0, 10, 12]]})
    )
    val = {"val.jsonl:1": Asked(RED, SIZE, "a dog", [[0, 0, 10, 12]])}
    return Fake(
        arguments={
            "images": root / "images",
            "captions": root / "captions.csv",
            "val_queries": root / "val.jsonl",
            "test_queries": root / "test.jsonl",
        },
        captions=by_path(CAPTIONS),
        queries={"val": {"folder": val}, "test": {"folder": queries}},
        skipped={"train": {*BROKEN_IMAGES, "captions.csv:12"}, "folder": BROKEN_QUERIES},
    )
