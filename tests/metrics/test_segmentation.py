from __future__ import annotations

import math

import pytest
import torch
from sklearn.metrics import jaccard_score
from torch import Tensor
from torchmetrics.classification import MulticlassJaccardIndex

from metrics.segmentation import OneClassIoU, SegmentationIoU, label_pixels

NAMES = ("background", "cat", "dog", "cow")


def images(background: bool) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    made = []
    for number in range(5):
        size = (6, 5 + number)
        masks = torch.rand(3 if background else 4, *size, generator=generator)
        labels = torch.randint(4, size, generator=generator, dtype=torch.uint8)
        labels[0] = 255
        made.append((masks, labels))
    return made


@pytest.mark.parametrize("background", [True, False])
def test_it_is_the_mean_iou_of_torchmetrics_and_sklearn(background: bool) -> None:
    names = NAMES if background else (*NAMES[1:], "sky")
    metric = SegmentationIoU(names, threshold=0.6)
    reference = MulticlassJaccardIndex(4, ignore_index=255)
    all_predicted = []
    all_labels = []
    for masks, labels in images(background):
        metric.update(masks, labels)
        candidates = torch.cat([torch.full_like(masks[:1], 0.6), masks]) if background else masks
        predicted = candidates.argmax(dim=0)
        reference.update(predicted, labels.long())
        all_predicted.append(predicted[labels != 255])
        all_labels.append(labels[labels != 255])
    values = metric.compute()
    predicted = torch.cat(all_predicted)
    labels = torch.cat(all_labels)
    assert values["miou"].value == pytest.approx(float(reference.compute()), abs=1e-6)
    assert values["miou"].value == pytest.approx(jaccard_score(labels, predicted, average="macro"))
    assert values["pixel_accuracy"].value == pytest.approx(float((labels == predicted).double().mean()))
    assert values["miou"].value + values["mfpr"].value + values["mfnr"].value == pytest.approx(1)
    assert values["miou"].n == 5


def test_a_class_that_is_nowhere_does_not_count() -> None:
    metric = SegmentationIoU(NAMES, 0.5)
    masks = torch.zeros(3, 1, 2)
    masks[0, 0, 0] = 1  # cat, then background
    metric.update(masks, torch.tensor([[1, 0]], dtype=torch.uint8))
    assert metric.compute()["miou"].value == 1


def test_a_tie_with_the_threshold_is_background() -> None:
    assert label_pixels(torch.full((2, 1, 1), 0.5), 0.5).item() == 0


def test_the_best_class_everywhere() -> None:
    baseline = OneClassIoU(NAMES)
    labels = torch.tensor([[2, 2, 2, 1, 0, 255]], dtype=torch.uint8)
    baseline.update(torch.zeros(3, 1, 6), labels)
    everywhere = SegmentationIoU(NAMES, 0.5)
    dogs = torch.zeros(3, 1, 6)
    dogs[1] = 1
    everywhere.update(dogs, labels)
    for name in ("miou", "mfpr", "mfnr", "pixel_accuracy"):
        assert baseline.compute()[name].value == pytest.approx(everywhere.compute()[name].value)
    assert baseline.compute()["miou"].value == pytest.approx(0.6 / 3)


def test_nothing_judged_is_nan() -> None:
    for metric in (SegmentationIoU(NAMES), OneClassIoU(NAMES)):
        assert all(math.isnan(estimate.value) for estimate in metric.compute().values())
