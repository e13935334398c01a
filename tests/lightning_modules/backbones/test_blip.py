"""What BLIP's backbone alone does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_model
from torch import Tensor

from lightning_modules.backbones.blip import BLIPBackbone
from lightning_modules.backbones.options import MapOptions
from lightning_modules.errors import ModelError
from lightning_modules.loading import PartFile
from lightning_modules.pretraining.module import VisionLanguagePretrain
from networks.blip import BLIP
from networks.layers.beam_search import Beams
from networks.layers.tokenizer import Tokens
from tests.networks import blip_parity, blip_transformers
from tests.networks.blip_parity import outputs
from tests.parity import assert_parity


@pytest.fixture
def backbone_class() -> type[BLIPBackbone]:
    return BLIPBackbone


def on(network: BLIP, special: dict[str, int], folder: Path, **options: Any) -> BLIPBackbone:
    """The backbone of a network, its vocabulary being numbers and the special tokens where they are."""
    words = [f"w{number}" for number in range(network.vocab_size)]
    for token, place in {"[PAD]": 0, "[UNK]": 5, "[MASK]": 6, **special}.items():
        words[place] = token
    (folder / "vocabulary.txt").write_text("\n".join(words))
    return BLIPBackbone(network, folder / "vocabulary.txt", **options)


@pytest.mark.parametrize(
    ("options", "reference"),
    [
        ({"heads": ((7, 9), (8, 9))}, "gradcam_eval_mean"),
        ({"heads": ((8, 9),)}, "gradcam_idx8_head9"),
        ({}, "gradcam_idx8_headavg_tokavg"),
    ],
    ids=str,
)
@torch.no_grad()
def test_maps_are_those_of_the_reference(options: Any, reference: str, tmp_path: Path) -> None:
    special = {
        "[CLS]": blip_parity.CLS_ID,
        "[SEP]": blip_parity.SEP_ID,
        "[ENC]": blip_parity.ENC_ID,
        "[DEC]": blip_parity.DEC_ID,
    }

    def numbers(dtype: torch.dtype) -> dict[str, Tensor]:
        network = blip_parity.tiny_blip().to(dtype)
        backbone: Any = on(network, special, tmp_path, maps=MapOptions(tokens="mean_all", **options))
        backbone.tokenize = lambda *_: Tokens(outputs()["ids_cls"], outputs()["att"])
        image_tokens = backbone.encode(outputs()["image"].to(dtype))
        return {reference: backbone.raw_maps(image_tokens, ["a", "b", "c"], torch.arange(3))}

    assert_parity(numbers, outputs())


@torch.no_grad()
def test_language_loss_is_that_of_transformers(tmp_path: Path) -> None:
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    ids = blip_transformers.of_kind(blip_transformers.DEC_ID)
    labels = ids.masked_fill(blip_transformers.MASK == 0, -100)
    theirs = blip_transformers.theirs("BlipForConditionalGeneration")
    reference = theirs(images, ids, attention_mask=blip_transformers.MASK, labels=labels).loss
    special = {"[CLS]": 1, "[SEP]": 2, "[ENC]": blip_transformers.ENC_ID, "[DEC]": blip_transformers.DEC_ID}

    def numbers(dtype: torch.dtype) -> dict[str, Tensor]:
        network = blip_transformers.ours("BlipForConditionalGeneration").to(dtype)
        backbone = on(network, special, tmp_path, maps=MapOptions())
        tokens = Tokens(blip_transformers.IDS, blip_transformers.MASK)
        return {"lm": backbone.language_modelling(tokens, backbone.encode(images.to(dtype)))}

    assert_parity(numbers, {"lm": reference})


def test_a_matching_model_of_transformers_is_a_start(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_model(blip_transformers.theirs("BlipForImageTextRetrieval"), str(path))
    module = torch.nn.ModuleDict({"network": blip_transformers.ours("BlipForImageTextRetrieval")})
    line = PartFile("network", path, "--model.pretrained").load(module)
    assert "37 missing (temp, text_decoder." in line
    assert line.endswith("...)"), "nothing is unexpected"
    path = tmp_path / "captioner.safetensors"
    save_model(blip_transformers.theirs("BlipForConditionalGeneration"), str(path))
    with pytest.raises(ModelError, match=r"does not fit network: .* missing \(text_encoder"):
        PartFile("network", path, "--model.pretrained").load(module)


def test_losses_see_the_layers_and_evaluations_the_heads(build: Callable[..., Any]) -> None:
    maps = MapOptions(layers=(2,), heads=((1, 0), (3, 1)))
    backbone = build(VisionLanguagePretrain, backbone={"maps": maps}).backbone
    assert [(source.layer, source.heads) for source in backbone.training_reading.sources] == [(2, None)]
    heads = [(1, (0,)), (3, (1,))]
    assert [(source.layer, source.heads) for source in backbone.evaluation_reading.sources] == heads
    maps = MapOptions(layers=(2,), heads=((1, 0), (3, 1)), train_on="heads", combine="product")
    backbone = build(VisionLanguagePretrain, backbone={"maps": maps}).backbone
    assert backbone.training_reading == backbone.evaluation_reading
    assert backbone.training_reading.combine == "product"


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (
            MapOptions(heads=((7, 9), (8, 9))),
            "no head 9 in the cross-attention of layer 7; layers are 0 to 3",
        ),
        (MapOptions(heads=((3, 2),)), "no head 2 in the cross-attention of layer 3; .* heads 0 to 1"),
        (MapOptions(train_on="heads"), "maps.heads names none"),
        (MapOptions(layers=(4,)), "layer 4 has no cross-attention"),
    ],
    ids=str,
)
def test_places_that_the_network_does_not_have_are_refused(
    build: Callable[..., Any], maps: MapOptions, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        build(VisionLanguagePretrain, backbone={"maps": maps})


def test_captions_are_words_after_the_prompt(build: Callable[..., Any]) -> None:
    backbone = build(VisionLanguagePretrain).backbone
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    captions = backbone.captions(images, "a man on", Beams(2, max_length=9, min_length=6))
    assert len(captions) == 2
    for caption in captions:
        assert 1 <= len(caption.split()) <= 5
        assert "[DEC]" not in caption
        assert "[SEP]" not in caption
