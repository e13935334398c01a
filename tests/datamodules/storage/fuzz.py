"""Files damaged at random, by a seed: reading any of them ends in a result or in a `DataError`.

``python -m tests.datamodules.storage.fuzz --rounds 20000 --seed 1`` tries more than the test suite does.
"""

from __future__ import annotations

import argparse
import io
import json
import pickle
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from datamodules.errors import DataError
from datamodules.sets.flickr30k_entities import read_annotation
from datamodules.sets.image_caption_folder import parse_caption, parse_query
from datamodules.sets.refer_annotations import read_instances
from datamodules.storage.images import read_image
from datamodules.storage.row_files import read_rows
from datamodules.storage.safe_pickle import read_plain_pickle
from tests.fakes.flickr30k_entities import OBJECTS, annotation

WORDS = (b'"', b"\n", b",", b"\t", b"null", b"-1", b"1e999", b"[", b"{", b"\xff", b"\x00", b"<", b"\\ud800")


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """A few bytes changed, a piece cut out, doubled or put elsewhere, a word put in, or the end cut off."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 6))):
        start, end = sorted(rng.integers(0, len(data) + 1, 2).tolist())
        match int(rng.integers(6)):
            case 0 if data:
                data[min(start, len(data) - 1)] = int(rng.integers(256))
            case 1 if data:
                data[min(start, len(data) - 1)] ^= 1 << int(rng.integers(8))
            case 2:
                del data[start : min(end, start + 16)]
            case 3:
                data[start:start] = data[start : min(end, start + 64)]
            case 4:
                data[start:start] = WORDS[int(rng.integers(len(WORDS)))]
            case _ if rng.random() < 0.2:
                del data[end:]
    return bytes(data)


def image_files() -> dict[str, bytes]:
    """A small picture in every format, some with EXIF data and transparency."""
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (12, 20, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "a maker"
    files = {}
    for form in ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"):
        target = io.BytesIO()
        picture.save(target, form, **({} if form in {"GIF", "BMP"} else {"exif": exif}))
        files[form] = target.getvalue()
    for name, image in (("alpha", picture.convert("RGBA")), ("palette", picture.convert("P"))):
        target = io.BytesIO()
        image.save(target, "PNG")
        files[name] = target.getvalue()
    return files


def read_captions(path: Path) -> None:
    """Reads a file of captions or queries as an `ImageCaptionFolder` does."""
    for _, row in read_rows(path):
        for parse in (parse_caption, lambda row: parse_query(row, "key")):
            try:
                parse(row)
            except (ValueError, TypeError):
                continue


def annotation_files() -> dict[str, tuple[bytes, Callable[[Path], object]]]:
    """Files of annotations, and how each is read."""
    table = 'image,caption\na.png,"a dog, and a cat"\nb.png,two men\nc.png,"said ""no"""\n'
    lines = [
        {"image": "a.png", "captions": ["a dog", "a cat"]},
        {"image": "b.png", "phrase": "it", "boxes": [[0, 1, 5, 6]]},
    ]
    instances = {
        "images": [{"id": 1, "file_name": "a.jpg", "height": 3, "width": 4}],
        "annotations": [{"id": 2, "image_id": 1, "bbox": [0, 0, 2, 2], "segmentation": [[0, 0, 1, 0, 1, 1]]}],
    }
    references = [{"ref_id": 1, "split": "train", "sentences": [{"sent": "a dog"}]}] * 2
    return {
        "a.csv": (table.encode(), read_captions),
        "a.tsv": (table.replace(",", "\t").encode(), read_captions),
        "a.jsonl": ("\n".join(map(json.dumps, lines)).encode(), read_captions),
        "a.xml": (annotation(OBJECTS).encode(), read_annotation),
        "a.json": (json.dumps(instances).encode(), read_instances),
        "a.p": (pickle.dumps(references, protocol=2), read_plain_pickle),
        "b.p": (pickle.dumps(references, protocol=0), read_plain_pickle),
    }


def fuzz(rounds: int, seed: int, folder: Path) -> Counter[str]:
    """Damages and reads files.

    Args:
        rounds: how many; each is one image and one file of annotations.
        seed: of all damage.
        folder: for the files.

    Returns:
        How often reading ended well, in a `DataError`, and in anything else, which is named with its file.
    """
    rng = np.random.default_rng(seed)
    images = image_files()
    annotations = annotation_files()
    ends: Counter[str] = Counter()
    Image.MAX_IMAGE_PIXELS = 100_000  # a damaged header may ask for a gigabyte, which takes its time
    for number in tqdm(range(rounds), leave=False):
        kind = list(images)[number % len(images)]
        content = io.BytesIO(damaged(images[kind], rng))
        ends[end_of(lambda content=content: read_image(content, "image"), kind)] += 1
        name = list(annotations)[number % len(annotations)]
        original, read = annotations[name]
        path = folder / name
        path.write_bytes(damaged(original, rng))
        ends[end_of(lambda read=read, path=path: read(path), name)] += 1
    return ends


def end_of(read: Callable[[], object], name: str) -> str:
    """How reading ends: ``read``, ``refused``, or the name of the file and what escaped."""
    try:
        read()
    except DataError as error:
        return f"{name}: several lines" if "\n" in str(error) else "refused"
    except Exception as error:
        return f"{name}: {type(error).__name__}: {error}"
    return "read"


def main() -> int:
    """Prints how reading ended; returns 1 if anything but a `DataError` escaped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        ends = fuzz(options.rounds, options.seed, Path(folder))
    for end, count in ends.most_common():
        print(f"{count:8,}  {end}")
    return int(bool(ends.keys() - {"read", "refused"}))


if __name__ == "__main__":
    raise SystemExit(main())
