from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from datamodules.batches import ImageTextBatch
from lightning_modules.capabilities import CanGround, CanGroupTokens, CanMatch
from lightning_modules.errors import ModelError
from lightning_modules.loading import read_weights
from lightning_modules.optimisation import Optimisation
from lightning_modules.text_group.gradient_cache import random_state, replayed
from lightning_modules.text_group.losses import contrastive_loss
from lightning_modules.text_group.module import TextGroupDiscovery
from lightning_modules.text_group.options import (
    ImageOptions,
    LossWeights,
    MemoryOptions,
    ReconstructionOptions,
    TextOptions,
)
from networks.groupvit import GroupViTImageEncoder
from networks.text_group import CausalTransformer, TextEncoder, TextGroupTransformer, TextSize
from tests.lightning_modules.conftest import WORDS, fit, quiet_trainer
from tests.networks.test_groupvit import SIZES, official

CAPTIONS = [
    "a red dog",
    "the tall man on the left",
    "a small green car of the old man",
    "hat",
    "the big tree",
    "a blue hat and a cat",
]


@pytest.fixture
def vocabulary(tmp_path: Path) -> Path:
    path = tmp_path / "vocabulary.txt"
    path.write_text("\n".join(WORDS))
    return path


SIZE = TextSize(width=16, heads=2, vocab_size=len(WORDS), max_positions=16, embed_dim=8, image_width=10)


def network(kind: type = TextGroupTransformer, **sizes: int) -> Any:
    """A small network whose weights are large enough for captions to differ."""
    torch.manual_seed(0)
    options = {"groups": 3, "group_depth": 1} if kind is TextGroupTransformer else {}
    encoder = kind(depth=2, size=replace(SIZE, **sizes), **options)
    with torch.no_grad():
        for parameter in encoder.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.4)
    return encoder


def build(
    vocabulary: Path, encoder: TextEncoder | None = None, openers: Path | None = None, **arguments: Any
) -> TextGroupDiscovery:
    """A small module in training mode."""
    text = TextOptions(vocabulary, openers, max_tokens=16)
    return TextGroupDiscovery(encoder or network(), text, **arguments).train()


def batch(rows: int = 6) -> ImageTextBatch:
    vectors = torch.randn(6, 10, generator=torch.Generator().manual_seed(1))
    return ImageTextBatch(vectors[:rows], CAPTIONS[:rows], list("012345")[:rows])


def gradients_of(module: Any, rows: ImageTextBatch) -> tuple[dict[str, Tensor], dict[str, float]]:
    """The gradients of one step without a trainer, and what it logs."""
    logged: dict[str, float] = {}
    module.trainer = SimpleNamespace(world_size=1, strategy=SimpleNamespace())
    module.manual_backward = lambda loss: loss.backward()
    module.log_terms = lambda loss, terms: logged.update(
        {"loss": loss.item()} | {name: term.item() for name, term in terms.items()}
    )
    module.zero_grad()
    vectors = module.image_vectors(rows.images) if module.weights.contrastive else None
    module.backward_step(module.tokenize(rows.captions), vectors)
    return {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}, logged


def test_openers_are_tokens_of_the_vocabulary(vocabulary: Path, tmp_path: Path) -> None:
    """One known word, one of two pieces, one unknown."""
    openers = tmp_path / "openers.txt"
    openers.write_text(f"{WORDS[5]}\n{WORDS[5]}-{WORDS[6]}\nzebra\n")
    module = build(vocabulary, openers=openers)
    assert module.network.is_opener.nonzero().flatten().tolist() == [5]
    plain, cut = build(vocabulary).eval(), module.eval()
    assert plain.group_tokens(CAPTIONS) != cut.group_tokens(CAPTIONS)
    openers.write_text("zebra\n")
    with pytest.raises(ModelError, match="none of the 1 openers"):
        build(vocabulary, openers=openers)
    with pytest.raises(ModelError, match="no file of openers"):
        build(vocabulary, openers=tmp_path / "none.txt")


def test_openers_are_the_models_own_whatever_weights_are_loaded(vocabulary: Path, tmp_path: Path) -> None:
    openers = tmp_path / "openers.txt"
    openers.write_text(WORDS[5])
    module, plain = build(vocabulary, openers=openers), build(vocabulary)
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


# A step.


@pytest.mark.parametrize("candidates", ["vocabulary", "batch"])
def test_losses_of_a_step_are_the_papers(vocabulary: Path, candidates: Any) -> None:
    module = build(vocabulary, reconstruction=ReconstructionOptions(candidates=candidates))
    module.eval()  # no Gumbel noise
    _, logged = gradients_of(module, batch())
    images = module.network.image_feature(batch().images)
    texts, reconstruction = [], []
    of_batch = module.tokenize(CAPTIONS)
    absent = torch.ones(module.network.size.vocab_size, dtype=torch.bool)
    absent[of_batch.ids[of_batch.mask]] = False
    assert absent.any()
    for caption in CAPTIONS:  # one by one, so that padding cannot matter
        pieces = module.tokenize([caption])
        groups = module.network(pieces.ids, pieces.mask).groups
        texts.append(F.normalize(module.network.text_head(groups).mean(1), dim=-1))
        logits = module.network.decode(pieces.ids, groups)[0] @ module.network.token_embedding.weight.t()
        if candidates == "batch":
            logits = logits.masked_fill(absent, -torch.inf)
        reconstruction += F.cross_entropy(logits, pieces.ids[0, 1:], reduction="none").tolist()
    assert logged["contrastive"] == pytest.approx(
        contrastive_loss(images, torch.cat(texts), 0.07).item(), rel=1e-4
    )
    assert logged["reconstruction"] == pytest.approx(sum(reconstruction) / len(reconstruction), rel=1e-4)
    assert logged["loss"] == pytest.approx(logged["contrastive"] + logged["reconstruction"], rel=1e-6)


@pytest.mark.parametrize("reduction", ["token_mean", "sample_mean", "sum"])
@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.5, 2.0), (0.0, 1.0), (1.0, 0.0)])
@pytest.mark.parametrize(("chunk", "candidates"), [(1, "vocabulary"), (4, "vocabulary"), (4, "batch")])
def test_cached_gradients_are_those_of_the_whole_batch(
    vocabulary: Path, chunk: int, candidates: Any, weights: tuple[float, float], reduction: Any
) -> None:
    options: dict[str, Any] = {
        "weights": LossWeights(weights[0], weights[1], balance=0.3 * weights[1]),
        "reconstruction": ReconstructionOptions(reduction, candidates),
    }
    module = build(vocabulary, **options)
    in_parts = build(vocabulary, memory=MemoryOptions(chunk), **options)
    whole, whole_logged = gradients_of(module.double().eval(), batch())
    cached, cached_logged = gradients_of(in_parts.double().eval(), batch())
    assert cached_logged == pytest.approx(whole_logged, rel=1e-5)
    assert cached.keys() == whole.keys()
    for name, gradient in whole.items():
        assert_close(
            cached[name], gradient, atol=1e-10, rtol=1e-7, msg=lambda text, name=name: f"{name}: {text}"
        )


def test_cached_gradients_repeat_the_gumbel_noise(vocabulary: Path) -> None:
    """The reference keeps the graphs of all parts, and so needs no second pass; the noise is drawn from the
    same numbers.
    """
    module = build(vocabulary, memory=MemoryOptions(2))
    pieces = module.tokenize(CAPTIONS)
    torch.manual_seed(7)
    cached, logged = gradients_of(module, batch())

    torch.manual_seed(7)
    module.zero_grad()
    encoded = [module.encode(part) for part in pieces.split(2)]
    texts = torch.cat([module.network.text_feature(part.groups) for part in encoded])
    contrastive = contrastive_loss(module.network.image_feature(batch().images), texts, 0.07)
    whole = module.whole_batch(pieces)
    reconstruction = sum(
        module.reconstruction_term(part, encoded_part, whole)
        for part, encoded_part in zip(pieces.split(2), encoded, strict=True)
    )
    (contrastive + reconstruction).backward()
    assert logged["contrastive"] == pytest.approx(contrastive.item(), rel=1e-5)
    assert logged["reconstruction"] == pytest.approx(reconstruction.item(), rel=1e-5)
    for name, parameter in module.named_parameters():
        assert_close(
            cached[name], parameter.grad, atol=1e-6, rtol=1e-4, msg=lambda text, name=name: f"{name}: {text}"
        )


def test_replayed_numbers_are_the_same_and_leave_no_trace() -> None:
    torch.manual_seed(0)
    state = random_state(torch.device("cpu"))
    first, following = torch.rand(5), torch.rand(5)
    torch.manual_seed(0)
    torch.rand(5)
    with replayed(state, torch.device("cpu")):
        assert torch.equal(torch.rand(5), first)
    assert torch.equal(torch.rand(5), following)


def test_what_no_loss_reaches_has_no_gradients(vocabulary: Path) -> None:
    texts_alone = ImageTextBatch(torch.zeros(6, 0), CAPTIONS, list("012345"))
    for weights, rows, unused in (
        (LossWeights(contrastive=0.0), texts_alone, "head"),
        (LossWeights(reconstruction=0.0), batch(), "decoder"),
    ):
        module = build(vocabulary, weights=weights)
        gradients, _ = gradients_of(module, rows)
        assert not any(unused in name for name in gradients)
        trainable = {name for name, parameter in module.named_parameters() if parameter.requires_grad}
        assert gradients.keys() == trainable
    baseline, _ = gradients_of(build(vocabulary, network(CausalTransformer)), batch())
    assert "network.layers.1.mlp.fc2.weight" in baseline
    with pytest.raises(ModelError, match="nothing is left to learn"):
        build(vocabulary, weights=LossWeights(0.0, 0.0))
    with pytest.raises(ModelError, match="nothing is left to learn"):
        build(vocabulary, network(CausalTransformer), weights=LossWeights(contrastive=0.0))


@pytest.mark.parametrize("chunk", [None, 2])
@pytest.mark.filterwarnings("ignore")
def test_training_lowers_the_loss(vocabulary: Path, chunk: int | None) -> None:
    torch.manual_seed(0)
    encoder = TextGroupTransformer(3, depth=1, group_depth=1, separate_layers=1, size=SIZE)
    optimisation = Optimisation(lr=1e-2, schedule="constant")
    module = build(vocabulary, encoder, optimisation=optimisation, memory=MemoryOptions(chunk))
    losses: list[float] = []
    module.log_terms = lambda loss, terms: losses.append(loss.item())  # type: ignore[method-assign, assignment]
    trainer = fit(module, [batch()] * 40, max_epochs=1)
    assert trainer.global_step == 40
    assert losses[-1] < 0.6 * losses[0]


@pytest.mark.filterwarnings("ignore")
def test_gradients_are_clipped_and_the_rate_follows_its_schedule(vocabulary: Path) -> None:
    module = build(
        vocabulary,
        optimisation=Optimisation(lr=1e-2, schedule="cosine", min_lr=0.0, warmup_steps=0),
        max_gradient_norm=1e-3,
    )
    norms: list[float] = []
    logged: list[float] = []
    module.log = lambda name, value, **options: (
        logged.append(value.item()) if name == "train/gradient_norm" else None
    )  # type: ignore[assignment, method-assign]
    step = torch.optim.AdamW.step
    rates: list[float] = []

    def watched(self: Any, closure: Any = None) -> Any:
        result = step(self, closure)
        norms.append(
            torch.nn.utils.get_total_norm([p.grad for p in module.parameters() if p.grad is not None]).item()
        )
        rates.append(self.param_groups[0]["lr"])
        return result

    torch.optim.AdamW.step = watched  # type: ignore[method-assign]
    try:
        fit(module, [batch()] * 4, max_epochs=1, log_every_n_steps=1)
    finally:
        torch.optim.AdamW.step = step  # type: ignore[method-assign]
    assert min(logged) > 1  # as they were before
    assert max(norms) <= 1.01e-3
    assert rates == pytest.approx([0.5 * 1e-2 * (1 + math.cos(math.pi * n / 4)) for n in range(4)])


def test_two_processes_have_the_gradients_of_one(vocabulary: Path) -> None:
    """Each sees half of the batch; a reducer takes the mean of their gradients."""

    def features(module: Any) -> list[Tensor]:
        pieces = module.tokenize(CAPTIONS)
        return [
            module.network.image_feature(batch().images),
            module.network.text_feature(module.encode(pieces).groups),
        ]

    def of_rank(rank: int, chunk: int | None) -> tuple[dict[str, Tensor], dict[str, float]]:
        module: Any = build(vocabulary, memory=MemoryOptions(chunk)).eval()
        of_both = [torch.stack(list(rows.detach().split(3))) for rows in features(module)]
        rows = slice(3 * rank, 3 * rank + 3)
        logged: dict[str, float] = {}
        tokens = torch.tensor([len(caption.split()) + 1.0 for caption in CAPTIONS]).sum() / 2
        module.trainer = SimpleNamespace(
            world_size=2, global_rank=rank, strategy=SimpleNamespace(reduce=lambda *_, **__: tokens)
        )
        module.all_gather = lambda own: next(
            rows for rows in of_both if torch.allclose(rows[rank], own, atol=1e-5)
        )
        module.manual_backward = lambda loss: loss.backward()
        module.log_terms = lambda loss, terms: logged.update(
            {name: term.item() for name, term in terms.items()}
        )
        module.backward_step(module.tokenize(CAPTIONS[rows]), batch().images[rows])
        return {name: p.grad for name, p in module.named_parameters() if p.grad is not None}, logged

    whole, whole_logged = gradients_of(build(vocabulary).eval(), batch())
    for chunk in (None, 2):
        (first, first_logged), (second, second_logged) = of_rank(0, chunk), of_rank(1, chunk)
        assert first_logged["contrastive"] == pytest.approx(second_logged["contrastive"], rel=1e-4)
        assert first_logged["contrastive"] == pytest.approx(whole_logged["contrastive"], rel=1e-4)
        assert (first_logged["reconstruction"] + second_logged["reconstruction"]) / 2 == pytest.approx(
            whole_logged["reconstruction"], rel=1e-4
        )
        for name, gradient in whole.items():
            assert_close(
                (first[name] + second[name]) / 2,
                gradient,
                atol=2e-4,
                rtol=2e-3,
                msg=lambda text, name=name: f"{name}: {text}",
            )


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


def with_encoder(vocabulary: Path, **images: Any) -> TextGroupDiscovery:
    """A module with an image encoder."""
    torch.manual_seed(0)
    encoder = network(image_width=24)
    images = ImageOptions(GroupViTImageEncoder(**SIZES), **images)
    return build(vocabulary, encoder, images=images, optimisation=Optimisation(schedule="constant"))


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
    images, of_query = torch.randn(2, 3, 32, 32), torch.tensor([1, 0, 1])
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


def test_training_keeps_the_image_encoder_asleep(vocabulary: Path) -> None:
    module = with_encoder(vocabulary)
    assert module.image_encoder is not None
    gradients, _ = gradients_of(module.train(), image_batch())
    assert not any(name.startswith("image_encoder") for name in gradients)
    assert not any(part.training for part in module.image_encoder.modules())


def test_what_a_user_can_get_wrong(vocabulary: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=rf"has {len(WORDS)} tokens and network\.size\.vocab_size is 99"):
        build(vocabulary, network(vocab_size=99))
    with pytest.raises(ModelError, match="between 3 and the network's 8"):
        build(vocabulary, network(max_positions=8))
    with pytest.raises(ModelError, match=r"set network\.size\.image_width"):
        build(vocabulary, images=ImageOptions(GroupViTImageEncoder(**SIZES)))
    with pytest.raises(ModelError, match="vectors of 10 numbers are wanted"):
        build(vocabulary).image_vectors(torch.zeros(2, 9))
    with pytest.raises(ModelError, match="pooled vectors say nothing of positions"):
        build(vocabulary).ground(batch().images, ["a"], torch.tensor([0]))
    with pytest.raises(ValueError, match="cache_chunk must be at least 1, not 0"):
        MemoryOptions(cache_chunk=0)
    with pytest.raises(ModelError, match=r"not found.+set --model\.text\.vocabulary"):
        build(tmp_path / "none.txt")


# Weights.


class Config(dict):
    """Of a class that the official file's reader does not have."""


def official_file(path: Path, seed: int) -> GroupViTImageEncoder:
    """Writes an encoder's weights as they are published, and returns the encoder."""
    torch.manual_seed(seed)
    encoder = GroupViTImageEncoder(**SIZES)
    config = Config(lr=1, nested=[Config()])
    torch.save({"model": official(encoder.state_dict()), "config": config, "epoch": 1}, path)
    return encoder


def image_batch() -> ImageTextBatch:
    """Captions with images."""
    images = torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    return ImageTextBatch(images, CAPTIONS, list("012345"))


@pytest.mark.filterwarnings("ignore")
def test_official_weights_are_read_without_running_their_objects(vocabulary: Path, tmp_path: Path) -> None:
    path = tmp_path / "official.pth"
    source = official_file(path, seed=1)
    module = with_encoder(vocabulary, pretrained=path)
    fit(module, [image_batch()], max_steps=1)
    assert module.image_encoder is not None
    assert_close(module.image_encoder.state_dict(), source.state_dict())


@pytest.mark.filterwarnings("ignore")
def test_a_checkpoint_remembers_the_image_encoder_by_its_fingerprint(
    vocabulary: Path, tmp_path: Path
) -> None:
    path = tmp_path / "official.pth"
    official_file(path, seed=1)
    trainer = fit(with_encoder(vocabulary, pretrained=path), [image_batch()], max_steps=1)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
    assert not any(name.startswith("image_encoder.") for name in state)

    def load(module: TextGroupDiscovery) -> None:
        options: dict[str, Any] = {"ckpt_path": tmp_path / "last.ckpt", "weights_only": True}
        quiet_trainer().test(module, [], verbose=False, **options)

    load(with_encoder(vocabulary, pretrained=path))
    load(build(vocabulary, network(image_width=24)))
    for module in (with_encoder(vocabulary), with_encoder(vocabulary, pretrained=tmp_path / "other.pth")):
        official_file(tmp_path / "other.pth", seed=2)
        with pytest.raises(
            ModelError, match=r"other weights of image_encoder: set --model\.images\.pretrained"
        ):
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
        ("none", "not found; set --model.images.pretrained"),
        ("other", "no weights of GroupViT"),
        ("part", "does not fit image_encoder: .+1 missing"),
        ("torn", "not readable"),
    ):
        file = with_encoder(vocabulary, pretrained=tmp_path / f"{name}.pth").part_files[-1]
        with pytest.raises(ModelError, match=sentence):
            file.load(module)


def test_a_checkpoint_knows_its_vocabulary(vocabulary: Path) -> None:
    module = build(vocabulary)
    checkpoint: dict[str, Any] = {"state_dict": module.state_dict(), "global_step": 3}
    module.on_save_checkpoint(checkpoint)
    module.on_load_checkpoint(checkpoint)
    with pytest.raises(ModelError, match="another vocabulary"):
        module.on_load_checkpoint(checkpoint | {"vocabulary_digest": "other"})
