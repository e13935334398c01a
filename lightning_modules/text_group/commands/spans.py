"""Groups of words that no model of groups has found, judged on captions with marked phrases: the baselines'
rows of the table on text groups.

`--run` adds k-means, spectral clustering and mean shift over the token vectors of a trained
`CausalTransformer`. `--write_vocabulary` lists the byte pairs of CLIP's that occur in captions, for
--model.vocabulary; `--write_openers` the words that open a new part of a caption, for --model.openers, and
`--openers` judges what they cut.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from callbacks.evaluations.results import Result, format_table
from datamodules.errors import DataError
from lightning_modules.errors import ModelError
from metrics.token_groups import (
    equal_pieces,
    find_openers,
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

Grouper = Callable[
    [list[str], list[int]], list[int]
]  # words of a caption, the word of every token -> the group of every token


def groupers(pieces: int, seed: int, openers: Sequence[str] = ()) -> dict[str, Grouper]:
    """The baselines that need no model; two more with ``openers``."""
    from datamodules.chunkers import RuleChunker

    rng, chunker = np.random.default_rng(seed), RuleChunker(drop_settings=False)

    def rules(words: list[str], of: list[int]) -> list[int]:
        found = chunker([" ".join(words)])[0]
        return of_words(span_groups(len(words), [(phrase.start, phrase.end) for phrase in found]), of)

    at_openers: dict[str, Grouper] = {
        "cut at openers": lambda words, of: of_words(opener_pieces(words, openers), of),
        f"cut at openers, joined ({pieces})": lambda words, of: joined_by_place(
            of_words(opener_pieces(words, openers), of), pieces
        ),
    }
    return {
        "one group": lambda words, of: one_group(len(of)),
        f"random ({pieces})": lambda words, of: random_groups(len(of), pieces, rng),
        "singletons": lambda words, of: singletons(len(of)),
        f"equal pieces ({pieces})": lambda words, of: equal_pieces(len(of), pieces),
        "cut at function words": lambda words, of: of_words(function_word_pieces(words), of),
        "rule chunker": rules,
    } | (at_openers if openers else {})


def clusterers(module: Any, pieces: int, seed: int) -> dict[str, Grouper]:
    """The baselines that cluster the token vectors of a trained module.

    Raises:
        ModelError: the module has no such vectors.
    """
    vectors: dict[str, np.ndarray] = {}

    def of_caption(words: list[str]) -> np.ndarray:
        text = " ".join(words)
        if text not in vectors:
            vectors.clear()  # the clusterers ask for one caption after the other
            vectors[text] = module.token_vectors([text])[0][0].cpu().numpy()
        return vectors[text]

    return {
        f"k-means ({pieces})": lambda words, of: k_means(of_caption(words), pieces, seed),
        f"spectral ({pieces})": lambda words, of: spectral(of_caption(words), pieces, seed),
        "mean shift": lambda words, of: mean_shift(of_caption(words)),
    }


def load_run(folder: Path) -> Any:
    """The module of a run with its last checkpoint.

    Raises:
        ModelError: the folder holds no run, or one of another version.
    """
    import torch
    import yaml
    from jsonargparse import ArgumentError, ArgumentParser

    import lightning_modules.catalogue  # noqa: F401
    from lightning_modules.base import WeakgroundModule

    config, checkpoint = folder / "config.yaml", folder / "checkpoints" / "last.ckpt"
    if not config.is_file() or not checkpoint.is_file():
        raise ModelError(
            f"{folder} holds no run (config.yaml and checkpoints/last.ckpt); --run takes the folder of one."
        )
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(WeakgroundModule, "model")
    try:
        module = parser.instantiate_classes(
            parser.parse_object({"model": yaml.safe_load(config.read_text())["model"]})
        ).model
    except ArgumentError as error:
        raise ModelError(
            f"{config} does not fit this version, whose options have changed since; train the run anew."
        ) from error
    module.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"])
    return module.eval()


def captions_of(options: argparse.Namespace) -> Iterator[tuple[str, Any]]:
    """The sets to be judged, by name."""
    from datamodules.sets.flickr30k_spans import EntitiesSpans, SpanFile

    for path in options.spans:
        yield path.name.split(".")[0], SpanFile(path)
    if options.root:
        yield options.split, EntitiesSpans(options.root, options.split)


def judge(options: argparse.Namespace) -> list[Result]:
    """Every baseline on every set."""
    from lightning_modules.text_group.tokenizer import CLIPTokenizer, read_openers

    if options.run:
        module = load_run(options.run)
        found, tokenize = clusterers(module, options.pieces, options.seed), module.tokenize
    else:
        found, tokenize = {}, CLIPTokenizer()
    methods = (
        groupers(options.pieces, options.seed, read_openers(options.openers) if options.openers else [])
        | found
    )
    results = []
    for name, source in captions_of(options):
        scores = {method: TokenIoU(options.level) for method in methods}
        for index in range(min(len(source), options.limit or len(source))):
            words = source.words(index)
            of = tokenize([" ".join(words)]).words[0]
            for method, score in scores.items():
                score.update([(methods[method](words, of), of)], [source.spans(index)])
        results += [
            Result(name, options.level, method, metric, **asdict(estimate))
            for method, score in scores.items()
            for metric, estimate in score.compute().items()
        ]
    return results


def write_vocabulary(captions: list[Path], path: Path, at_least: int) -> str:
    """The byte pairs that occur ``at_least`` so often, the most frequent first."""
    from datamodules.sets.caption_vectors import CaptionList
    from lightning_modules.text_group.tokenizer import CLIPTokenizer

    source, tokenizer = CaptionList(captions), CLIPTokenizer()
    counts = Counter(
        piece
        for index in range(len(source))
        for text in source.captions(index)
        for word in text.split()
        for piece in tokenizer.pieces(word)
    )
    kept = [piece for piece, count in counts.most_common() if count >= at_least]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(map(str, kept)) + "\n")
    covered = sum(counts[piece] for piece in kept) / max(1, counts.total())
    return f"{len(kept):,} of {len(counts):,} pieces ({covered:.2%} of all tokens) written to {path}; set network.vocab_size to {len(kept) + 4}"


def write_openers(captions: list[Path], path: Path, count: int) -> str:
    """The words that open a new part of a caption, best first."""
    from datamodules.sets.caption_vectors import CaptionList

    source = CaptionList(captions)
    found = find_openers(
        (text.split() for index in range(len(source)) for text in source.captions(index)), count
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(found) + "\n", encoding="utf-8")
    return f"{len(found)} openers written to {path}: {' '.join(found)}"


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="cli.py spans", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--spans", type=Path, nargs="*", default=[], help="files of json lines with tokens and phrases"
    )
    parser.add_argument(
        "--root", type=Path, help="folder of Flickr30k Entities, instead of or beside --spans"
    )
    parser.add_argument("--split", default="val")
    parser.add_argument(
        "--run", type=Path, help="folder of a trained CausalTransformer, whose token vectors are clustered"
    )
    parser.add_argument("--level", choices=("subword", "word"), default="subword")
    parser.add_argument("--pieces", type=int, default=4, help="number of groups of those that have one")
    parser.add_argument("--limit", type=int, help="captions of each set")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--write_vocabulary", type=Path, help="write the byte pairs of --captions to this file"
    )
    parser.add_argument(
        "--write_openers", type=Path, help="write the words of --captions that open a new part to this file"
    )
    parser.add_argument("--count", type=int, default=40, help="number of openers")
    parser.add_argument("--openers", type=Path, help="also judge captions cut at the words of this file")
    parser.add_argument("--captions", type=Path, nargs="*", default=[])
    parser.add_argument("--at_least", type=int, default=3, help="how often a byte pair must occur")
    options = parser.parse_args(argv[1:])
    if not (options.spans or options.root or options.write_vocabulary or options.write_openers):
        parser.error("name --spans FILE, --root FOLDER, --write_vocabulary FILE or --write_openers FILE")
    if (options.write_vocabulary or options.write_openers) and not options.captions:
        parser.error("--captions FILE says what to count in")
    try:
        if options.write_vocabulary:
            print(write_vocabulary(options.captions, options.write_vocabulary, options.at_least))
        if options.write_openers:
            print(write_openers(options.captions, options.write_openers, options.count))
        if options.spans or options.root:
            print(format_table(judge(options)))
    except (DataError, ModelError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(["spans", *sys.argv[1:]]))
