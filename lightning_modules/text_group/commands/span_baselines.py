"""Baselines of groups of words: cuts and clusterings that are judged as a model of groups is."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from jsonargparse import ArgumentError, ArgumentParser

import lightning_modules.catalogue  # noqa: F401 (makes the classes known by their short names)
from callbacks.evaluations.results import Result
from datamodules.chunkers import RuleChunker
from datamodules.sets.flickr30k_spans import EntitiesSpans, SpanFile
from lightning_modules.base import WeakgroundModule
from lightning_modules.errors import ModelError
from lightning_modules.text_group.tokenizer import CLIPTokenizer, read_openers
from metrics.token_groups import (
    equal_pieces,
    function_word_pieces,
    joined_by_place,
    k_means,
    mean_shift,
    of_words,
    one_group,
    opener_pieces,
    random_groups,
    singletons,
    span_groups,
    spectral,
)
from metrics.token_iou import TokenIoU

# From the words of a caption, and the word of every token, to the group of every token.
Grouper = Callable[[list[str], list[int]], list[int]]


def groupers(pieces: int, seed: int) -> dict[str, Grouper]:
    """The baselines that need no model, by name.

    Args:
        pieces: number of groups, of those that have one.
        seed: of the random groups.
    """
    rng = np.random.default_rng(seed)
    chunker = RuleChunker(drop_settings=False)

    def rules(words: list[str], word_of_token: list[int]) -> list[int]:
        phrases = chunker([" ".join(words)])[0]
        spans = [(phrase.start, phrase.end) for phrase in phrases]
        return of_words(span_groups(len(words), spans), word_of_token)

    return {
        "one group": lambda words, word_of_token: one_group(len(word_of_token)),
        f"random ({pieces})": lambda words, word_of_token: random_groups(len(word_of_token), pieces, rng),
        "singletons": lambda words, word_of_token: singletons(len(word_of_token)),
        f"equal pieces ({pieces})": lambda words, word_of_token: equal_pieces(len(word_of_token), pieces),
        "cut at function words": lambda words, word_of_token: of_words(
            function_word_pieces(words), word_of_token
        ),
        "rule chunker": rules,
    }


def opener_groupers(pieces: int, openers: Sequence[str]) -> dict[str, Grouper]:
    """The baselines that cut captions at openers, by name."""

    def cut(words: list[str], word_of_token: list[int]) -> list[int]:
        return of_words(opener_pieces(words, openers), word_of_token)

    def joined(words: list[str], word_of_token: list[int]) -> list[int]:
        return joined_by_place(cut(words, word_of_token), pieces)

    return {"cut at openers": cut, f"cut at openers, joined ({pieces})": joined}


def clusterers(module: Any, pieces: int, seed: int) -> dict[str, Grouper]:
    """The baselines that cluster the token vectors of a trained module, by name.

    Raises:
        ModelError: the module has no such vectors.
    """
    latest: dict[str, np.ndarray] = {}  # of the caption that is judged; all clusterers ask for it in turn

    def vectors_of(words: list[str]) -> np.ndarray:
        text = " ".join(words)
        if text not in latest:
            latest.clear()
            latest[text] = module.token_vectors([text])[0][0].cpu().numpy()
        return latest[text]

    return {
        f"k-means ({pieces})": lambda words, _: k_means(vectors_of(words), pieces, seed),
        f"spectral ({pieces})": lambda words, _: spectral(vectors_of(words), pieces, seed),
        "mean shift": lambda words, _: mean_shift(vectors_of(words)),
    }


def load_run(folder: Path) -> Any:
    """The module of a run with its last checkpoint.

    Raises:
        ModelError: the folder holds no run, or one of another version.
    """
    config = folder / "config.yaml"
    checkpoint = folder / "checkpoints" / "last.ckpt"
    if not config.is_file() or not checkpoint.is_file():
        raise ModelError(
            f"{folder} holds no run (config.yaml and checkpoints/last.ckpt); --run takes the folder of one."
        )
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(WeakgroundModule, "model")
    content = yaml.safe_load(config.read_text(encoding="utf-8"))
    try:
        module = parser.instantiate_classes(parser.parse_object({"model": content["model"]})).model
    except ArgumentError as error:
        raise ModelError(
            f"{config} does not fit this version, whose options have changed since; train the run anew."
        ) from error
    module.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"])
    return module.eval()


def sources_of(options: argparse.Namespace) -> Iterator[tuple[str, Any]]:
    """The sets to be judged, by name.

    Raises:
        DataError: a file is missing or damaged.
    """
    for path in options.spans:
        yield path.name.split(".")[0], SpanFile(path)
    if options.root:
        yield options.split, EntitiesSpans(options.root, options.split)


def judge(options: argparse.Namespace) -> list[Result]:
    """Judges every baseline on every set.

    Args:
        options: see `python cli.py spans --help`.

    Raises:
        DataError: a file is missing or damaged.
        ModelError: ``options.run`` is no run.
    """
    methods = groupers(options.pieces, options.seed)
    tokenize: Callable[[list[str]], Any] = CLIPTokenizer()
    if options.openers:
        methods |= opener_groupers(options.pieces, read_openers(options.openers))
    if options.run:
        module = load_run(options.run)
        tokenize = module.tokenize
        methods |= clusterers(module, options.pieces, options.seed)
    results = []
    for name, source in sources_of(options):
        scores = {method: TokenIoU(options.level) for method in methods}
        for index in range(min(len(source), options.limit or len(source))):
            words = source.words(index)
            word_of_token = tokenize([" ".join(words)]).words[0]
            for method, score in scores.items():
                groups = methods[method](words, word_of_token)
                score.update([(groups, word_of_token)], [source.spans(index)])
        for method, score in scores.items():
            for metric, estimate in score.compute().items():
                results.append(Result(name, options.level, method, metric, **asdict(estimate)))
    return results
