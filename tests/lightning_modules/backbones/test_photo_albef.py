"""ALBEF on a dual encoder: what it starts from, what it trains, and what it is fed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from datamodules.batches import ImageTextBatch, PhraseBatch
from lightning_modules.backbones.photo_albef import PhotoALBEFBackbone
from lightning_modules.hist.module import HISTFinetune
from lightning_modules.pretraining.module import VisionLanguagePretrain
from networks.dual_encoder import PlaceMaps
from networks.layers.momentum_contrast import ContrastSize
from networks.photo_albef import FusionOptions
from tests.lightning_modules.alignment.tiny import TinyEncoder
from tests.lightning_modules.conftest import train_step

CONTRAST = ContrastSize(embed_dim=16, queue_size=8)
CAPTIONS = ["a red square", "a small circle", "a blue star"]


def backbone(brings_weights: bool = False, **fusion: Any) -> PhotoALBEFBackbone:
    torch.manual_seed(0)
    encoder = TinyEncoder(strides=(16,), maps=PlaceMaps(scales=(64,)))
    encoder.brings_weights = brings_weights
    return PhotoALBEFBackbone(encoder, FusionOptions(**fusion), CONTRAST, training_size=32)


def photographs(side: int) -> torch.Tensor:
    return torch.randn(3, 3, side, side, generator=torch.Generator().manual_seed(3))


def test_an_aligned_first_token_attends_as_the_dual_encoder_finds() -> None:
    built = backbone(sharpness=40.0)
    network = built.network
    images = photographs(64)
    tokens = built.tokenize(CAPTIONS)
    with torch.no_grad():
        hidden = built.encode_texts(tokens)
        encoded = built.encode(images)
        fusion = built.fuse_texts(tokens, encoded, torch.arange(3), [network.map_layer])
        sentence = F.layer_norm(hidden[:, 0], (16,)) @ network.photo_encoder.text_projection.weight.T
        expected = torch.einsum("nd,npd->np", sentence, encoded)
    attention = fusion.attentions[0][:, :, 0].log().mean(1)  # the mean logit of all heads
    spread = attention - attention.mean(1, keepdim=True)
    ratio = 40.0 / 16  # D = 16: cosines times D are what the vectors' product is
    assert_close(spread, ratio * (expected - expected.mean(1, keepdim=True)), rtol=1e-3, atol=1e-3)


def test_the_start_from_scratch_is_another() -> None:
    aligned = backbone().network.bert.state_dict()
    scratch = backbone(start="scratch").network.bert.state_dict()
    changed = {name for name, value in aligned.items() if not torch.equal(value, scratch[name])}
    assert changed
    assert all(".layer.0." not in name and "embeddings" not in name for name in changed)


def test_stored_features_stand_for_training_images() -> None:
    module = VisionLanguagePretrain(backbone()).eval()
    images = photographs(32)
    stored = module.compute_features(images)
    assert stored.dtype == torch.float16
    assert module.needs.features is not None
    assert stored.shape == (3, module.needs.features.numbers)
    with torch.no_grad():
        assert_close(module.backbone.encode(stored), module.backbone.encode(images), rtol=0.05, atol=0.05)


def test_maps_have_the_grid_of_the_images() -> None:
    built = backbone()
    assert built.grid == (4, 4)
    rows = torch.arange(3)
    assert built.raw_maps(built.encode(photographs(64)), CAPTIONS, rows).shape == (3, 4, 4)
    assert built.raw_maps(built.encode(photographs(32)), CAPTIONS, rows).shape == (3, 2, 2)


def test_towers_and_text_layers_stay_as_they_are_and_out_of_checkpoints() -> None:
    module = VisionLanguagePretrain(backbone(brings_weights=True)).train()
    loss, _ = train_step(module, ImageTextBatch(photographs(32), CAPTIONS, ["a", "b", "c"]))
    loss.backward()
    trained = {name for name, parameter in module.named_parameters() if parameter.grad is not None}
    assert trained
    assert not any("photo_encoder" in name or ".layer.0." in name for name in trained)
    checkpoint = {"state_dict": module.state_dict(), "global_step": 1}
    module.on_save_checkpoint(checkpoint)
    assert not any("photo_encoder" in name or ".layer.0." in name for name in checkpoint["state_dict"])
    # Nor is what they share under another name.
    assert not any("predictions.decoder.weight" in name for name in checkpoint["state_dict"])
    assert any("predictions.decoder.bias" in name for name in checkpoint["state_dict"])
    again = VisionLanguagePretrain(backbone(brings_weights=True))
    again.on_load_checkpoint(checkpoint)
    again.load_state_dict(checkpoint["state_dict"])


def test_twins_of_frozen_layers_stay_as_they_are_to_the_last_bit() -> None:
    network = VisionLanguagePretrain(backbone()).network
    word = network.text_encoder.bert.embeddings.word_embeddings.weight
    twin = network.text_encoder_m.bert.embeddings.word_embeddings.weight
    with torch.no_grad():
        for weight in (word, twin):
            weight[0, 0] = -0.0
        network.itm_head.weight.add_(1)
        network.text_proj.weight.add_(1)
    network.update_momentum()
    assert twin[0, 0].signbit()
    assert not torch.equal(network.text_proj_m.weight, network.text_proj.weight - 1)


def test_weights_of_a_checkpoint_without_frozen_parts_can_be_started_from() -> None:
    network = backbone(brings_weights=True).network
    optional = network.optional_weights
    left_out = [name for name in network.state_dict() if any(piece in name for piece in optional)]
    frozen = [name for name in network.state_dict() if name.startswith(network.frozen_parts)]
    assert frozen
    assert set(frozen) <= set(left_out)
    trained = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    fusing = {name for name in trained if "crossattention" in name}
    assert fusing
    assert not fusing & set(left_out)


def test_hist_trains_it_and_masks_only_where_it_is_asked_to() -> None:
    batch = PhraseBatch(
        photographs(32), CAPTIONS, ["square", "circle", "star"], ["a star", None, "a circle"], list("abc")
    )
    module = HISTFinetune(backbone(), alpha_schedule="constant").train()
    loss, terms = train_step(module, batch)
    assert {"itc", "itm", "add", "subject_itc", "subject_itm"} <= set(terms)
    assert terms["mlm"] == 0
    loss.backward()
    module.backbone.mlm_probability = 0.9
    assert train_step(module, batch)[1]["mlm"] > 0


def test_an_aligned_start_into_another_space_is_refused() -> None:
    with pytest.raises(ValueError, match=r"set contrast\.embed_dim to 16"):
        PhotoALBEFBackbone(TinyEncoder(), FusionOptions(), ContrastSize(embed_dim=8, queue_size=8))
