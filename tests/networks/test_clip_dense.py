from __future__ import annotations

import open_clip
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.testing import assert_close

from networks.clip_dense import (
    DenseCLIP,
    DenseOptions,
    LastBlock,
    denoise_prompts,
    last_keys,
    patch_vectors,
    smooth_by_keys,
    tokens_before_last_block,
)
from networks.dense_encoder import cosines
from networks.layers.split_attention import fuse_all, split_all
from tests.networks.ttd_parity import numbers, tiny_clip, tiny_tokenize
from tests.parity import assert_parity

REFERENCE = numbers("maskclip_dense")
TEXTS = F.normalize(REFERENCE["text_embed"], dim=-1)


def dense(**options: object) -> DenseCLIP:
    return DenseCLIP(tiny_clip(), tiny_tokenize, DenseOptions(**options))


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("shape", ["sq", "rect"])
@torch.no_grad()
def test_equal_to_the_reference_code(shape: str, split: bool) -> None:
    def ours(dtype: torch.dtype) -> dict[str, Tensor]:
        model = dense().to(dtype)
        if split:
            split_all(model)
        visual = model.clip.visual
        images = REFERENCE[f"{shape}_image"].to(dtype)
        tokens, grid = tokens_before_last_block(visual, images)
        vectors = {}
        ways: tuple[tuple[str, LastBlock], ...] = (
            ("official", "values"),
            ("value_only", "values_alone"),
            ("vanilla", "vanilla"),
        )
        for name, way in ways:
            vectors[f"{shape}_dense_{name}"] = patch_vectors(visual, tokens, grid, way)
        similarity = cosines(model.encode_pixels(images), TEXTS.to(dtype))
        return vectors | {
            f"{shape}_last_block_input": tokens,
            f"{shape}_last_k_outproj": last_keys(visual, tokens),
            f"{shape}_sim": similarity,
            f"{shape}_mask_sigmoid10": model.masks(images, TEXTS.to(dtype)),
        }

    assert_parity(ours, REFERENCE)


@torch.no_grad()
def test_the_diagonal_mask_gives_the_same() -> None:
    for split in (False, True):
        models = [dense(), dense(last_block="diagonal")]
        if split:
            split_all(models[1])
        values, diagonal = (model.encode_pixels(REFERENCE["rect_image"]) for model in models)
        assert_close(values, diagonal, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_texts_are_read_as_open_clip_reads_them() -> None:
    model = dense()
    model.tokenize = lambda texts: REFERENCE["input_ids"]
    assert_close(model.encode_texts(["."] * 5), TEXTS, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_class_names_are_averaged_over_templates() -> None:
    model = dense()
    model.templates = "tcl"
    model.tokenize = lambda texts: tiny_tokenize([text[::-1] for text in texts])  # the tiny text is short
    names = ["cat", "dog"]
    prompts = [f"a photo of {name}s." for name in names]
    assert model.encode_class_names(names).shape == (2, 24)
    each = model.encode_class_names(names)
    model.normalise_each = False
    assert (model.encode_class_names(names) - each).abs().max() > 1e-6
    model.templates = "none"
    assert_close(model.encode_class_names(names), model.encode_texts(names))
    assert (model.encode_texts(prompts) - model.encode_texts(names)).abs().max() > 1e-3


@torch.no_grad()
def test_key_smoothing_and_prompt_denoising_are_those_of_the_reference_code() -> None:
    similarity = REFERENCE["sq_sim"]
    keys = REFERENCE["sq_last_k_outproj"]
    for name, axis in (("repo_dim1", 1), ("channel", 2)):
        smoothed = smooth_by_keys(similarity, F.normalize(keys, dim=axis), 1.1)  # all
        assert_close(smoothed, REFERENCE[f"sq_keysmooth_{name}"], rtol=1e-4, atol=1e-4)
    highest = REFERENCE["sq_pd_max_conf"]
    threshold = highest.median().item() + 1e-6
    denoised = denoise_prompts(similarity, threshold)
    assert torch.equal((denoised == -100).all(dim=(2, 3)), highest < threshold)
    assert torch.equal(denoised[denoised > -100], similarity[denoised > -100])
    model = dense(key_smoothing=1.1)
    assert_close(
        model.masks(REFERENCE["sq_image"], TEXTS),
        REFERENCE["sq_keysmooth_repo_dim1"],
        rtol=1e-4,
        atol=1e-4,
    )
    certain = smooth_by_keys(similarity, keys, 0.0)
    assert_close(certain, REFERENCE["sq_softmax100"], rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_any_size_is_taken() -> None:
    model = dense()
    images = torch.randn(1, 3, 37, 50)
    masks = model.masks(images, TEXTS)
    assert masks.shape == (1, 5, 37, 50)
    padded = F.pad(images, (3, 3, 1, 2))
    assert torch.equal(
        masks, F.interpolate(model.masks(padded, TEXTS), (40, 56), mode="bilinear")[:, :, 1:38, 3:53]
    )


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_reach_both_towers(checkpointing: bool) -> None:
    model = dense()
    model.clip.set_grad_checkpointing(checkpointing)
    masks = model.masks(REFERENCE["sq_image"], model.encode_texts(["a dog"]))
    masks.sum().backward()
    for weight in (model.clip.visual.conv1.weight, model.clip.token_embedding.weight):
        assert weight.grad.abs().sum() > 0


def test_other_towers_are_refused() -> None:
    with pytest.raises(ValueError, match="needs a vision transformer"):
        DenseCLIP(nn.Linear(1, 1), tiny_tokenize)
    resnet = open_clip.model.CLIP(
        8,
        {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8},
        {"context_length": 4, "vocab_size": 9, "width": 8, "heads": 1, "layers": 1},
    )
    with pytest.raises(ValueError, match="ModifiedResNet"):
        DenseCLIP(resnet, tiny_tokenize)


def test_fusing_is_the_inverse_of_splitting() -> None:
    model = tiny_clip()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    split_all(model)
    assert "visual.transformer.resblocks.0.attn.q_proj.weight" in model.state_dict()
    fuse_all(model)
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert list(model.state_dict()) == list(state)
