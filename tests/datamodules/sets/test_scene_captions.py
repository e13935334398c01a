from __future__ import annotations

import pytest

from datamodules.errors import DataError
from datamodules.sets.scene_captions import SceneCaptions
from datamodules.sets.scenes import Scenes
from datamodules.synthetic.scene_grammar import SHAPE_OF_NOUN
from tests.datamodules.feeding import attach, batches

SIZES = {
    "image_size": 32,
    "train_size": 8,
    "val_size": 0,
    "test_size": 12,
    "num_workers": 0,
    "eval_batch_size": 5,
}


def test_every_span_is_a_phrase_of_its_caption(tmp_path: object) -> None:
    data = attach(SceneCaptions(**SIZES), tmp_path)  # type: ignore[arg-type]
    data.setup("test")
    (loader,) = data.test_dataloader()
    rows = [
        row
        for batch in batches(data, loader)
        for row in zip(batch.words, batch.spans, batch.keys, strict=True)
    ]
    scenes = Scenes(**SIZES).evaluation_source("test")
    assert scenes is not None
    assert len(rows) == 12
    for index, (words, spans, key) in enumerate(rows):
        assert key == scenes.key(index)
        assert " ".join(words) == scenes.captions(index)[0]
        assert [" ".join(words[start:end]) for start, end in spans] == [
            phrase.text for phrase in scenes.phrases(index) if phrase.caption == 0
        ]
        assert all(words[end - 1] in SHAPE_OF_NOUN for _, end in spans)


def test_a_split_without_scenes(tmp_path: object) -> None:
    assert SceneCaptions(**SIZES).evaluation_source("val") is None
    with pytest.raises(DataError, match="has no val split"):
        attach(SceneCaptions(**SIZES), tmp_path).setup("validate")  # type: ignore[arg-type]
