from __future__ import annotations

import pytest
import torch
from torchvision.models import vgg  # type: ignore[import-untyped]

from networks.image_trunks import ImageTrunk


@pytest.mark.parametrize(("stride", "layers"), [(8, 23), (16, 30)])
def test_vgg16_is_torchvisions_cut_short(stride: int, layers: int) -> None:
    whole = vgg.make_layers(vgg.cfgs["D"])[:layers].eval()
    trunk = ImageTrunk("vgg16", stride).eval()
    state = {f"features.{name}": value for name, value in whole.state_dict().items()}
    state |= {"classifier.0.weight": torch.zeros(2), "features.99.bias": torch.zeros(512)}
    adapted = trunk.adapt_state_dict(state)
    assert set(adapted) == set(trunk.state_dict())
    trunk.load_state_dict(adapted)
    images = torch.randn(1, 3, 32, 32)
    assert torch.equal(trunk(images), whole(images))


@pytest.mark.parametrize(
    ("name", "stride", "channels"),
    [("tf_efficientnet_lite0", 16, 112), ("test_resnet", 8, 48), ("test_resnet", 4, 32)],
)
def test_networks_of_timm(name: str, stride: int, channels: int) -> None:
    import timm

    trunk = ImageTrunk(name, stride).eval()
    assert trunk.channels == channels
    assert trunk(torch.zeros(1, 3, 64, 64)).shape == (1, channels, 64 // stride, 64 // stride)
    adapted = trunk.adapt_state_dict(timm.create_model(name).state_dict())
    assert set(adapted) == set(trunk.state_dict())
    trunk.load_state_dict(adapted)


def test_a_network_for_segmentation() -> None:
    trunk = ImageTrunk("fcn_resnet50").eval()
    assert trunk(torch.zeros(1, 3, 32, 32)).shape == (1, 2048, 4, 4)
    published = {name.replace("Org_model", "backbone"): value for name, value in trunk.state_dict().items()}
    assert set(trunk.adapt_state_dict(published)) == set(trunk.state_dict())


@pytest.mark.parametrize(
    ("name", "stride", "message"),
    [
        ("vgg16", 4, "stride of 8 or 16, not 4"),
        ("fcn_resnet50", 16, "stride of 8"),
        ("resnet_of_nobody", 8, "neither torchvision's"),
        ("test_resnet", 64, r"strides \[2, 4, 8, 16, 32\], not 64"),
    ],
)
def test_what_there_is_not(name: str, stride: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ImageTrunk(name, stride)
