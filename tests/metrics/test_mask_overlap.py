from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, jaccard_score
from torch import Tensor

from metrics.mask_overlap import CaptionIoU, ReferringIoU


def pairs(count: int = 12) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    made = []
    for number in range(count):
        size = (5 + number % 3, 7)
        made.append((torch.rand(size, generator=generator), torch.rand(size, generator=generator) > 0.6))
    return made


def test_caption_iou_is_over_all_pixels_and_over_images() -> None:
    metric = CaptionIoU(threshold=0.4)
    for mask, region in pairs():
        metric.update(mask, region)
    values = metric.compute()
    truth = torch.cat([region.flatten() for _, region in pairs()])
    predicted = torch.cat([mask.flatten() > 0.4 for mask, _ in pairs()])
    ((_, alarms), (misses, hits)) = confusion_matrix(truth, predicted)
    union = alarms + misses + hits
    assert values["miou"].value == pytest.approx(jaccard_score(truth, predicted))
    assert values["mfpr"].value == pytest.approx(alarms / union)
    assert values["mfnr"].value == pytest.approx(misses / union)
    each = [jaccard_score(region.flatten(), mask.flatten() > 0.4) for mask, region in pairs()]
    assert values["image_miou"].value == pytest.approx(sum(each) / len(each), abs=1e-8)
    for prefix in ("", "image_"):
        total = sum(values[f"{prefix}{name}"].value for name in ("miou", "mfpr", "mfnr"))
        assert total == pytest.approx(1, abs=1e-8)
    assert values["miou"].n == values["image_miou"].n == 12


def test_referring_iou_is_the_mean_and_the_overall_one() -> None:
    metric = ReferringIoU(threshold=0.5)
    for mask, region in pairs():
        metric.update(mask, region)
    values = metric.compute()
    each = [jaccard_score(region.flatten(), mask.flatten() > 0.5) for mask, region in pairs()]
    truth = torch.cat([region.flatten() for _, region in pairs()])
    predicted = torch.cat([mask.flatten() > 0.5 for mask, _ in pairs()])
    assert values["miou"].value == pytest.approx(sum(each) / len(each), abs=1e-8)
    assert values["oiou"].value == pytest.approx(jaccard_score(truth, predicted))


def test_empty_masks_and_regions() -> None:
    empty = torch.zeros(2, 2)
    referring = ReferringIoU()
    caption = CaptionIoU()
    referring.update(empty, empty.bool())
    caption.update(empty, empty.bool())
    assert referring.compute()["miou"].value == 0
    assert math.isnan(referring.compute()["oiou"].value)
    assert caption.compute()["image_miou"].n == 0
    assert math.isnan(caption.compute()["miou"].value)


def test_a_coarse_mask_is_resized_to_its_region() -> None:
    metric = CaptionIoU(0.5)
    region = torch.zeros(8, 8, dtype=torch.bool)
    region[:, :4] = True
    metric.update(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), region)
    assert metric.compute()["miou"].value == 1


def test_signs_of_collapse_are_the_masks_share_and_how_alike_the_masks_of_tags_are() -> None:
    generator = torch.Generator().manual_seed(0)
    everywhere = torch.ones(1, 4, 6)
    metric = CaptionIoU(threshold=0.4)
    shares = []
    correlations = []
    for mask, region in pairs():
        tags = torch.rand(3, 4, 6, generator=generator)
        metric.update(mask, region, torch.cat([tags, everywhere]))
        shares.append(float((mask > 0.4).float().mean()))
        pairwise = np.corrcoef(tags.flatten(1).numpy())
        correlations.append(pairwise[np.triu_indices(3, 1)].mean())
    metric.update(*pairs(1)[0], everywhere)  # one mask, and it is flat: nothing to compare
    shares.append(shares[0])
    values = metric.compute()
    assert values["mask_share"].value == pytest.approx(np.mean(shares), abs=1e-6)
    assert values["tag_correlation"].value == pytest.approx(np.mean(correlations), abs=1e-6)
    assert values["tag_correlation"].n == 12


def test_tags_that_were_not_compared_have_no_correlation() -> None:
    metric = CaptionIoU()
    metric.update(*pairs(1)[0])
    assert "tag_correlation" not in metric.compute()
