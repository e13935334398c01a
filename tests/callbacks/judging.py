"""Judging a module on given data through a trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from commands.connect import connect
from datamodules.base import GroundingDataModule
from datamodules.batches import Preprocessing
from lightning_modules.base import WeakgroundModule
from lightning_modules.capabilities import ScoredWords
from lightning_modules.optimisation import Optimisation


class Data(GroundingDataModule):
    """Given sources, to be judged on."""

    name = "data"

    def __init__(self, **sources: Any) -> None:
        super().__init__(batch_size=2, num_workers=0, max_skipped=1.0)
        self.sources = sources

    def training_source(self) -> None:
        return None

    def evaluation_source(self, split: Any) -> Any:
        raise AssertionError

    def evaluation_sources(self, split: Any) -> dict[str, Any]:
        return self.sources


class Capable(WeakgroundModule):
    """A module with every capability, whose answers depend on the brightness of images and the letters of
    texts alone.
    """

    def __init__(self) -> None:
        super().__init__(Optimisation(), None)
        self.network = torch.nn.Linear(1, 1)
        self.preprocessing = Preprocessing(4, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))

    def ground(self, images: Tensor, phrases: list[str], image_of_query: Tensor) -> Tensor:
        """Bright places."""
        return images.mean(dim=1)[image_of_query].clamp(0, 1)

    def group_tokens(self, captions: list[str]) -> list[tuple[list[int], list[int]]]:
        """A token is a word, and words of the same length are a group."""
        words_of_caption = [caption.split() for caption in captions]
        return [([len(word) for word in words], list(range(len(words)))) for words in words_of_caption]

    def match(self, images: Tensor, texts: list[str]) -> Tensor:
        """Bright images go with long texts."""
        lengths = torch.tensor([float(len(text)) for text in texts])
        return images.mean(dim=(1, 2, 3))[:, None] * lengths

    def answer(self, images: Tensor, questions: list[str], image_of_question: Tensor) -> list[str]:
        """Everything is a dog, or a cat."""
        return ["dog" if question == "what?" else "cat" for question in questions]

    match_scores_add_similarity = True

    def embed_images(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Of bright images the features and the one token are large."""
        features = images.mean(dim=(1, 2, 3))[:, None]
        return features, features[:, None]

    def embed_texts(self, texts: list[str]) -> Tensor:
        """So are the features of long texts."""
        return torch.tensor([[float(len(text))] for text in texts])

    def match_scores(self, image_tokens: Tensor, texts: list[str], image_of_text: Tensor) -> Tensor:
        """Bright images go with long texts."""
        return image_tokens[image_of_text, 0, 0] * self.embed_texts(texts)[:, 0]

    def describe(self, images: Any, bank: Any, regions: str = "grid") -> list[list[str]]:
        """Bright images are described by many phrases."""
        return [list(bank[: int(image.mean() * 1000) % 4]) for image in images]

    def encode_texts(self, texts: Any) -> Tensor:
        """Texts of nearly the same length mean nearly the same."""
        angles = torch.tensor([len(text) / 100 for text in texts])
        return torch.stack((angles.cos(), angles.sin()), dim=1)

    def score_tags(self, images: Tensor, captions: list[list[str]], kinds: Any) -> dict[Any, Any]:
        """Long words are to be seen."""
        scores = [torch.tensor([float(len(word)) for word in words]) for words in captions]
        return {kind: [ScoredWords(of_words, of_words > 3) for of_words in scores] for kind in kinds}

    def segment(
        self, images: Tensor, texts: list[str], are_class_names: bool = True, refine: Any = None
    ) -> Tensor:
        """Bright places belong to classes with long names."""
        lengths = torch.tensor([1 / (1 + len(text)) for text in texts])
        masks = images.mean(dim=1, keepdim=True).clamp(0, 1) * lengths[:, None, None]
        return masks if refine is None else refine(images, masks)


def judge(
    root: Path, data: Any, module: WeakgroundModule, *callbacks: pl.Callback, stage: str = "test"
) -> dict[str, float]:
    """The numbers that ``test``, ``validate`` or ``predict`` log."""
    connect(module, data, callbacks)
    trainer = pl.Trainer(
        accelerator="cpu",
        logger=False,
        callbacks=list(callbacks),
        default_root_dir=root,
        inference_mode=False,
        enable_progress_bar=False,
    )
    if stage == "predict":
        trainer.predict(module, data)
        return {}
    logged = getattr(trainer, stage)(module, data, verbose=False)
    return {name: value for values in logged for name, value in values.items()}
