"""Evaluation of tags, captions' regions and classes of pixels through a trainer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from callbacks.evaluations.labels import LabelEvaluation
from callbacks.evaluations.segmentation import CaptionEvaluation, SegmentationEvaluation
from callbacks.evaluations.tags import TagEvaluation
from datamodules.batches import Preprocessing
from datamodules.kinds.labels import LabelSource
from datamodules.kinds.segmentation import SegmentationSource
from datamodules.kinds.tags import TagSource
from lightning_modules.base import WeakgroundModule
from lightning_modules.capabilities import ScoredWords
from lightning_modules.errors import ModelError
from lightning_modules.optimisation import Optimisation
from tests.callbacks.judging import Data, judge

SIDE = 8
COLOURS = {"red": 0, "green": 1, "blue": 2}
CAPTIONS = ["a red and green thing", "the blue", "nothing at all"]


def picture(caption: str) -> np.ndarray:
    """A column for each word: in its colour, or black."""
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    for column, word in enumerate(caption.split()):
        if word in COLOURS:
            image[:, column, COLOURS[word]] = 255
    return image


class Drawn:
    """A picture of each caption."""

    def __len__(self) -> int:
        return len(CAPTIONS)

    def key(self, index: int) -> str:
        return f"{index}.png"

    def image(self, index: int) -> np.ndarray:
        return picture(CAPTIONS[index])


class Captions(Drawn, TagSource):
    regions = True

    def words(self, index: int) -> list[str]:
        return CAPTIONS[index].split()

    def tags(self, index: int) -> list[bool]:
        return [word in COLOURS for word in self.words(index)]

    def masks(self, index: int) -> np.ndarray | None:
        if not self.regions:
            return None
        columns = [column for column, is_tag in enumerate(self.tags(index)) if is_tag]
        masks = np.zeros((len(columns), SIDE, SIDE), bool)
        for mask, column in zip(masks, columns, strict=True):
            mask[:, column] = True
        return masks


class Labels(Drawn, SegmentationSource):
    class_names = ("background", "red", "green", "blue")

    def labels(self, index: int) -> np.ndarray:
        image = self.image(index)
        labels = np.where(image.any(-1), image.argmax(-1) + 1, 0).astype(np.uint8)
        labels[0] = 255
        return labels


class Module(WeakgroundModule):
    """Sees colours, and holds every second word of a caption for a tag."""

    def __init__(self, strength: float = 1.0) -> None:
        super().__init__(Optimisation(), None)
        self.network = torch.nn.Linear(1, 1)
        self.preprocessing = Preprocessing(SIDE, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
        self.strength = strength

    def segment(
        self, images: Tensor, texts: list[str], are_class_names: bool = True, refine: Any = None
    ) -> Tensor:
        maps = []
        for text in texts:
            assert not are_class_names or text in COLOURS
            channels = [COLOURS[word] for word in text.split() if word in COLOURS]
            maps.append(images[:, channels].sum(dim=1) if channels else torch.zeros_like(images[:, 0]))
        return self.strength * torch.stack(maps, dim=1)

    def score_tags(self, images: Tensor, captions: list[list[str]], kinds: Any) -> dict[str, Any]:
        scored = []
        for words in captions:
            selected = torch.tensor([word in ("red", "green", "thing") for word in words])
            scores = torch.arange(len(words), 0, -1).float()
            scored.append(ScoredWords(scores.masked_fill(~selected, -torch.inf), selected))
        return {kind: scored for kind in kinds}


def results(root: Path) -> dict[tuple[str, str, str], float]:
    content = json.loads((root / "test" / "metrics.json").read_text())
    return {
        (result["protocol"], result["method"], result["metric"]): result["value"]
        for result in content["results"]
    }


@pytest.mark.filterwarnings("ignore")
def test_tags_are_judged_over_all_words(tmp_path: Path) -> None:
    logged = judge(tmp_path, Data(captions=Captions()), Module(), TagEvaluation(("pixel", "text")))
    # 10 words: red and green are found, blue is not, thing is none.
    assert logged["test/captions/pixel/precision"] == pytest.approx(2 / 3)
    assert logged["test/captions/text/recall"] == pytest.approx(2 / 3)
    assert logged["test/captions/pixel/accuracy"] == pytest.approx(8 / 10)
    assert logged["test/captions/pixel/map"] == pytest.approx((1 + 1 / 2) / 2)
    values = results(tmp_path)
    assert values["pixel", "all words", "precision"] == pytest.approx(3 / 10)
    assert values["pixel", "all words", "recall"] == 1
    assert 0 < values["pixel", "random", "map"] <= 1
    assert ("text", "random", "map") not in values


@pytest.mark.filterwarnings("ignore")
def test_baselines_do_not_depend_on_the_batches(tmp_path: Path) -> None:
    values = []
    for size in (1, 3):
        data = Data(captions=Captions())
        data.eval_batch_size = size
        judge(tmp_path / str(size), data, Module(), TagEvaluation(), CaptionEvaluation())
        values.append(results(tmp_path / str(size)))
    assert values[0] == values[1]


@pytest.mark.filterwarnings("ignore")
def test_captions_are_judged_by_the_regions_of_their_tags(tmp_path: Path) -> None:
    changes = {"window": 4, "stride": 2}
    evaluation = CaptionEvaluation(("plain", "ttd_ms"), {"captions": 0.5}, changes)
    logged = judge(tmp_path, Data(captions=Captions()), Module(), evaluation)
    assert logged["test/captions/plain*/miou"] == 1
    assert logged["test/captions/plain*/image_mfpr"] == 0
    assert logged["test/captions/plain*/mask_share"] == pytest.approx((2 / 8 + 1 / 8) / 2)
    assert logged["test/captions/plain*/tag_correlation"] == pytest.approx(-1 / 7, abs=1e-6)
    values = results(tmp_path)
    # Two columns of eight and one of eight; the caption without tags is left out.
    assert values["plain*", "everything", "miou"] == pytest.approx(3 / 16)
    assert values["ttd_ms*", "everything", "image_miou"] == pytest.approx((2 / 8 + 1 / 8) / 2)
    assert logged["test/captions/ttd_ms*/miou"] > 3 / 16


@pytest.mark.filterwarnings("ignore")
def test_sets_without_regions_are_passed_over(tmp_path: Path) -> None:
    source = Captions()
    source.regions = False
    logged = judge(tmp_path, Data(captions=source), Module(), CaptionEvaluation())
    assert np.isnan(logged["test/captions/plain/miou"])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("strength", [1.0, 0.3])
def test_classes_of_pixels(tmp_path: Path, strength: float) -> None:
    logged = judge(tmp_path, Data(labels=Labels()), Module(strength), SegmentationEvaluation())
    background = 3 * 7 * SIDE - 3 * 7
    share = background / (3 * 7 * SIDE)
    # Too weak a mask leaves all to the background.
    expected = 1.0 if strength == 1 else share / 4
    assert logged["test/labels/plain/miou"] == pytest.approx(expected)
    assert results(tmp_path)["plain", "one class", "miou"] == pytest.approx(share / 4, abs=1e-6)


def test_a_module_that_cannot_is_refused(tmp_path: Path) -> None:
    class Other(WeakgroundModule):
        def __init__(self) -> None:
            super().__init__(Optimisation(), None)
            self.network = torch.nn.Linear(1, 1)
            self.preprocessing = Preprocessing(4, (0.0,) * 3, (1.0,) * 3)

    for evaluation, needed in (
        (TagEvaluation(), "score_tags"),
        (CaptionEvaluation(), "segment"),
        (SegmentationEvaluation(), "segment"),
    ):
        with pytest.raises(ModelError, match=needed):
            judge(tmp_path, Data(captions=Captions()), Other(), evaluation)


class Colours(Drawn, LabelSource):
    class_names = ("red", "green", "blue")

    def labels(self, index: int) -> np.ndarray:
        return self.image(index).any((0, 1))


@pytest.mark.filterwarnings("ignore")
def test_labels_rank_images_by_the_highest_value_of_a_mask(tmp_path: Path) -> None:
    logged = judge(tmp_path, Data(colours=Colours()), Module(), LabelEvaluation())
    assert logged["test/colours/plain/map"] == 1
    other_way_round = judge(tmp_path, Data(colours=Colours()), Module(strength=-1.0), LabelEvaluation())
    assert other_way_round["test/colours/plain/map"] < 1
    assert 0 < results(tmp_path)["plain", "random", "map"] <= 1


class TwoColours(Colours):
    class_names = ("blue", "red")

    def labels(self, index: int) -> np.ndarray:
        return super().labels(index)[[2, 0]]


@pytest.mark.filterwarnings("ignore")
def test_sets_of_other_classes_are_judged_beside_each_other(tmp_path: Path) -> None:
    logged = judge(tmp_path, Data(two=TwoColours(), three=Colours()), Module(), LabelEvaluation())
    assert logged["test/two/plain/map"] == 1
    assert logged["test/three/plain/map"] == 1
