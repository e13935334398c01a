from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.testing import assert_close

from lightning_modules.loading import PartFile
from networks.wwbl import Decoder, WWbL, WWbLSize, cosines
from tests.networks.gpp_parity import arrays, fill, numbers
from tests.parity import assert_parity

SMALL = WWbLSize(trunk="test_resnet", stride=8, up_widths=(6,))


def full_network(dtype: torch.dtype = torch.float32, training: bool = False) -> WWbL:
    network = WWbL()
    fill(network)
    return network.to(dtype).train(training)


def test_names_and_shapes_are_the_public_ones() -> None:
    shapes = {name: list(value.shape) for name, value in WWbL().state_dict().items()}
    assert shapes == numbers("full_state_dict_shapes.json")
    assert len(shapes) == 62


@pytest.mark.parametrize("mode", ["eval", "train"])
@torch.no_grad()
def test_all_stages_are_those_of_the_public_code(mode: str) -> None:
    reference = arrays("full_net_64.npz")

    def compute(dtype: torch.dtype) -> dict[str, Tensor]:
        network = full_network(dtype, training=mode == "train")
        images = reference["image"].to(dtype)
        texts = reference["z_text"].to(dtype)
        features = network.encode(images)
        similarity = cosines(features.places, texts)
        up0 = network.D.get_submodule("up0")(features.places * similarity)
        return {
            f"{mode}_enc": features.trunk[:, ::64],
            f"{mode}_bott_pre_relu": features.signed[:, ::64],
            f"{mode}_bott": features.places[:, ::64],
            f"{mode}_attn": similarity,
            f"{mode}_up0": up0[:, ::64],
            f"{mode}_up1_logits": network.D.get_submodule("up1")(up0),
            f"{mode}_mask": network.masks(features.places, texts, (64, 64))[:, None],
        }

    assert_parity(compute, reference)


@pytest.mark.parametrize("mode", ["eval", "train"])
@torch.no_grad()
def test_a_decoder_of_other_widths(mode: str) -> None:
    reference = arrays("decoder_small.npz")

    def compute(dtype: torch.dtype) -> dict[str, Tensor]:
        decoder = Decoder(24, 256, up_widths=(16,))
        fill(decoder)
        decoder.to(dtype).train(mode == "train")
        places = decoder.bottleneck(reference["feat"].to(dtype))
        logits = decoder(places, reference["z_text"].to(dtype))
        resized = F.interpolate(logits, (40, 40), mode="bilinear", align_corners=True)
        return {f"mask_{mode}": resized.sigmoid()}

    assert_parity(compute, reference)


def test_gradients_are_those_of_the_public_code() -> None:
    expected = numbers("full_train_grads.json")
    network = full_network(training=True)
    reference = arrays("full_net_64.npz")
    loss = network(reference["image"], reference["z_text"]).square().mean()
    loss.backward()
    assert loss.item() == pytest.approx(expected["loss_mean_sq"], rel=1e-5)
    for name, parameter in network.named_parameters():
        norm = expected["grad_l2"][name]
        if norm is None:  # the last normalisation, which nothing uses
            assert parameter.grad is None
            assert not parameter.requires_grad
            continue
        assert parameter.grad is not None
        # A bias before a normalisation has no gradient but for rounding.
        assert parameter.grad.norm().item() == pytest.approx(norm, rel=1e-3, abs=1e-5), name


@torch.no_grad()
def test_an_image_is_encoded_once_for_all_its_texts() -> None:
    torch.manual_seed(0)
    network = WWbL(SMALL, dim=5).eval()
    fill(network)
    images = torch.randn(2, 3, 32, 32)
    texts = F.normalize(torch.randn(3, 5), dim=1)
    image_of_text = torch.tensor([1, 0, 1])
    places = network.encode(images).places
    together = network.masks(places[image_of_text], texts, (32, 32))
    assert_close(together, network(images[image_of_text], texts))
    assert not torch.equal(together[0], together[2])


def test_the_papers_three_blocks_at_stride_16_and_other_trunks() -> None:
    text = torch.ones(1, 4) / 2
    three = WWbL(WWbLSize("test_resnet", 16, up_widths=(8, 4)), dim=4).eval()
    assert three.encode(torch.zeros(1, 3, 64, 96)).places.shape == (1, 4, 4, 6)
    assert three(torch.zeros(1, 3, 64, 96), text).shape == (1, 64, 96)
    assert (
        WWbL(WWbLSize(stride=16, up_widths=(512, 256))).state_dict()["E.Org_model.28.weight"].shape[0] == 512
    )


def test_a_place_without_features_is_no_error() -> None:
    """The public code divides by a norm of 0 there."""
    assert cosines(torch.zeros(1, 2, 1, 1), torch.tensor([[1.0, 0.0]])).item() == 0


class Published(nn.Module):
    """What was published: the whole object, within parallel training."""

    def __init__(self, network: WWbL) -> None:
        super().__init__()
        self.module = network


def test_published_files_are_whole_modules(tmp_path: Path) -> None:
    torch.manual_seed(0)
    written = WWbL(SMALL, dim=5)
    torch.save(Published(written), tmp_path / "net_best.pth")
    holder = nn.Module()
    holder.network = WWbL(SMALL, dim=5)
    line = PartFile("network", tmp_path / "net_best.pth", "--model.pretrained").load(holder)
    assert f"{len(written.state_dict())} tensors of network loaded" in line
    for name, value in written.state_dict().items():
        assert torch.equal(holder.network.state_dict()[name], value), name
