"""How long a training step of HIST takes: its texts in few large passes, against passes of their own for
every text and every loss.

    python -m benchmarks.hist_step [--quick] [--device cuda]

The network is the demonstration's, the batch 64 pictures with a phrase, its subject and, for most, a partner;
forward, backward and optimiser step are timed, best of the repeats. The baselines are what a straightforward
port of the public codes does: positives, negatives, masked texts, subjects, partners and composites one after
the other, with the picture's tokens copied for each pair, and in the second baseline with the picture encoded
anew for each kind of text. All must agree on the losses.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import yaml
from lightning_modules.albef.module import Images
from torch import Tensor
from tqdm import tqdm

from datamodules.batches import PhraseBatch
from datamodules.synthetic.scene_grammar import COLOURS, FILLS, SHAPES, SIZES
from lightning_modules.hist.losses import Features, addition_loss, contrastive_loss, matching_loss
from lightning_modules.hist.module import HISTFinetune
from networks.albef import ALBEF

DEMO = Path(__file__).parents[1] / "configs" / "demo"


class SeparatePasses(HISTFinetune):
    """Each kind of text for itself."""

    batch: PhraseBatch
    encode_again = False

    def training_step(self, batch: PhraseBatch, batch_idx: int) -> Tensor:  # type: ignore[override]
        self.batch = batch
        return super().training_step(batch, batch_idx)

    def again(self, images: Images) -> Images:
        if not self.encode_again:
            return images
        network, pictures = self.network, self.batch.images
        tokens = network.encode_image(pictures)
        with torch.no_grad():
            momentum = network.encode_image(pictures, momentum=True)
            feature = network.image_feature(momentum, momentum=True)
        return Images(tokens, momentum, Features(network.image_feature(tokens), feature))

    def vision_language_terms(self, images: Images, levels: dict[str, list[str]]) -> dict[str, Tensor]:
        network = self.network
        terms: dict[str, Tensor] = {}
        for name, texts in levels.items():
            if name:
                images = self.again(images)
            tokens = self.tokenize(texts)
            hidden = network.encode_text(*tokens)
            features = self.text_features(hidden, tokens)
            contrast = contrastive_loss(
                images.features,
                features,
                network.image_queue,
                network.text_queue,
                network.temp,
                self.distillation_now,
            )
            of_text, of_text_negatives = self.draw_negatives(contrast, texts)
            positive = network.fuse(hidden, tokens.mask, images.tokens).hidden
            pairs = (
                torch.cat([hidden, hidden[of_text_negatives]]),
                torch.cat([tokens.mask, tokens.mask[of_text_negatives]]),
            )
            negative = network.fuse(*pairs, torch.cat([images.tokens[of_text], images.tokens])).hidden
            terms |= {
                f"{name}itc": contrast.loss,
                f"{name}itm": matching_loss(network.match_logits(positive), network.match_logits(negative)),
            }
            if not name:
                masked_ids, chosen = self.mask(tokens)
                fused = network.fuse(
                    network.encode_text(masked_ids, tokens.mask), tokens.mask, images.tokens
                ).hidden
                terms["mlm"] = self.masked_language_term(fused, tokens, masked_ids, chosen, images)
                phrases = features.momentum
        self.enqueue(images.features.momentum, phrases)
        return terms

    def addition_term(self, images: Images, batch: PhraseBatch) -> Tensor:
        rows = [row for row, partner in enumerate(batch.partners) if partner]
        phrases, partners = [batch.phrases[row] for row in rows], [str(batch.partners[row]) for row in rows]
        maps = []
        for texts in (
            phrases,
            partners,
            [f"{phrase} and {partner}" for phrase, partner in zip(phrases, partners, strict=True)],
        ):
            images, tokens = self.again(images), self.tokenize(texts)
            hidden = self.network.encode_text(*tokens)
            fused = self.network.fuse(
                hidden, tokens.mask, images.tokens[rows], return_attention=True, create_graph=True
            )
            maps.append(self.activation_map(fused, tokens.mask, create_graph=True))
        return addition_loss(maps[0], maps[1], maps[2])


class EncodeAgain(SeparatePasses):
    encode_again = True


def demo_module(cls: type[HISTFinetune], device: str) -> HISTFinetune:
    """With the weights of seed 0, half an epoch after the start, and no trainer."""
    sizes = yaml.safe_load((DEMO / "pretrain.yaml").read_text())["model"]["init_args"]["network"]["init_args"]
    torch.manual_seed(0)
    module = cls(ALBEF(**sizes), DEMO / "scenes_vocab.txt").to(device)
    progress = SimpleNamespace(batch_progress=SimpleNamespace(current=SimpleNamespace(processed=1)))
    run = {"world_size": 1, "accumulate_grad_batches": 1, "current_epoch": 0, "num_training_batches": 2}
    module.trainer = SimpleNamespace(**run, fit_loop=SimpleNamespace(epoch_loop=progress))  # type: ignore[assignment]
    return module


def fake_batch(rows: int, device: str) -> PhraseBatch:
    """Phrases of two to five words; one in eight has no partner."""
    generator = torch.Generator().manual_seed(0)

    def phrase() -> tuple[str, str]:
        kinds = (("a", "the"), SIZES, FILLS, COLOURS, SHAPES)
        words = [kind[int(torch.randint(len(kind), (), generator=generator))] for kind in kinds]
        said = torch.rand(5, generator=generator) < torch.tensor([1.0, 0.25, 0.3, 0.8, 1.0])
        return " ".join(word for word, kept in zip(words, said.tolist(), strict=True) if kept), words[-1]

    phrases, subjects = zip(*(phrase() for _ in range(rows)), strict=True)
    partners = [None if row % 8 == 7 else phrase()[0] for row in range(rows)]
    images = torch.randn(rows, 3, 64, 64, generator=generator).to(device)
    return PhraseBatch(images, list(phrases), list(subjects), partners, [str(row) for row in range(rows)])


def step(
    module: HISTFinetune, batch: PhraseBatch, optimizer: torch.optim.Optimizer | None
) -> dict[str, Tensor]:
    terms: dict[str, Tensor] = {}
    module.log_terms = lambda loss, of_step: terms.update(of_step)  # type: ignore[method-assign, assignment]
    loss = module.training_step(batch, 0)
    if optimizer is not None:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return terms


def kept_for_backward(module: HISTFinetune, batch: PhraseBatch) -> int:
    """Bytes that the forward pass keeps, weights and queues left out."""
    own = {tensor.untyped_storage().data_ptr() for tensor in (*module.parameters(), *module.buffers())}
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        step(module, batch, None)
    return sum(kept.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="16 pictures, two repeats")
    arguments = parser.parse_args()
    batch = fake_batch(16 if arguments.quick else 64, arguments.device)
    modules = {
        name: demo_module(cls, arguments.device)
        for name, cls in {
            "batched": HISTFinetune,
            "separate passes": SeparatePasses,
            "separate, pictures encoded again": EncodeAgain,
        }.items()
    }
    first: dict[str, dict[str, Any]] = {name: step(module, batch, None) for name, module in modules.items()}
    for terms in first.values():  # ITM and MLM draw negatives and masks by chance
        for term in ("itc", "subject_itc", "add"):
            torch.testing.assert_close(terms[term], first["batched"][term], rtol=1e-3, atol=1e-5)
    optimizers = {name: torch.optim.AdamW(module.parameters(), lr=1e-5) for name, module in modules.items()}
    seconds = dict.fromkeys(modules, float("inf"))
    for _ in tqdm(range(2 if arguments.quick else arguments.repeats), desc="repeats"):
        for name, module in modules.items():
            start = time.perf_counter()
            step(module, batch, optimizers[name])
            if batch.images.is_cuda:
                torch.cuda.synchronize()
            seconds[name] = min(seconds[name], time.perf_counter() - start)
    for name, module in modules.items():
        ratio = seconds[name] / seconds["batched"]
        print(
            f"{name:34} {1000 * seconds[name]:8.0f} ms a step  x {ratio:4.2f}  {kept_for_backward(module, batch) / 2**20:7.0f} MiB kept for backward"
        )


if __name__ == "__main__":
    main()
