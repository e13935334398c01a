from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.testing import assert_close

from networks.layers.compact_bilinear import signed_sqrt_l2
from networks.mcb_attention import (
    AttentionOptions,
    DenseResNet,
    DigitClassifier,
    MCBNetwork,
    ResNetSize,
    pool,
)

TINY = ResNetSize(width=4, blocks=(1, 1), strides=(1, 1))


def network(post_norm: Any = "none") -> MCBNetwork:
    torch.manual_seed(0)
    attention = AttentionOptions(text_width=6, sketch=31, hidden=7, post_norm=post_norm)
    return MCBNetwork(TINY, attention, classes=5).eval()


@pytest.mark.parametrize(
    ("size", "grid", "seen"),
    [
        (ResNetSize(width=2), 64, 39),  # the paper's
        (ResNetSize(width=2, blocks=(1, 1, 1), strides=(1, 1, 1), stem_stride=2), 32, 31),
        (
            ResNetSize(width=2, blocks=(1, 1, 1), strides=(1, 1, 1), stem_stride=2, dilations=(1, 1, 2)),
            32,
            39,
        ),
    ],
)
def test_how_many_features_there_are_and_how_far_they_see(size: ResNetSize, grid: int, seen: int) -> None:
    torch.manual_seed(0)
    backbone = DenseResNet(size).eval()
    for parameter in backbone.parameters():  # no path may be cut off by a ReLU
        parameter.data.abs_()
    image = torch.ones(1, 3, 64, 64, requires_grad=True)
    features = backbone(image)
    assert features.shape == (1, size.features, grid, grid)
    (gradient,) = torch.autograd.grad(features[0, :, grid // 2, grid // 2].sum(), image)
    ys, xs = gradient[0, 0].nonzero(as_tuple=True)
    assert (int(ys.max() - ys.min()) + 1, int(xs.max() - xs.min()) + 1) == (seen, seen)


def test_the_papers_backbone_has_torchvisions_names_and_shapes() -> None:
    from torchvision.models import resnet18

    theirs = {
        name: value.shape for name, value in resnet18().state_dict().items() if not name.startswith("fc.")
    }
    ours = {name: value.shape for name, value in DenseResNet(ResNetSize()).state_dict().items()}
    assert set(ours) == set(theirs)
    assert {name for name in ours if ours[name] != theirs[name]} == {"conv1.weight"}
    assert ours["conv1.weight"] == (64, 1, 7, 7)


def test_strides_and_any_size() -> None:
    backbone = DenseResNet(ResNetSize(width=2, blocks=(1, 1, 1), strides=(1, 2, 1), stem_stride=2)).eval()
    assert backbone(torch.zeros(2, 3, 64, 96)).shape == (2, 8, 16, 24)
    with pytest.raises(ValueError, match=r"backbone.strides has 4 numbers for 1 stages of backbone.blocks"):
        DenseResNet(ResNetSize(blocks=(1,)))
    with pytest.raises(ValueError, match=r"backbone.dilations has 1 numbers for 4 stages"):
        DenseResNet(ResNetSize(dilations=(2,)))


@pytest.mark.parametrize("post_norm", ["none", "signed_sqrt_l2"])
def test_attention_is_what_the_layers_say_position_by_position(post_norm: str) -> None:
    net = network(post_norm)
    features = torch.randn(2, TINY.features, 3, 4)
    classes = torch.tensor([4, 0, 4])
    image_of_query = torch.tensor([1, 0, 0])
    maps = net.attention_logits(features, classes, image_of_query)
    assert maps.shape == (3, 3, 4)
    for query, (label, image) in enumerate(zip(classes, image_of_query, strict=True)):
        text = net.text(torch.eye(5)[label])
        for y in range(3):
            for x in range(4):
                joined = net.bilinear(features[image, :, y, x], text)
                joined = signed_sqrt_l2(joined) if post_norm == "signed_sqrt_l2" else joined
                expected = net.attend2(torch.relu(net.attend1(joined)))[0]
                assert_close(maps[query, y, x], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("post_norm", ["none", "signed_sqrt_l2"])
def test_autocast_barely_changes_a_map_and_gradients_are_finite(post_norm: str) -> None:
    net = network(post_norm)
    images = torch.randn(1, 3, 12, 12)
    classes = torch.tensor([1, 2])
    image_of_query = torch.tensor([0, 0])
    plain = net.attention_logits(net.backbone(images), classes, image_of_query)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = net.attention_logits(net.backbone(images), classes, image_of_query)
    assert mixed.dtype == torch.float32
    assert_close(mixed.sigmoid(), plain.sigmoid(), rtol=0, atol=0.05)
    mixed.sum().backward()
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in net.parameters())


def test_pooling() -> None:
    features = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    maps = torch.tensor([[[1.0, 0.0], [0.0, 0.5]]])
    first = torch.tensor([0])
    assert pool(features, maps, first, "mean").item() == pytest.approx((1 + 2) / 4)
    assert pool(features, maps, first, "normalised").item() == pytest.approx((1 + 2) / 1.5)
    assert pool(features, maps / 2, first, "normalised").item() == pytest.approx(2.0)
    assert pool(features, maps * 0, first, "normalised").item() == 0.0


def test_activation_maps_add_up_to_the_logits() -> None:
    torch.manual_seed(0)
    classifier = DigitClassifier(TINY, 5).eval()
    images = torch.randn(2, 3, 10, 10)
    assert_close(
        classifier.activation_maps(images).mean((2, 3)) + classifier.classifier.bias,
        classifier(images),
        rtol=1e-4,
        atol=1e-5,
    )


def test_the_attention_starts_from_a_classifier() -> None:
    net = network()
    missing, unexpected = net.load_state_dict(DigitClassifier(TINY, 5).state_dict(), strict=False)
    assert not unexpected
    assert {name.split(".")[0] for name in missing} == {"text", "bilinear", "attend1", "attend2"}
