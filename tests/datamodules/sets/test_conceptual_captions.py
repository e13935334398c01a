"""Conceptual Captions in its three layouts: what can be read is read, and what cannot is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from datamodules.errors import DataError, DatasetNotFoundError
from datamodules.sets.conceptual_captions import ConceptualCaptions, find_shards, image_names, missing_numbers
from tests.datamodules.feeding import attach, batches
from tests.fakes.conceptual_captions import _list, cut, record, write, write_shard


def source_of(root: Path, **options: Any) -> Any:
    return ConceptualCaptions(root, cache_dir=root / "cache", **options).training_source()


def read(source: Any) -> dict[str, list[str]]:
    return {source.key(index): source.captions(index) for index in range(len(source))}


def names(lines: list[str]) -> set[str]:
    return {line.split("\t")[0] for line in lines}


@pytest.mark.parametrize("layout", ["img2dataset", "mirror", "list"])
def test_every_layout(layout: str, tmp_path: Path) -> None:
    fake = write(tmp_path, layout)
    source = source_of(tmp_path)
    unreadable = set()
    for index in range(len(source)):
        try:
            assert source.image(index).shape == (12, 16, 3)
        except DataError:
            unreadable.add(source.key(index))
    assert fake.captions is not None
    assert {key: texts for key, texts in read(source).items() if key not in unreadable} == fake.captions
    assert names(source.broken) | unreadable == fake.skipped["train"]
    assert len(source.broken) + len(unreadable) == len(fake.skipped["train"])


@pytest.mark.parametrize("layout", ["img2dataset", "mirror", "list"])
def test_training_names_what_it_skips(layout: str, tmp_path: Path) -> None:
    fake = write(tmp_path / "data", layout)
    data = attach(
        ConceptualCaptions(
            **fake.arguments, batch_size=1, num_workers=0, max_skipped=1.0, cache_dir=tmp_path
        ),
        tmp_path,
        stage="fit",
    )
    data.setup("fit")
    seen = {key for batch in batches(data, data.train_dataloader()) for key in batch.keys}
    assert fake.captions is not None
    assert seen == set(fake.captions)
    assert names((tmp_path / "skipped-train-rank0.tsv").read_text().splitlines()) == fake.skipped["train"]


def test_reasons(tmp_path: Path) -> None:
    write(tmp_path)
    reasons = dict(line.split("\t") for line in source_of(tmp_path).broken)
    assert reasons["00000.tar/000000003"] == "no caption"
    assert (
        reasons["00000.tar/000000004"] == "img2dataset says failed_to_download: HTTP Error 404: Not Found ?"
    )
    assert reasons["00000.tar/000000005"] == "no image"
    assert reasons["00000.tar/000000009"] == "the caption is not UTF-8"
    assert reasons["00000.tar/000000010"] == "several members of one kind"
    assert reasons["00000.tar/000000011"] == "a text of 2,097,152 bytes"
    assert (
        reasons["00000.tar/lost-0"]
        == "the rest of the shard is lost: 12 records, not the 13 that its writer counted"
    )
    assert reasons["00001.tar/lost-0"] == "the rest of the shard is lost: '000010002.jpg' has no end"


def test_pickles_links_and_odd_names_are_left_alone(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    write(tmp_path)
    source = source_of(tmp_path)
    assert source.ignored == {".pickle": 1, ".pyd": 1, ".seg.png": 1, "links and devices": 3, "odd names": 5}
    assert (
        "members that are no image, txt or json were left alone: 5 odd names, 3 links and devices, 1 ."
        in str(recwarn.pop(UserWarning).message)
    )
    assert not (tmp_path / "bang").exists()


def test_a_torn_image_is_named_by_its_record(tmp_path: Path) -> None:
    write(tmp_path)
    source = source_of(tmp_path)
    torn = next(index for index in range(len(source)) if source.captions(index) == ["a torn image"])
    with pytest.raises(DataError, match=r"00000.tar/000000002: not readable as an image \(OSError"):
        source.image(torn)


@pytest.mark.parametrize("naming", ["row", "crc", "row_crc"])
def test_images_of_a_list_under_every_naming(naming: str, tmp_path: Path) -> None:
    fake = _list(tmp_path, naming)
    assert fake.captions is not None
    captions = read(source_of(tmp_path))
    assert {key: texts for key, texts in captions.items() if texts != ["torn"]} == fake.captions
    assert any(texts == ["a dog .", "the same dog"] for texts in captions.values()) is (naming == "crc")


def test_a_small_checksum_is_no_row(tmp_path: Path) -> None:
    """Among files that are named by checksums, one that is named 1 belongs to no row 1."""
    _list(tmp_path, "crc")
    (tmp_path / "training" / "1.jpg").write_bytes(b"")
    assert ["a ghost"] not in read(source_of(tmp_path)).values()


def test_the_list_of_cc12m_has_its_columns_the_other_way_round(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "cc12m.tsv").write_text("http://a\ta dog\nhttp://b\ta cat\n")
    (tmp_path / "images" / image_names(1, "http://b")[0]).write_bytes(b"")
    assert list(read(source_of(tmp_path, subset="cc12m")).values()) == [["a cat"]]


def test_a_list_without_images(tmp_path: Path) -> None:
    (tmp_path / "training").mkdir()
    (tmp_path / "Train_GCC-training.tsv").write_text("a dog\thttp://a\n")
    with pytest.raises(DataError, match=r"no row has an image in .*training, named by its row or the CRC-32"):
        source_of(tmp_path)


def test_shards_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for name in (
        "100000.tar",
        "00002.tar",
        "00000.tar",
        "notes.tar",
        "cc3m-train-0000.tar",
        "cc12m-train-0000.tar",
    ):
        (tmp_path / name).touch()
    (tmp_path / "00001.tar").symlink_to("gone.tar")
    shards = find_shards(tmp_path, "gcc3m")
    assert [path.name for path in shards] == ["00000.tar", "00002.tar", "100000.tar"]
    assert missing_numbers(shards[:2]) == [1]
    assert missing_numbers(shards)[:3] == [1, 3, 4]
    for path in [*shards, tmp_path / "00001.tar"]:
        path.unlink()
    assert [path.name for path in find_shards(tmp_path, "cc12m")] == ["cc12m-train-0000.tar"]


def test_shards_in_a_folder_train_and_a_gap(tmp_path: Path) -> None:
    for number in (0, 3):
        write_shard(tmp_path / "train" / f"{number:05d}.tar", record("0", f"shard {number}"))
    with pytest.warns(
        UserWarning, match=r"gcc3m: 2 shards are missing from .*train, by their numbers: 1, 2\."
    ):
        source = source_of(tmp_path)
    assert read(source) == {"00000.tar/0": ["shard 0"], "00003.tar/0": ["shard 3"]}


def test_a_broken_shard_stops_the_run(tmp_path: Path) -> None:
    for number in range(5):
        write_shard(
            tmp_path / f"{number:05d}.tar", [m for n in range(20) for m in record(f"{n}", f"caption {n}")]
        )
    cut(tmp_path / "00004.tar", 0.5)
    data = attach(
        ConceptualCaptions(tmp_path, batch_size=1, num_workers=0, cache_dir=tmp_path),
        tmp_path / "run",
        stage="fit",
    )
    with pytest.raises(
        DataError,
        match=r"9 of 100 records could not be read, more than max_skipped=0\.10%; "
        r"they are named in .*skipped-train-rank0\.tsv",
    ):
        data.setup("fit")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"splits": []}',
        '{"splits": {"train": 5}}',
        '{"splits": {"train": {"filenames": 1, "shard_lengths": [5]}}}',
    ],
)
def test_counts_of_another_kind_are_no_counts(content: str, tmp_path: Path) -> None:
    write(tmp_path, "mirror")
    (tmp_path / "_info.json").write_text(content)
    source = source_of(tmp_path)
    assert (len(source), source.broken) == (6, [])


# What ends with one sentence.


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(
        DatasetNotFoundError,
        match=r"cc12m not found; it must hold cc12m-train-\*\.tar.*pixparse/cc12m-wds.*set --data\.root",
    ):
        source_of(tmp_path / "cc12m", subset="cc12m")


def test_defaults_and_wrong_values() -> None:
    assert ConceptualCaptions(subset="cc12m").root == Path("data/cc12m")
    assert ConceptualCaptions().max_skipped == 0.001
    with pytest.raises(DataError, match="subset is gcc3m or cc12m"):
        ConceptualCaptions(subset="cc15m")  # type: ignore[arg-type]


def test_shards_without_a_pair(tmp_path: Path) -> None:
    write_shard(tmp_path / "00000.tar", [("a.jpg", b"")])
    with pytest.raises(
        DataError, match=r"none of 1 shards holds an image with a caption \(00000.tar/a\tno caption\)"
    ):
        source_of(tmp_path)
