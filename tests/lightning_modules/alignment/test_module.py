"""Phrase alignment learns where things are, from stored features as from images, and what it can be asked."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from datamodules.batches import CaptionPhraseBatch
from lightning_modules.alignment.module import AlignmentOptions, PhraseAlignment
from lightning_modules.capabilities import CanGround, CanMatch, CanScoreTags, CanSegment
from lightning_modules.optimisation import Optimisation
from tests.lightning_modules.alignment.tiny import TinyEncoder
from tests.lightning_modules.conftest import train_step

COLOURS = {"red": (1.0, -1.0, -1.0), "green": (-1.0, 1.0, -1.0), "blue": (-1.0, -1.0, 1.0)}
OPTIONS = AlignmentOptions(training_size=64, duplicate_cosine=0.999)


def scene(left: str, right: str) -> Tensor:
    """(3,64,64), one colour on each side."""
    image = torch.zeros(3, 64, 64)
    image[:, :, :32] = torch.tensor(COLOURS[left])[:, None, None]
    image[:, :, 32:] = torch.tensor(COLOURS[right])[:, None, None]
    return image


def batch() -> CaptionPhraseBatch:
    pairs = [("red", "green"), ("green", "blue"), ("blue", "red")]
    return CaptionPhraseBatch(
        torch.stack([scene(*pair) for pair in pairs]),
        [f"a {left} ball and a {right} ball" for left, right in pairs],
        [[f"a {left} ball", f"a {right} ball"] for left, right in pairs],
        ["a", "b", "c"],
    )


@pytest.fixture
def module() -> PhraseAlignment:
    module = PhraseAlignment(TinyEncoder(strides=(16,)), OPTIONS, Optimisation(lr=3e-3))
    return module.train()


def test_capabilities(module: PhraseAlignment) -> None:
    for capability in (CanGround, CanMatch, CanScoreTags, CanSegment):
        assert isinstance(module, capability)
    module.eval()
    images = batch().images
    maps = module.ground(images, ["a red ball", "a dog"], torch.tensor([2, 0]))
    assert maps.shape == (2, 4, 4)
    assert module.match(images, ["a red ball", "a dog"]).shape == (3, 2)
    assert module.segment(images, ["red", "green", "blue", "dog"]).shape == (3, 4, 4, 4)
    scores = module.score_tags(images, batch().captions)
    assert [len(score) for score in scores] == [7, 7, 7]
    whole = module.match(images, ["red"])
    torch.testing.assert_close(scores[0][1], whole[0, 0])


def test_images_are_encoded_once_for_all_prompts(
    module: PhraseAlignment, monkeypatch: pytest.MonkeyPatch
) -> None:
    module.eval()
    images = batch().images
    one = torch.zeros(1, dtype=torch.long)
    first = module.ground(images, ["a red ball"], one)
    again = module.ground(images.clone(), ["a red ball"], one)
    assert torch.equal(first, again)
    monkeypatch.setattr(module.network, "encode_places", None)
    prompted = module.ground(module._seen[0], ["image of a red ball"], one)  # type: ignore[index]
    assert prompted.shape == first.shape
    module.train()
    assert module._seen is None


def test_it_learns_which_side_is_red(module: PhraseAlignment) -> None:
    optimizer = torch.optim.AdamW(module.parameters(), lr=5e-3)
    first = last = torch.zeros(())
    for step in range(60):
        last, _ = train_step(module, batch())
        first = last.detach() if step == 0 else first
        optimizer.zero_grad()
        last.backward()
        optimizer.step()
    assert last < 0.7 * first
    module.eval()
    images = torch.stack([scene("red", "green"), scene("green", "red")])
    left, right = module.segment(images, ["a red ball"])[:, 0]
    assert left[:, :2].mean() > left[:, 2:].mean()
    assert right[:, :2].mean() < right[:, 2:].mean()


def test_only_the_head_is_trained(module: PhraseAlignment) -> None:
    loss, terms = train_step(module, batch())
    assert set(terms) >= {"phrase_to_image", "image_to_phrase", "captions", "whole"}
    loss.backward()
    trained = {name for name, weight in module.named_parameters() if weight.grad is not None}
    assert trained
    assert not any("tower" in name for name in trained)
    assert not module.network.image_towers.training
    assert not module.network.text_tower.training


def test_stored_features_give_the_same_loss(module: PhraseAlignment) -> None:
    of_images, _ = train_step(module, batch())
    rows = module.compute_features(batch().images)
    assert module.needs.features is not None
    assert rows.shape == (3, module.needs.features.numbers)
    of_features, _ = train_step(module, replace(batch(), images=rows))
    torch.testing.assert_close(of_features, of_images, rtol=1e-2, atol=1e-2)


def test_captions_without_phrases(module: PhraseAlignment) -> None:
    without = replace(batch(), phrases=[["a red ball"], [], ["a blue ball"]])
    loss, _ = train_step(module, without)
    assert loss.isfinite()
    nothing = replace(batch(), phrases=[[], [], []])
    loss, terms = train_step(module, nothing)
    assert loss.isfinite()
    assert terms["phrase_to_image"] == 0
