from __future__ import annotations

import hashlib
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datamodules.base import Split
from datamodules.errors import DataError, DatasetNotFoundError
from datamodules.sets.multi_mnist import CELL, WORDS, Drawing, MultiMNIST, draw_picture
from datamodules.synthetic.digit_glyphs import embedded_glyphs, mnist_glyphs
from tests.conftest import REAL_DATA
from tests.datamodules.feeding import attach
from tests.fakes.file_server import files_below, running_server
from tests.fakes.multi_mnist import glyphs, write_idx, write_mnist

CLEAN = Drawing(noise=0.0)


def overlaps(boxes: np.ndarray) -> list[float]:
    ious = []
    for n, (ax0, ay0, ax1, ay1) in enumerate(boxes.tolist()):
        for bx0, by0, bx1, by1 in boxes[:n].tolist():
            intersection = max(0, min(ax1, bx1) - max(ax0, bx0)) * max(0, min(ay1, by1) - max(ay0, by0))
            ious.append(intersection / ((ax1 - ax0) * (ay1 - ay0) + (bx1 - bx0) * (by1 - by0) - intersection))
    return ious


def test_boxes_are_tight_around_ink() -> None:
    """A single digit without noise: its box is that of all pixels that are not black."""
    bank = embedded_glyphs("test")
    for index in range(40):
        picture = draw_picture(bank, Drawing(noise=0.0, digits=(1, 1)), (0, index))
        ys, xs = np.nonzero(picture.image)
        assert picture.boxes.tolist() == [[xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]]


def test_digits_overlap_no_more_than_allowed() -> None:
    bank = embedded_glyphs("train")
    pictures = [draw_picture(bank, Drawing(noise=0.0, overlap=0.3), (0, index)) for index in range(150)]
    ious = [iou for picture in pictures for iou in overlaps(picture.boxes)]
    assert max(ious) <= 0.3
    assert max(ious) > 0.1
    assert {len(picture.labels) for picture in pictures} == {1, 2, 3, 4}
    apart = [draw_picture(bank, Drawing(noise=0.0, overlap=0.0), (0, index)) for index in range(60)]
    crowded = [iou for picture in apart for iou in overlaps(picture.boxes) if iou > 0]
    assert len(crowded) <= 12  # four digits do not always find a place of their own


@pytest.mark.parametrize("grid", [2, 3])
def test_a_grid_has_a_digit_in_each_cell(grid: int) -> None:
    for index in range(20):
        picture = draw_picture(embedded_glyphs("test"), CLEAN, (0, index), grid)
        assert picture.image.shape == (grid * CELL, grid * CELL)
        cells = picture.boxes[:, :2] // CELL
        assert cells[:, ::-1].tolist() == [[row, column] for row in range(grid) for column in range(grid)]
        assert ((picture.boxes[:, 2:] - 1) // CELL == cells).all()


def test_noise_changes_pixels_and_nothing_else() -> None:
    bank = embedded_glyphs("train")
    quiet, noisy = (draw_picture(bank, Drawing(noise=noise), (3, 1)) for noise in (0.0, 0.2))
    assert quiet.boxes.tolist() == noisy.boxes.tolist()
    assert quiet.labels.tolist() == noisy.labels.tolist()
    assert 0 < np.abs(quiet.image.astype(float) - noisy.image)[quiet.image == 0].std() < 0.2 * 255


def test_a_picture_is_what_its_name_says(tmp_path: Path) -> None:
    data = MultiMNIST(train_size=4, test_size=4, val_size=4)
    sources = {split: data.source(split) for split in ("train", "val", "test")}  # type: ignore[arg-type]
    images = {
        split: [source.image(index).tobytes() for index in range(4)] for split, source in sources.items()
    }
    assert len({image for images_of_split in images.values() for image in images_of_split}) == 12
    again = pickle.loads(pickle.dumps(sources["train"]))  # as a worker process gets it
    assert [again.image(index).tobytes() for index in (3, 0)] == [images["train"][3], images["train"][0]]
    assert MultiMNIST(train_size=4, drawing_seed=1).source("train").image(0).tobytes() != images["train"][0]


def test_captions_phrases_and_queries_name_the_same_digits() -> None:
    source = MultiMNIST(test_size=60).source("test", absent=2)
    several = 0
    for index in range(60):
        picture = source.picture(index)
        queries = source.queries(index)
        names = [WORDS[label] for label in picture.labels]
        first, second = source.captions(index)
        assert first == " and ".join(f"a {name}" for name in names)
        assert second == " and ".join(f"a {name}" for name in reversed(names))
        for phrase, name in zip(source.phrases(index), names, strict=True):
            assert (phrase.text, phrase.subject) == (f"a {name}", name)
            assert " ".join(first.split()[phrase.start : phrase.end]) == phrase.text
        present = [query for query in queries if len(query.boxes)]
        absent = [query for query in queries if not len(query.boxes)]
        assert {query.phrase for query in present} == set(names)
        assert sum(len(query.boxes) for query in present) == len(names)
        assert len({query.phrase for query in absent} - set(names)) == 2
        assert len({query.key for query in queries}) == len(queries)
        assert all(query.fault(64, 64) is None for query in queries)
        several += any(len(query.boxes) > 1 for query in present)
    assert several >= 3


def test_grids_keep_their_size_if_asked(tmp_path: Path) -> None:
    for keep, side in ((False, 8), (True, 96)):
        data = attach(MultiMNIST(test_size=2, grids=(3,), keep_size=keep, num_workers=0), tmp_path)
        data.setup("test")
        assert [judged.name for judged in data.judged_sets()] == ["multi_mnist", "grid_3x3"]
        (batch,) = [data.on_after_batch_transfer(batch, 1) for batch in data.test_dataloader()[1]]
        assert batch.images.shape == (2, 3, side, side)
        assert batch.sizes.tolist() == [[96, 96], [96, 96]]


# The digits.


def test_embedded_writers_are_apart() -> None:
    """No digit of one split is in another, nor nearly so."""
    banks = [embedded_glyphs(split) for split in ("train", "val", "test")]  # type: ignore[arg-type]
    assert [len(bank.labels) > 100 for bank in banks] == [True] * 3
    rows = [{image.tobytes() for image in bank.images} for bank in banks]
    assert not rows[0] & rows[1]
    assert not rows[0] & rows[2]
    assert not rows[1] & rows[2]
    for bank in banks:
        assert set(bank.labels.tolist()) == set(range(10))
        assert bank.images.shape[1:] == (28, 28)
        assert bank.images.max() == 255
        assert not bank.images[:, :4].any()


@pytest.mark.parametrize("folder", ["", "MNIST/raw", "raw"])
@pytest.mark.parametrize("compressed", [True, False])
def test_mnist_is_read_from_where_it_lies(folder: str, compressed: bool, tmp_path: Path) -> None:
    write_mnist(tmp_path / folder, compressed)
    images, labels = glyphs(60, 0)
    banks = [mnist_glyphs(tmp_path, split) for split in ("train", "val")]  # type: ignore[arg-type]
    assert np.array_equal(np.concatenate([bank.images for bank in banks]), images)
    assert np.concatenate([bank.labels for bank in banks]).tolist() == labels.tolist()
    assert len(banks[1].labels) == 10
    assert np.array_equal(mnist_glyphs(tmp_path, "test").images, glyphs(20, 1)[0])


def test_missing_and_damaged_files(tmp_path: Path) -> None:
    with pytest.raises(
        DatasetNotFoundError,
        match=r"train-images-idx3-ubyte\.gz not found; .+`python cli\.py prepare MultiMNIST .+scikit-learn",
    ):
        MultiMNIST(root=tmp_path).training_source()
    write_mnist(tmp_path)
    path = tmp_path / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte.gz is damaged .+; fetch it again"):
        MultiMNIST(root=tmp_path).evaluation_source("test")
    path.unlink()
    write_idx(tmp_path / "t10k-images-idx3-ubyte", np.zeros((3, 5, 5)), compressed=False)
    with pytest.raises(DataError, match="are not MNIST"):
        MultiMNIST(root=tmp_path).evaluation_source("test")


def test_mnist_is_fetched_only_if_asked_for_and_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_mnist(tmp_path / "server")
    with running_server() as server:
        parts = []
        for part in MultiMNIST.layout.parts:
            content = (tmp_path / "server" / part.path).read_bytes()
            server.files[f"/{part.path}"] = content
            checksum = f"sha256:{hashlib.sha256(content).hexdigest()}"
            url = server.url(f"/{part.path}")
            parts.append(replace(part, url=url, checksum=checksum, size=len(content)))
        monkeypatch.setattr(MultiMNIST, "layout", replace(MultiMNIST.layout, parts=tuple(parts)))
        root = tmp_path / "mnist"
        with pytest.raises(DatasetNotFoundError):
            MultiMNIST(root=root).training_source()
        assert server.ranges_asked == []
        assert len(MultiMNIST(root=root, download=True, train_size=3).training_source()) == 3
        assert files_below(root) == sorted(part.path for part in parts)
        assert len(MultiMNIST(root=root, download=True).evaluation_source("test")) == 2_000
        assert len(server.ranges_asked) == 4  # nothing comes twice
        server.files["/train-labels-idx1-ubyte.gz"] += b"?"
        (root / "train-labels-idx1-ubyte.gz").unlink()
        with pytest.raises(DataError, match="instead of"):
            MultiMNIST(root=root, download=True).training_source()
        assert "train-labels-idx1-ubyte.gz" not in files_below(root)


@pytest.mark.parametrize(
    "wrong", [{"digits": (0, 4)}, {"digits": (3, 2)}, {"canvas": 20}, {"scale": (0.8, 2.0)}]
)
def test_drawings_that_cannot_be_made(wrong: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="needs 1 <= "):
        MultiMNIST(drawing=Drawing(**wrong))


@pytest.mark.real_data
def test_the_published_files() -> None:
    splits: list[Split] = ["train", "val", "test"]
    banks = [mnist_glyphs(REAL_DATA / "mnist", split) for split in splits]
    assert [len(bank.labels) for bank in banks] == [55_000, 5_000, 10_000]
    assert banks[2].labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert banks[0].labels[:5].tolist() == [5, 0, 4, 1, 9]
