from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from lightning_modules.ttd.losses import (
    LossOptions,
    Maps,
    distill_loss,
    minmax,
    pixel_scores,
    select_tags,
    tag_loss,
    ttd_losses,
    union,
)
from tests.networks.ttd_parity import numbers

REFERENCE = numbers("ttd_losses")
SUM = LossOptions(pixels="sum")


def reference_maps() -> Maps:
    texts = REFERENCE["sim_text"][None].clone().requires_grad_()
    tags = REFERENCE["sim_tags"].clone().requires_grad_()
    return Maps(texts, tags, torch.zeros(5, dtype=torch.long))


def test_equal_to_the_reference_numbers() -> None:
    maps = reference_maps()
    scores = pixel_scores(maps)
    assert_close(scores, REFERENCE["score_pixel"])
    selected = select_tags(scores, maps.image_of_tag)
    assert torch.equal(selected, REFERENCE["selected"])
    targets = minmax(maps).detach()
    assert_close(targets, REFERENCE["norm_tags"])
    assert_close(union(targets, selected, maps.image_of_tag, 1)[0], REFERENCE["union"])
    for name, options in (("sum", SUM), ("mean", LossOptions())):
        assert_close(distill_loss(maps, targets, selected, options), REFERENCE[f"distill_{name}"])
    for name, options in (
        ("sum", SUM),
        ("mean_per_tag_sum", LossOptions()),
        ("mean_all", LossOptions(tags="mean")),
    ):
        assert_close(tag_loss(maps, targets, selected, options), REFERENCE[f"tag_{name}"])


def test_gradients_are_those_of_the_reference() -> None:
    maps = reference_maps()
    losses = ttd_losses(maps, options=SUM)
    losses["loss"].backward()
    assert_close(maps.texts.grad[0], REFERENCE["grad_sim_text_distill_sum"])
    assert_close(maps.tags.grad, REFERENCE["grad_sim_tags_tagloss_sum"])
    assert_close(losses["loss"], losses["tag"] + losses["distill"])
    assert losses["selected"] == REFERENCE["selected"].float().mean()


def batch(images: int, valid: Tensor | None = None) -> Maps:
    generator = torch.Generator().manual_seed(0)
    image_of_tag = torch.tensor([0, 0, 0, 2, 2][: 3 if images == 1 else 5])
    return Maps(
        torch.rand(images, 4, 5, generator=generator, dtype=torch.float64),
        torch.rand(len(image_of_tag), 4, 5, generator=generator, dtype=torch.float64),
        image_of_tag,
        valid,
    )


def part(maps: Maps, image: int, rows: int = 4) -> Maps:
    tags = maps.image_of_tag == image
    return Maps(
        maps.texts[image : image + 1, :rows],
        maps.tags[tags, :rows],
        torch.zeros(int(tags.sum()), dtype=torch.long),
    )


@pytest.mark.parametrize("options", [LossOptions(), SUM, LossOptions(tags="mean", tag_weight=2.0)])
def test_a_batch_is_the_mean_of_its_images_that_have_a_tag(options: LossOptions) -> None:
    maps = batch(images=3)
    whole = ttd_losses(maps, options=options)
    parts = [ttd_losses(part(maps, image), options=options) for image in (0, 2)]
    for name in ("loss", "tag", "distill"):
        assert_close(whole[name], (parts[0][name] + parts[1][name]) / 2)


@pytest.mark.parametrize("options", [LossOptions(), SUM])
def test_padding_does_not_count(options: LossOptions) -> None:
    valid = torch.ones(3, 4, 5, dtype=torch.bool)
    valid[0, 3:] = False
    maps = batch(3, valid)
    maps.tags[:3, 3:] = 9.0
    parts = [ttd_losses(part(maps, 0, rows=3), options=options), ttd_losses(part(maps, 2), options=options)]
    whole = ttd_losses(maps, options=options)
    for name in ("tag", "distill"):
        assert_close(whole[name], (parts[0][name] + parts[1][name]) / 2)


def test_another_teacher_selects_and_sets_the_targets() -> None:
    student = reference_maps()
    teacher = Maps(*(field.detach() for field in student[:2]), student.image_of_tag)
    same = ttd_losses(student, teacher)
    assert_close(same["loss"], ttd_losses(student)["loss"])
    other = teacher._replace(tags=teacher.tags.flip(0))
    assert abs(float(ttd_losses(student, other)["loss"] - same["loss"])) > 1e-3


def test_captions_without_tags_give_no_gradient() -> None:
    texts = torch.rand(2, 4, 5, requires_grad=True)
    maps = Maps(texts, torch.zeros(0, 4, 5), torch.zeros(0, dtype=torch.long))
    losses = ttd_losses(maps)
    losses["loss"].backward()
    assert losses["loss"] == 0
    assert texts.grad.abs().sum() == 0
