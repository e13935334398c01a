"""A user's folder in every format that is read, and everything that a user's files get wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from datamodules.errors import DataError, DatasetNotFoundError
from datamodules.sets.image_caption_folder import (
    CaptionedFolder,
    ImageCaptionFolder,
    QueriedFolder,
    find_images,
)
from tests.fakes.base import save_image
from tests.fakes.image_caption_folder import (
    CAPTIONS,
    IMAGES,
    by_path,
    write_captions,
    write_images,
    write_queries,
)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    write_images(folder)
    return folder


def read(source: CaptionedFolder) -> dict[str, list[str]]:
    return {source.key(index): source.captions(index) for index in range(len(source))}


@pytest.mark.parametrize("as_list", [True, False])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize(
    "name", ["c.csv", "c.tsv", "c.jsonl", "c.csv.gz", "c.tsv.gz", "c.jsonl.gz", "c.v2.csv"]
)
def test_every_format(name: str, encoding: str, as_list: bool, images: Path, tmp_path: Path) -> None:
    write_captions(tmp_path / name, CAPTIONS, encoding, as_list)
    source = CaptionedFolder(images, tmp_path / name)
    assert read(source) == by_path(CAPTIONS)
    assert source.broken == []
    assert [source.image(index)[12, 16].tolist() for index in range(len(source))] == [
        pytest.approx(colour, abs=5) for colour in IMAGES.values()
    ]


def test_names_without_extension_and_in_subfolders(images: Path) -> None:
    paths = find_images(images)
    assert paths["sub/deep/c"] == paths["sub/deep/c.JPG"] == "sub/deep/c.JPG"
    assert "notes" not in paths
    assert "c" not in paths


def test_other_column_names(images: Path, tmp_path: Path) -> None:
    (tmp_path / "c.tsv").write_text("title\turl\tfilepath\na dog\thttp://x\ta.jpg\n")
    assert read(CaptionedFolder(images, tmp_path / "c.tsv")) == {"a.jpg": ["a dog"]}


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_line_ends_and_quoted_line_breaks(newline: str, images: Path, tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_bytes(
        newline.join(["image,caption", 'a.jpg,"a dog', 'on a sofa"', "sub/b,a cat", ""]).encode()
    )
    assert read(CaptionedFolder(images, tmp_path / "c.csv")) == {
        "a.jpg": ["a dog on a sofa"],
        "sub/b.png": ["a cat"],
    }


BROKEN_ROWS = {
    "a.jpg,one,too many": "too many or too few columns",
    "a.jpg": "too many or too few columns",
    "a.jpg,": "the caption is empty",
    "a.jpg,  ": "the caption is empty",
    "gone.jpg,a ghost": "no image gone.jpg",
    ",a dog": "no image ",
    "a.jpg,Stra\udcdfe": "the caption is not UTF-8",
}
BROKEN_LINES = {
    '{"image": "a.jpg", "caption": 5}': "the caption is no text",
    '{"image": "a.jpg", "captions": ["a", null]}': "the caption is no text",
    '{"image": "a.jpg", "captions": {"en": "a"}}': "the caption is no text",
    '{"image": "a.jpg", "captions": []}': "the caption is empty",
    '{"image": "a.jpg", "caption": null}': "no image or no caption",
    '{"caption": "a dog"}': "no image or no caption",
    '{"image": "a.jpg"}': "no image or no caption",
    '{"image": "gone.jpg", "caption": "a ghost"}': "no image gone.jpg",
    '{"image": "a.jpg", "caption": "half a': "no JSON",
    '["a.jpg", "a dog"]': "no JSON object",
    r'{"image": "a.jpg", "caption": "\ud83d"}': "the caption is not UTF-8",
    '{"image": "a.jpg", "caption": "caf\udce9"}': "the caption is not UTF-8",
}


@pytest.mark.parametrize("row", BROKEN_ROWS)
def test_broken_rows_are_named_and_left_out(row: str, images: Path, tmp_path: Path) -> None:
    text = f"image,caption\na.jpg,a dog\n{row}\nsub/b,a cat\n"
    (tmp_path / "c.csv").write_bytes(text.encode("utf-8", "surrogateescape"))
    source = CaptionedFolder(images, tmp_path / "c.csv")
    assert read(source) == {"a.jpg": ["a dog"], "sub/b.png": ["a cat"]}
    assert source.broken == [f"c.csv:3\t{BROKEN_ROWS[row]}"]


@pytest.mark.parametrize("line", BROKEN_LINES)
def test_broken_lines_are_named_and_left_out(line: str, images: Path, tmp_path: Path) -> None:
    text = '{"image": "a.jpg", "caption": "a dog"}\n\n' + line + '\n{"image": "sub/b", "caption": "a cat"}'
    (tmp_path / "c.jsonl").write_bytes(text.encode("utf-8", "surrogateescape"))
    source = CaptionedFolder(images, tmp_path / "c.jsonl")
    assert read(source) == {"a.jpg": ["a dog"], "sub/b.png": ["a cat"]}
    (named,) = source.broken
    assert named.startswith(f"c.jsonl:3\t{BROKEN_LINES[line]}")


def test_numbers_may_name_images(tmp_path: Path) -> None:
    save_image(tmp_path / "1001.jpg", (9, 9, 9), (4, 4))
    (tmp_path / "c.jsonl").write_text('{"image": 1001, "caption": "a dog"}')
    assert read(CaptionedFolder(tmp_path, tmp_path / "c.jsonl")) == {"1001.jpg": ["a dog"]}


def test_missing_images_may_be_ignored(images: Path, tmp_path: Path) -> None:
    write_captions(tmp_path / "c.csv", {"gone.jpg": ["a ghost"], "a.jpg": ["a dog"]})
    assert CaptionedFolder(images, tmp_path / "c.csv").broken == ["c.csv:2\tno image gone.jpg"]
    ignored = CaptionedFolder(images, tmp_path / "c.csv", ignore_missing=True)
    assert ignored.broken == []
    assert read(ignored) == {"a.jpg": ["a dog"]}


# What ends with one sentence.


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(
        DatasetNotFoundError, match=r"/gone not found; it must hold image files. Set --data.images"
    ):
        find_images(tmp_path / "gone")


def test_no_image_in_the_folder(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DataError, match=r"holds no image .*set --data.images"):
        find_images(tmp_path)


def test_no_caption_file(images: Path, tmp_path: Path) -> None:
    with pytest.raises(
        DatasetNotFoundError, match=r"c.csv not found; it must hold one caption or query a line"
    ):
        CaptionedFolder(images, tmp_path / "c.csv")


@pytest.mark.parametrize("text", ["file,words\na.jpg,a dog\n", "a.jpg,a dog\n", "image\na.jpg\n", ""])
def test_a_header_without_the_columns(text: str, images: Path, tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text(text)
    with pytest.raises(DataError, match="the first line must name the columns image and caption"):
        CaptionedFolder(images, tmp_path / "c.csv")


@pytest.mark.parametrize(("name", "kind"), [("c.xlsx", ".xlsx"), ("c", "a file without suffix")])
def test_another_kind_of_file(name: str, kind: str, images: Path, tmp_path: Path) -> None:
    (tmp_path / name).write_text("x")
    with pytest.raises(DataError, match=f"captions are read from .csv, .tsv or .jsonl files .* not {kind}"):
        CaptionedFolder(images, tmp_path / name)


@pytest.mark.parametrize("keep", [0.5, 0.95])
def test_a_torn_gzip_file(keep: float, images: Path, tmp_path: Path) -> None:
    path = tmp_path / "c.csv.gz"
    write_captions(path, CAPTIONS)
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    with pytest.raises(DataError, match="not readable to its end"):
        CaptionedFolder(images, path)


def test_no_gzip_file(images: Path, tmp_path: Path) -> None:
    (tmp_path / "c.csv.gz").write_text("image,caption\na.jpg,a dog\n")
    with pytest.raises(DataError, match="not readable to its end"):
        CaptionedFolder(images, tmp_path / "c.csv.gz")


def test_captions_of_other_images(images: Path, tmp_path: Path) -> None:
    write_captions(tmp_path / "c.csv", {"gone.jpg": ["a ghost"]})
    with pytest.raises(DataError, match=r"no row names an image below .* \(c.csv:2: no image gone.jpg\)"):
        CaptionedFolder(images, tmp_path / "c.csv")


def test_queries_are_read_and_broken_ones_named(images: Path, tmp_path: Path) -> None:
    written = write_queries(tmp_path / "test.jsonl")
    source = QueriedFolder(images, tmp_path / "test.jsonl")
    queries = {query.key: query for index in range(len(source)) for query in source.queries(index)}
    assert source.number_of_queries == len(queries)
    for key, expected in written.items():
        assert (queries[key].phrase, queries[key].boxes.tolist()) == (expected.phrase, expected.boxes)
    assert len({query.chain for query in queries.values()}) == len(queries)
    reasons = dict(line.split("\t") for line in source.broken)
    assert reasons["test.jsonl:12"].startswith("float() argument must be")
    assert reasons["test.jsonl:14"] == "no phrase"
    assert reasons["test.jsonl:15"] == "no image gone.jpg"
    assert reasons["test.jsonl:19"].startswith("no JSON")


def test_queries_of_a_table(images: Path, tmp_path: Path) -> None:
    rows = [
        "image,phrase,boxes",
        'a.jpg,"a dog, left","[[1, 2, 3, 4], [5, 6, 7, 8]]"',
        "a.jpg,a cat,",
        "a.jpg,x,4",
    ]
    (tmp_path / "q.csv").write_text("\n".join(rows))
    source = QueriedFolder(images, tmp_path / "q.csv")
    first, second = source.queries(0)
    assert (first.phrase, first.boxes.tolist()) == ("a dog, left", [[1, 2, 3, 4], [5, 6, 7, 8]])
    assert (second.phrase, len(second.boxes)) == ("a cat", 0)
    assert [line.split("\t")[0] for line in source.broken] == ["q.csv:4"]


def test_a_table_without_boxes(images: Path, tmp_path: Path) -> None:
    (tmp_path / "q.csv").write_text("image,phrase\na.jpg,a dog\n")
    (query,) = QueriedFolder(images, tmp_path / "q.csv").queries(0)
    assert (query.phrase, query.boxes.shape) == ("a dog", (0, 4))


def test_mentions_of_one_thing_share_a_chain(images: Path, tmp_path: Path) -> None:
    rows = [
        {"image": "a.jpg", "phrase": phrase, "boxes": [[0, 0, 5, 5]], "chain": 7}
        for phrase in ("a dog", "it")
    ]
    (tmp_path / "q.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert {query.chain for query in QueriedFolder(images, tmp_path / "q.jsonl").queries(0)} == {"7"}


def test_a_folder_without_captions_or_queries(images: Path) -> None:
    data = ImageCaptionFolder(images=images)
    assert data.training_source() is None
    assert data.evaluation_source("test") is None


def test_an_image_under_both_of_its_names_is_one(images: Path, tmp_path: Path) -> None:
    write_captions(tmp_path / "c.csv", {"a.jpg": ["a dog"], "a": ["a puppy"]})
    assert read(CaptionedFolder(images, tmp_path / "c.csv")) == {"a.jpg": ["a dog", "a puppy"]}


# Quotes, boxes, links.

ROWS = [("a.jpg", "a dog"), ("sub/b.png", "a cat"), ("ünï.bmp", "a tree"), ("sub/deep/c.JPG", "a ball")]


def write_csv(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(["image,caption", *lines]) + "\n", encoding="utf-8")
    return path


def test_a_quote_that_is_never_closed_ends_with_its_line(images: Path, tmp_path: Path) -> None:
    lines = [f"{image},{caption}" for image, caption in ROWS]
    lines[1] = 'sub/b.png,"a cat'
    source = CaptionedFolder(images, write_csv(tmp_path / "c.csv", lines))
    assert source.names == ["a.jpg", "ünï.bmp", "sub/deep/c.JPG"]
    assert source.broken == ["c.csv:3\ta quote that is not closed in its line"]


@pytest.mark.parametrize("last", ['"a ball"', 'a ball"', '"a ball'])
def test_two_quotes_of_different_rows_do_not_swallow_those_between(
    last: str, images: Path, tmp_path: Path
) -> None:
    lines = ['a.jpg,"a dog', "sub/deep/c.JPG,a cat", "sub/b.png,a tree", f"ünï.bmp,{last}"]
    source = CaptionedFolder(images, write_csv(tmp_path / "c.csv", lines))
    assert len(source) + len(source.broken) == len(lines)
    assert {"sub/deep/c.JPG", "sub/b.png"} <= set(source.names)


def test_a_quoted_caption_may_go_over_several_lines(images: Path, tmp_path: Path) -> None:
    lines = ['a.jpg,"a dog,', "happy, in snow", 'with a ""ball"""', "sub/b.png,a cat"]
    source = CaptionedFolder(images, write_csv(tmp_path / "c.csv", lines))
    assert source.captions(0) == ['a dog, happy, in snow with a "ball"']
    assert (len(source), source.broken) == (2, [])


def test_a_tsv_has_no_quoting(images: Path, tmp_path: Path) -> None:
    (tmp_path / "c.tsv").write_text('image\tcaption\na.jpg\t"a dog\nsub/b\ta "big" cat\n')
    source = CaptionedFolder(images, tmp_path / "c.tsv")
    assert source.texts == [['"a dog'], ['a "big" cat']]


def test_boxes_may_be_shares_of_the_sides(images: Path, tmp_path: Path) -> None:
    row = {"image": "a.jpg", "phrase": "a dog", "boxes": [[0.25, 0.5, 1, 1]]}
    (tmp_path / "q.jsonl").write_text(json.dumps(row))
    with pytest.raises(DataError, match=r"--data\.normalised true"):
        QueriedFolder(images, tmp_path / "q.jsonl")
    [query] = QueriedFolder(images, tmp_path / "q.jsonl", normalised=True).queries(0)
    assert query.boxes.tolist() == [[8, 12, 32, 24]]


def test_a_folder_behind_a_link_is_searched_once(images: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "train").symlink_to(images)
    (tmp_path / "photos" / "again").symlink_to(tmp_path / "photos")
    paths = find_images(tmp_path / "photos")
    assert paths["train/sub/b"] == "train/sub/b.png"
    assert not any(name.startswith("again") for name in paths)
