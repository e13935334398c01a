"""How long a training step of HIST takes: its texts in few large passes, against passes of their own for
every text and every loss.

    python -m benchmarks.hist_step [--size tiny] [--device cuda]

The network is the demonstration's, the batch 64 pictures with a phrase, its subject and, for most, a partner;
forward, backward and optimiser step are timed, best of the repeats. The baselines are what a straightforward
port of the public codes does: positives, negatives, masked texts, subjects, partners and composites one after
the other, with the picture's tokens copied for each pair, and in the second baseline with the picture encoded
anew for each kind of text. All must agree on the losses.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
import yaml
from torch import Tensor

from benchmarks._common import Report, Size, best_seconds, rate_row, report, trainer_half_an_epoch_on
from datamodules.batches import PhraseBatch
from datamodules.synthetic.scene_grammar import COLOURS, FILLS, SHAPES, SIZES
from lightning_modules.backbones.albef import ALBEFBackbone, EncodedImages
from lightning_modules.backbones.base import Texts, TrainingStep
from lightning_modules.backbones.losses import Features, contrastive_loss, matching_loss
from lightning_modules.hist.module import HISTFinetune
from networks.albef import ALBEF
from networks.layers.bert import BertSize
from networks.layers.momentum_contrast import ContrastSize
from networks.layers.vit import ViTSize

DEMO = Path(__file__).parents[1] / "configs" / "demo"


class SeparatePasses(ALBEFBackbone):
    """Each kind of text for itself."""

    pictures: Tensor
    encode_again = False

    def encode_for_training(self, images: Tensor, step: TrainingStep) -> EncodedImages:
        """As usual; the pictures are kept for those who encode them again."""
        self.pictures = images
        return super().encode_for_training(images, step)

    def again(self, encoded: EncodedImages) -> EncodedImages:
        """The encoded pictures, encoded anew where that is compared."""
        if not self.encode_again:
            return encoded
        network = self.network
        tokens = network.encode_image(self.pictures)
        with torch.no_grad():
            momentum = network.encode_image(self.pictures, momentum=True)
            feature = network.image_feature(momentum, momentum=True)
        return EncodedImages(tokens, momentum, Features(network.image_feature(tokens), feature))

    def losses(
        self,
        encoded: EncodedImages,
        levels: Sequence[Texts],
        step: TrainingStep,
        mentioned: Sequence[frozenset[str]] | None = None,
    ) -> dict[str, Tensor]:
        """The same terms, one text and one loss after the other."""
        network = self.network
        terms: dict[str, Tensor] = {}
        for level in levels:
            if level.prefix:
                encoded = self.again(encoded)
            tokens = self.tokenize(level.texts)
            hidden = network.encode_text(*tokens)
            features = self.text_features(hidden, tokens)
            contrast = contrastive_loss(
                encoded.features,
                features,
                network.image_queue,
                network.text_queue,
                network.temp,
                self.distillation_share(step),
            )
            image_of_text, text_of_image = self.draw_negatives(contrast, level.texts, mentioned)
            positive = network.fuse(hidden, tokens.mask, encoded.tokens).hidden
            negative = network.fuse(
                torch.cat([hidden, hidden[text_of_image]]),
                torch.cat([tokens.mask, tokens.mask[text_of_image]]),
                torch.cat([encoded.tokens[image_of_text], encoded.tokens]),
            ).hidden
            matching = matching_loss(network.match_logits(positive), network.match_logits(negative))
            terms |= {f"{level.prefix}itc": contrast.loss, f"{level.prefix}itm": matching}
            if not level.prefix:
                masked = self.mask(tokens)
                masked_hidden = network.encode_text(masked.masked_ids, tokens.mask)
                fused = network.fuse(masked_hidden, tokens.mask, encoded.tokens).hidden
                terms["mlm"] = self.masked_language_term(fused, masked, encoded, step)
                phrases = features.momentum
        network.enqueue(encoded.features.momentum, phrases)
        return terms

    def training_maps(
        self, encoded: EncodedImages, texts: Sequence[str], image_of_text: Tensor, kinds: int = 1
    ) -> Tensor:
        """The same maps, one kind of text after the other, with the pictures' tokens copied for each."""
        maps = []
        rows = image_of_text.chunk(kinds)
        size = len(texts) // kinds
        for kind in range(kinds):
            encoded = self.again(encoded)
            tokens = self.tokenize(texts[kind * size : (kind + 1) * size])
            hidden = self.network.encode_text(*tokens)
            fused = self.network.fuse(
                hidden,
                tokens.mask,
                encoded.tokens[rows[kind]],
                attention_layers=self.training_reading.layers,
                create_graph=True,
            )
            maps.append(self.activation_map(fused, tokens, self.training_reading, create_graph=True))
        return torch.cat(maps)


class EncodeAgain(SeparatePasses):
    """The same, and the pictures are encoded anew for each kind of text."""

    encode_again = True


def demo_network() -> ALBEF:
    """The demonstration's, with the weights of seed 0."""
    backbone = yaml.safe_load((DEMO / "pretrain.yaml").read_text())["model"]["init_args"]["backbone"]
    sizes = backbone["init_args"]["network"]["init_args"]
    torch.manual_seed(0)
    return ALBEF(
        ViTSize(**sizes["vision"]),
        BertSize(**sizes["text"]),
        ContrastSize(**sizes["contrast"]),
        sizes["fusion_layer"],
    )


def demo_module(cls: type[ALBEFBackbone], device: str) -> HISTFinetune:
    """With the weights of seed 0, half an epoch after the start, and no trainer."""
    module = HISTFinetune(cls(demo_network(), DEMO / "scenes_vocab.txt")).to(device)
    module.trainer = trainer_half_an_epoch_on()
    return module


def fake_batch(rows: int, device: str) -> PhraseBatch:
    """Phrases of two to five words; one in eight has no partner."""
    generator = torch.Generator().manual_seed(0)

    def phrase() -> tuple[str, str]:
        kinds = (("a", "the"), SIZES, FILLS, COLOURS, SHAPES)
        words = [kind[int(torch.randint(len(kind), (), generator=generator))] for kind in kinds]
        is_kept = torch.rand(5, generator=generator) < torch.tensor([1.0, 0.25, 0.3, 0.8, 1.0])
        return " ".join(word for word, kept in zip(words, is_kept.tolist(), strict=True) if kept), words[-1]

    phrases, subjects = zip(*(phrase() for _ in range(rows)), strict=True)
    partners = [None if row % 8 == 7 else phrase()[0] for row in range(rows)]
    images = torch.randn(rows, 3, 64, 64, generator=generator).to(device)
    return PhraseBatch(images, list(phrases), list(subjects), partners, [str(row) for row in range(rows)])


def step(
    module: HISTFinetune, batch: PhraseBatch, optimizer: torch.optim.Optimizer | None
) -> dict[str, Tensor]:
    """The terms of one step; without an optimiser, of its forward pass alone."""
    terms: dict[str, Tensor] = {}
    module.log_terms = lambda loss, logged: terms.update(logged)  # type: ignore[method-assign, assignment]
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


WAYS: dict[str, type[ALBEFBackbone]] = {
    "batched": ALBEFBackbone,
    "separate passes": SeparatePasses,
    "separate, pictures encoded again": EncodeAgain,
}


def finished_step(module: HISTFinetune, batch: PhraseBatch, optimizer: torch.optim.Optimizer) -> None:
    """A step for which the device was waited."""
    step(module, batch, optimizer)
    if batch.images.is_cuda:
        torch.cuda.synchronize()


def run(size: Size, device: str = "cpu") -> Report:
    """Time and memory of every way, as multiples of the batched step's."""
    batch = fake_batch(8 if size == "tiny" else 64, device)
    modules = {name: demo_module(cls, device) for name, cls in WAYS.items()}
    expected = step(modules["batched"], batch, None)
    for name in ("separate passes", "separate, pictures encoded again"):
        terms = step(modules[name], batch, None)
        for term in ("itc", "subject_itc", "add"):  # ITM and MLM draw negatives and masks by chance
            torch.testing.assert_close(terms[term], expected[term], rtol=1e-3, atol=1e-5)
    steps = {}
    for name, module in modules.items():
        optimizer = torch.optim.AdamW(module.parameters(), lr=1e-5)
        steps[name] = partial(finished_step, module, batch, optimizer)
    seconds = best_seconds(steps, 1 if size == "tiny" else 5)
    memory = {name: kept_for_backward(module, batch) for name, module in modules.items()}
    lines = []
    rows = []
    for name in WAYS:
        ratio = seconds[name] / seconds["batched"]
        kept = f"{memory[name] / 2**20:7.0f} MiB kept for backward"
        lines.append(f"{name:34} {1000 * seconds[name]:8.0f} ms a step  x {ratio:4.2f}  {kept}")
        if name != "batched":
            share = f"{memory['batched'] / memory[name]:.2f} x"
            path = f"HIST's step, the demo's size, {len(batch.phrases)} phrases"
            rows.append(rate_row(path, "steps", 1 / seconds["batched"], 1 / seconds[name], name, share))
    return Report(lines, rows)


def main(argv: Sequence[str] | None = None) -> None:
    report(run, __doc__, argv, device="cpu")


if __name__ == "__main__":
    main()
