"""What a text group model can be asked, and its files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from lightning_modules.capabilities import CanGround, CanGroupTokens, CanMatch
from lightning_modules.errors import ModelError
from lightning_modules.loading import read_weights
from lightning_modules.text_group.module import TextGroupDiscovery
from lightning_modules.text_group.options import (
    MemoryOptions,
)
from networks.groupvit import GroupViTImageEncoder
from networks.text_group import CausalTransformer
from tests.lightning_modules.conftest import WORDS, fit, quiet_trainer
from tests.lightning_modules.text_group.helpers import (
    CAPTIONS,
    batch,
    build,
    image_batch,
    network,
    official_file,
    with_encoder,
)
from tests.networks.test_groupvit import SIZES, official


def test_openers_are_tokens_of_the_vocabulary(vocabulary: Path, tmp_path: Path) -> None:
    """One known word, one of two pieces, one unknown."""
    openers = tmp_path / "openers.txt"
    openers.write_text(f"{WORDS[5]}\n{WORDS[5]}-{WORDS[6]}\nzebra\n")
    module = build(vocabulary, openers=openers)
    assert module.network.is_opener.nonzero().flatten().tolist() == [5]
    plain = build(vocabulary).eval()
    cut = module.eval()
    assert plain.group_tokens(CAPTIONS) != cut.group_tokens(CAPTIONS)
    openers.write_text("zebra\n")
    with pytest.raises(ModelError, match="none of the 1 openers"):
        build(vocabulary, openers=openers)
    with pytest.raises(ModelError, match="no file of openers"):
        build(vocabulary, openers=tmp_path / "none.txt")


def test_openers_are_the_models_own_whatever_weights_are_loaded(vocabulary: Path, tmp_path: Path) -> None:
    openers = tmp_path / "openers.txt"
    openers.write_text(WORDS[5])
    module = build(vocabulary, openers=openers)
    plain = build(vocabulary)
    checkpoint: dict[str, Any] = {"global_step": 1, "state_dict": plain.state_dict()}
    plain.on_save_checkpoint(checkpoint)
    plain.on_load_checkpoint(checkpoint)
    with pytest.raises(ModelError, match="other openers"):
        module.on_load_checkpoint(checkpoint)
    module.load_state_dict(plain.state_dict())
    assert module.network.is_opener.nonzero().flatten().tolist() == [5]
    module.network.set_openers([6])
    assert module.network.is_opener.nonzero().flatten().tolist() == [6]
    with pytest.raises(ModelError, match="CausalTransformer has no groups"):
        build(vocabulary, network(CausalTransformer), openers=openers)


# What it can do.


@pytest.mark.parametrize("capability", [CanGroupTokens, CanMatch, CanGround])
def test_capabilities(capability: type, vocabulary: Path) -> None:
    assert isinstance(build(vocabulary), capability)


def test_groups_are_the_likeliest_of_every_token_and_know_their_words(vocabulary: Path) -> None:
    module = build(vocabulary).eval()
    captions = ["a red-dog", "hat", ""]
    grouped = module.group_tokens(captions)
    assert [words for _, words in grouped] == [[0, 1, 1, 1], [0], []]  # BERT's pieces: red, -, dog
    for caption, (groups, words) in zip(captions, grouped, strict=True):
        pieces = module.tokenize([caption])
        scores = module.network(pieces.ids, pieces.mask).scores[0]
        assert groups == scores[:, 1:-1].argmax(0).tolist()
        assert len(groups) == len(words)
    assert module.group_tokens([]) == []
    with pytest.raises(ModelError, match="no groups"):
        build(vocabulary, network(CausalTransformer)).group_tokens(["a"])


def test_token_vectors_are_those_of_the_words(vocabulary: Path) -> None:
    module = build(vocabulary, network(CausalTransformer)).eval()
    ((vectors, words),) = module.token_vectors(["a red dog"])
    assert vectors.shape == (3, 16)
    assert words == [0, 1, 2]
    with pytest.raises(ModelError, match="gives groups"):
        build(vocabulary).token_vectors(["a"])


def test_match_is_the_cosine(vocabulary: Path) -> None:
    module = build(vocabulary).eval()
    similarities = module.match(batch().images, CAPTIONS[:2])
    assert similarities.shape == (6, 2)
    pieces = module.tokenize(CAPTIONS[1:2])
    text = module.network.text_head(module.network(pieces.ids, pieces.mask).groups).mean(1)
    image = module.network.image_head(batch().images[3:4])
    assert similarities[3, 1].item() == pytest.approx(F.cosine_similarity(image, text).item(), abs=1e-5)


def test_images_and_their_vectors_are_the_same_to_it(vocabulary: Path) -> None:
    module = with_encoder(vocabulary).eval()
    images = torch.randn(2, 3, 32, 32)
    assert module.image_encoder is not None
    assert_close(module.match(images, CAPTIONS), module.match(module.image_encoder(images).pooled, CAPTIONS))
    assert module.preprocessing.image_size == 32
    assert module.preprocessing.mean == (0.485, 0.456, 0.406)
    assert module.preprocessing.interpolation == "bilinear"


def test_a_phrase_lies_where_the_image_groups_lie_that_resemble_it(vocabulary: Path) -> None:
    module = with_encoder(vocabulary, grounding_temperature=1e-4).eval()
    images = torch.randn(2, 3, 32, 32)
    of_query = torch.tensor([1, 0, 1])
    maps = module.ground(images, CAPTIONS[:3], of_query)
    assert maps.shape == (3, 4, 4)
    assert maps.min() >= 0
    assert maps.max() <= 1
    assert module.image_encoder is not None
    image_groups = module.image_encoder(images)
    regions = F.normalize(module.network.image_head(image_groups.groups), dim=-1)
    for query, image in enumerate(of_query.tolist()):
        pieces = module.tokenize([CAPTIONS[query]])
        text = module.network.text_feature(module.network(pieces.ids, pieces.mask).groups)[0]
        best = int((regions[image] @ text).argmax())
        assert_close(maps[query], image_groups.maps[image, best], atol=1e-3, rtol=0)
    assert module.ground(images, [], torch.zeros(0).long()).shape == (0, 4, 4)
    assert module.ground_groups(images, CAPTIONS[:2]).shape == (2, 3, 4, 4)


def test_what_a_user_can_get_wrong(vocabulary: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=rf"has {len(WORDS)} tokens and network\.size\.vocab_size is 99"):
        build(vocabulary, network(vocab_size=99))
    with pytest.raises(ModelError, match="between 3 and the network's 8"):
        build(vocabulary, network(max_positions=8))
    with pytest.raises(ModelError, match=r"set network\.size\.image_width"):
        build(vocabulary, image_encoder=GroupViTImageEncoder(**SIZES))
    with pytest.raises(ModelError, match="vectors of 10 numbers are wanted"):
        build(vocabulary).image_vectors(torch.zeros(2, 9))
    with pytest.raises(ModelError, match="pooled vectors say nothing of positions"):
        build(vocabulary).ground(batch().images, ["a"], torch.tensor([0]))
    with pytest.raises(ValueError, match="cache_chunk must be at least 1, not 0"):
        MemoryOptions(cache_chunk=0)
    with pytest.raises(ModelError, match=r"not found.+set --model\.text\.vocabulary"):
        build(tmp_path / "none.txt")


# Weights.


@pytest.mark.filterwarnings("ignore")
def test_official_weights_are_read_without_running_their_objects(vocabulary: Path, tmp_path: Path) -> None:
    path = tmp_path / "official.pth"
    source = official_file(path, seed=1)
    module = with_encoder(vocabulary, image_weights=path)
    fit(module, [image_batch()], max_steps=1)
    assert module.image_encoder is not None
    assert_close(module.image_encoder.state_dict(), source.state_dict())


@pytest.mark.filterwarnings("ignore")
def test_a_checkpoint_remembers_the_image_encoder_by_its_fingerprint(
    vocabulary: Path, tmp_path: Path
) -> None:
    path = tmp_path / "official.pth"
    official_file(path, seed=1)
    trainer = fit(with_encoder(vocabulary, image_weights=path), [image_batch()], max_steps=1)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
    assert not any(name.startswith("image_encoder.") for name in state)

    def load(module: TextGroupDiscovery) -> None:
        options: dict[str, Any] = {"ckpt_path": tmp_path / "last.ckpt", "weights_only": True}
        quiet_trainer().test(module, [], verbose=False, **options)

    load(with_encoder(vocabulary, image_weights=path))
    load(build(vocabulary, network(image_width=24)))
    for module in (with_encoder(vocabulary), with_encoder(vocabulary, image_weights=tmp_path / "other.pth")):
        official_file(tmp_path / "other.pth", seed=2)
        with pytest.raises(ModelError, match=r"other weights of image_encoder: set --model\.image_weights"):
            load(module)


class Attack:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("owned",)


def test_an_official_file_cannot_run_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"model": {}, "config": Attack()}, tmp_path / "evil.pth")
    assert read_weights(tmp_path / "evil.pth")["model"] == {}
    assert not (tmp_path / "owned").exists()


def test_other_weights_are_refused(vocabulary: Path, tmp_path: Path) -> None:
    module = with_encoder(vocabulary)
    assert module.image_encoder is not None
    torch.save({"model": {"visual.weight": torch.zeros(1)}}, tmp_path / "other.pth")
    part = official(module.image_encoder.state_dict())
    part.pop("img_encoder.norm.weight")
    torch.save({"model": part}, tmp_path / "part.pth")
    (tmp_path / "torn.pth").write_text("torn")
    for name, sentence in (
        ("none", "not found; set --model.image_weights"),
        ("other", "no weights of GroupViT"),
        ("part", "does not fit image_encoder: .+1 missing"),
        ("torn", "not readable"),
    ):
        file = with_encoder(vocabulary, image_weights=tmp_path / f"{name}.pth").part_files[-1]
        with pytest.raises(ModelError, match=sentence):
            file.load(module)


def test_a_checkpoint_knows_its_vocabulary(vocabulary: Path) -> None:
    module = build(vocabulary)
    checkpoint: dict[str, Any] = {"state_dict": module.state_dict(), "global_step": 3}
    module.on_save_checkpoint(checkpoint)
    module.on_load_checkpoint(checkpoint)
    with pytest.raises(ModelError, match="another vocabulary"):
        module.on_load_checkpoint(checkpoint | {"vocabulary_digest": "other"})
