"""A training step of text group discovery."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from datamodules.batches import ImageTextBatch
from lightning_modules.errors import ModelError
from lightning_modules.optimisation import Optimisation
from lightning_modules.text_group.gradient_cache import random_state, replayed
from lightning_modules.text_group.losses import contrastive_loss
from lightning_modules.text_group.options import (
    LossWeights,
    MemoryOptions,
    ReconstructionOptions,
)
from networks.text_group import CausalTransformer, TextGroupTransformer
from tests.lightning_modules.conftest import fit
from tests.lightning_modules.text_group.helpers import (
    CAPTIONS,
    SIZE,
    batch,
    build,
    image_batch,
    network,
    with_encoder,
)


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


@pytest.mark.parametrize("candidates", ["vocabulary", "batch"])
def test_losses_of_a_step_are_the_papers(vocabulary: Path, candidates: Any) -> None:
    module = build(vocabulary, reconstruction=ReconstructionOptions(candidates=candidates))
    module.eval()  # no Gumbel noise
    _, logged = gradients_of(module, batch())
    images = module.network.image_feature(batch().images)
    texts = []
    reconstruction = []
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
    first = torch.rand(5)
    following = torch.rand(5)
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
    module: Any = build(vocabulary, encoder, optimisation=optimisation, memory=MemoryOptions(chunk))
    losses: list[float] = []
    module.log_terms = lambda loss, terms: losses.append(loss.item())
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
        (first, first_logged) = of_rank(0, chunk)
        (second, second_logged) = of_rank(1, chunk)
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


def test_training_keeps_the_image_encoder_asleep(vocabulary: Path) -> None:
    module = with_encoder(vocabulary)
    assert module.image_encoder is not None
    gradients, _ = gradients_of(module.train(), image_batch())
    assert not any(name.startswith("image_encoder") for name in gradients)
    assert not any(part.training for part in module.image_encoder.modules())
