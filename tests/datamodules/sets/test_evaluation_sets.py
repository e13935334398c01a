"""Every set that is judged by something else than boxes: its source gives back what a fake wrote, names what
is broken, and says what is missing.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datamodules.batches import IGNORED, QuestionBatch
from datamodules.catalogue import OTHER_JUDGED
from datamodules.errors import DataError, DatasetNotFoundError
from datamodules.kinds.base import Source
from datamodules.kinds.catalogue import kind_of
from datamodules.sets.cc3m_tagmask import CC3MTagMask, convert
from datamodules.sets.class_names import COCO_STUFF_IDS, COCO_THINGS, in_plain_english
from datamodules.sets.coco_segmentation import COCOInstances, COCOObject
from datamodules.sets.flickr30k_spans import EntitiesSpans, Flickr30kSpans, SpanFile, phrase_spans
from datamodules.sets.pascal_context import PascalContext
from datamodules.sets.retrieval import CaptionRetrieval, COCORetrieval, Flickr30kRetrieval
from datamodules.sets.tag_annotations import parse_tags
from datamodules.sets.voc import PascalVOC, VOCSource
from datamodules.sets.vqa import VQA, answer_weights
from datamodules.storage.label_maps import read_label_map, table, to_labels
from tests.datamodules.feeding import PLAIN
from tests.datamodules.kinds.examples import record_of
from tests.fakes import (
    cc3m_tagmask,
    coco_segmentation,
    flickr30k_spans,
    pascal_context,
    voc,
    write_fake,
)
from tests.fakes.judged import Judged, save_numbers

DATA = Path(__file__).parents[4] / "shared" / "data"

Write = Callable[[Path], Judged]
# Sets in a second form, or read in another way.
VARIANTS: dict[str, tuple[Any, Write]] = {
    "voc20": (PascalVOC, lambda root: voc.write(root, background=False)),
    "context59": (PascalContext, lambda root: pascal_context.write(root, background=False)),
    "context60 as published": (PascalContext, lambda root: pascal_context.write(root, published=True)),
    "context59 as published": (
        PascalContext,
        lambda root: pascal_context.write(root, background=False, published=True),
    ),
    "COCOObject of outlines": (COCOObject, coco_segmentation.write_instances),
    "Flickr30kSpans of what is seen": (
        Flickr30kSpans,
        lambda root: flickr30k_spans.write(root, not_visual=False),
    ),
    "Flickr30kSpans of lines": (Flickr30kSpans, flickr30k_spans.write_lines),
}
SETS: dict[str, tuple[Any, Write]] = {
    kind.__name__: (kind, partial(write_fake, kind)) for kind in OTHER_JUDGED
} | VARIANTS


def read_all(source: Source) -> tuple[dict[str, Any], set[str]]:
    """What can be read, by key, and the keys of what cannot."""
    records: dict[str, Any] = {}
    skipped: set[str] = set()
    for index in range(len(source)):
        assert source.key(index) not in records
        try:
            records[source.key(index)] = record_of(source, index)
        except DataError:
            skipped.update(source.sample_keys(index))
    return records, skipped


@pytest.fixture(params=SETS, ids=str)
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Any, Judged]:
    kind, write = SETS[request.param]
    fake = write(tmp_path / "data")
    return kind(**fake.arguments, cache_dir=tmp_path / "cache"), fake


def test_the_source_gives_what_was_written(opened: tuple[Any, Judged]) -> None:
    data, fake = opened
    source = data.evaluation_source("test")
    records, skipped = read_all(source)
    assert records == fake.records
    assert skipped == fake.skipped
    assert {line.split("\t")[0] for line in source.broken} == fake.broken
    assert all(line.split("\t")[1] for line in source.broken)


def test_its_batches_hold_what_can_be_read(opened: tuple[Any, Judged]) -> None:
    data, fake = opened
    source = data.evaluation_source("test")
    kind = kind_of(source)
    view = kind.view(source, PLAIN)
    batch = kind.collate([view[index] for index in range(len(view))])
    length = len(fake.records)
    if isinstance(batch, QuestionBatch):
        length = sum(len(questions) for _, questions in fake.records.values())
    assert len(batch) == len(set(batch.keys)) == length
    assert {line.split("\t")[0] for line in batch.skipped} == fake.skipped


def test_what_is_missing_is_named(opened: tuple[Any, Judged], tmp_path: Path) -> None:
    data, fake = opened
    for path in fake.needed:
        away = path.rename(tmp_path / "away")
        with pytest.raises(DatasetNotFoundError, match=re.escape(str(path.absolute()))):
            data.evaluation_source("test")
        away.rename(path)
    shutil.rmtree(tmp_path / "data")
    with pytest.raises(DatasetNotFoundError, match=re.escape(str(tmp_path / "data"))):
        data.evaluation_source("test")


def test_only_sets_of_captions_and_questions_train(opened: tuple[Any, Judged]) -> None:
    data, fake = opened
    source = data.training_source()
    if not isinstance(data, (COCORetrieval, Flickr30kRetrieval, VQA)):
        assert source is None
        return
    assert not set(fake.records) & {source.key(index) for index in range(len(source))}
    if isinstance(data, VQA):
        ((text, answers, key),) = source.questions(0)
        assert (text, key) == ("What colour?", "7000")
        assert answers == {"yes": 0.7, "no": 0.2, "maybe": 0.1}
    else:
        assert len(source.captions(0)) == 5


ANNOTATIONS = {
    "PascalVOC": "VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt",
    "PascalContext": "VOC2010/ImageSets/SegmentationContext/val.txt",
    "context60 as published": "VOC2010/labels.txt",
    "COCOObject of outlines": "annotations/instances_val2017.json",
    "Flickr30kSpans": "flickr30k_entities/test.txt",
    "Flickr30kSpans of lines": "test.jsonl.gz",
    "SVOProbes": "svo_probes.csv",
    "FoilCOCO": "foilv1.0_test_2017.json",
    "NUSWide": "Groundtruth/TrainTestLabels/Labels_zebra_Test.txt",
    "COCORetrieval": "dataset_coco.json",
    "Flickr30kRetrieval": "dataset_flickr30k.json",
    "VQA": "v2_mscoco_val2014_annotations.json",
}
DAMAGES = {
    "empty": b"",
    "no text": b"\x1f\x8b\x08\x00cut",
    "no records": b'{"images": [], "annotations": [], "questions": []}',
}


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        (name, damage)
        for name, file in ANNOTATIONS.items()
        for damage in DAMAGES
        if damage != "no records" or file.endswith(".json")
    ],
)
def test_a_damaged_annotation_file_is_named(name: str, damage: str, tmp_path: Path) -> None:
    kind, write = SETS[name]
    data = kind(**write(tmp_path / "data").arguments, cache_dir=tmp_path / "cache")
    path = tmp_path / "data" / ANNOTATIONS[name]
    path.write_bytes(DAMAGES[damage])
    with pytest.raises(DataError, match=re.escape(path.name)):
        data.evaluation_source("test")


@pytest.mark.parametrize("kind", ["palette", np.uint8, np.uint16, np.int32, bool], ids=str)
def test_label_maps_are_read_as_numbers(kind: Any, tmp_path: Path) -> None:
    numbers = np.array([[0, 1, 1], [1, 0, 1]], dtype=np.uint8)
    path = tmp_path / "map.tif"
    if kind == "palette":
        save_numbers(path, numbers, "P")
    else:
        Image.fromarray(numbers.astype(kind)).save(path)
    numbers_read = read_label_map(path)
    assert to_labels(numbers_read, table({0: 7, 1: 3}), path).tolist() == [[7, 3, 3], [3, 7, 3]]
    with pytest.raises(DataError, match="1 is no class number"):
        to_labels(numbers_read, table({0: 7}), path)


def test_numbers_beyond_a_byte_are_no_classes() -> None:
    with pytest.raises(DataError, match="300 is no class number"):
        to_labels(np.array([[0, 300]]), table({0: 0}), Path("map.png"))


def test_class_names_are_those_of_the_labels(tmp_path: Path) -> None:
    root = voc.write(tmp_path / "voc").arguments["root"]
    with_background = VOCSource(root).class_names
    without = VOCSource(root, background=False, plain_english=True).class_names
    assert with_background[:2] == ("background", "aeroplane")
    assert len(with_background) == 21
    assert (without[0], without[-1]) == ("airplane", "tv monitor")
    assert len(without) == 20
    assert in_plain_english(["sofa", "diningtable"]) == ("sofa", "dining table")
    assert (len(COCO_THINGS), COCO_STUFF_IDS[79:81], len(COCO_STUFF_IDS)) == (80, (90, 92), 171)


def test_names_say_which_protocol() -> None:
    assert [PascalVOC(background=background).name for background in (True, False)] == ["voc21", "voc20"]
    assert [PascalContext(background=background).name for background in (True, False)] == [
        "context60",
        "context59",
    ]
    assert [COCORetrieval(fold=fold).name for fold in (None, 3)] == ["coco_retrieval", "coco_retrieval_1k_3"]
    assert (PascalVOC.name, COCORetrieval.name) == ("voc", "coco_retrieval")
    with pytest.raises(DataError, match="fold must be 0 to 4"):
        COCORetrieval(fold=5)


def test_a_part_of_1000_images(tmp_path: Path) -> None:
    class Numbers(CaptionRetrieval):
        def __init__(self) -> None: ...

        def __len__(self) -> int:
            return 2500

        def key(self, index: int) -> str:
            return str(index)

        def captions(self, index: int) -> list[str]:
            return ["a", "b"]

    part = CaptionRetrieval(Numbers(), 1)  # type: ignore[arg-type]
    assert (len(part), part.key(0), part.key(999), part.number_of_queries) == (1000, "1000", "1999", 2000)
    assert len(CaptionRetrieval(Numbers(), 2)) == 500  # type: ignore[arg-type]
    with pytest.raises(DataError, match="none is left"):
        CaptionRetrieval(Numbers(), 3)  # type: ignore[arg-type]


def test_a_word_that_partly_belongs_to_a_phrase_belongs_to_it() -> None:
    assert phrase_spans("(x[/EN#3/people old man])s [/EN#0/notvisual it]") == (
        ["(xold", "man)s", "it"],
        [(0, 2), (2, 3)],
    )
    assert phrase_spans("a [/EN#0/notvisual it]", not_visual=False) == (["a", "it"], [])


def test_answers_weigh_as_often_as_they_were_given() -> None:
    assert answer_weights(["yes"] * 3 + [" yes "] + ["no"] * 5 + [""]) == {"yes": 0.4, "no": 0.5}


@pytest.mark.parametrize("record", cc3m_tagmask.BROKEN, ids=str)
def test_annotations_without_sense(record: Any) -> None:
    with pytest.raises(DataError):
        parse_tags(record)


def test_tags_converted_to_lines_read_the_same(tmp_path: Path) -> None:
    fake = cc3m_tagmask.write(tmp_path / "data")
    target = tmp_path / "data" / "tagmask.jsonl"
    assert convert(tmp_path / "data", target) == 7
    assert set(json.loads(target.read_text().splitlines()[0])) == {
        "image",
        "caption",
        "words",
        "labels",
        "mask",
    }
    with target.open("a") as file:
        file.write('\n{"caption": "a dog", "tags": ["dog"]}\n[]\n')
    source = CC3MTagMask(tmp_path / "data").evaluation_source("test")
    assert read_all(source) == (fake.records, fake.skipped)
    assert [line.split("\t")[0] for line in source.broken] == ["tagmask.jsonl:9", "tagmask.jsonl:10"]


def test_tags_without_masks(tmp_path: Path) -> None:
    fake = cc3m_tagmask.write(tmp_path / "data")
    shutil.rmtree(tmp_path / "data" / "mask_using_HQ-SAM")
    records, skipped = read_all(CC3MTagMask(tmp_path / "data").evaluation_source("test"))
    assert (set(records), skipped) == (set(fake.records) | fake.skipped, set())
    assert all(masks is None for *_, masks in records.values())


@pytest.mark.real_data
@pytest.mark.skipif(not DATA.is_dir(), reason="no ../shared/data")
def test_real_photographs_and_their_masks(tmp_path: Path) -> None:
    sources = {VOCSource(DATA / "voc2012_mini"): 160}
    sources |= {
        COCOInstances(DATA / "coco_mini", subset, tmp_path): images
        for subset, images in (("train2017", 80), ("val2017", 79))
    }
    for source, images in sources.items():
        assert (len(source), list(source.broken)) == (images, [])
        for index in range(0, images, 16):
            labels = source.labels(index)
            assert labels.shape == source.image(index).shape[:2]
            assert 0 < len(set(np.unique(labels)) - {0, IGNORED}) <= len(source.class_names)
            assert labels[labels != IGNORED].max() < len(source.class_names)


@pytest.mark.real_data
@pytest.mark.skipif(not DATA.is_dir(), reason="no ../shared/data")
def test_real_spans() -> None:
    for name, captions, phrases in (("train", 7468, 24217), ("val", 245, 798)):
        source = SpanFile(DATA / "flickr30k_spans" / f"{name}.jsonl.gz")
        assert (len(source), source.number_of_queries, source.broken) == (captions, phrases, [])
    official = EntitiesSpans(DATA / "flickr30k_entities_mini", "test")
    assert (len(official), official.number_of_queries, official.broken) == (765, 2604, [])
