"""How well the rule chunker agrees with the human phrase spans of Flickr30k Entities, and how fast it is.

    python -m benchmarks.chunker_agreement [--spans ../shared/data/flickr30k_spans] [--sample 150 --seed 0]
    python -m benchmarks.chunker_agreement --size tiny

The tiny size needs no files: it is a handful of made captions.

The rules were developed on the first half of ``train.jsonl.gz``; its second half and the spans of
``val.jsonl.gz`` were kept apart. Only phrases that have a box are marked in these files, so precision is a
lower bound: a right phrase without a box counts as wrong. There is no human annotation of heads; the gold
head is cut from the human phrase by ``gold_head``, which shares no code with the chunker. ``--sample`` prints
phrases of the held-out captions to be judged by reading.
"""

from __future__ import annotations

import gzip
import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from benchmarks._common import Report, Row, Size, Unavailable, report
from datamodules.batches import Phrase
from datamodules.chunkers import RuleChunker
from metrics.intervals import wilson

SPANS = Path("../shared/data/flickr30k_spans")
DEVELOPED_ON = "train, first half (developed on)"
PUNCTUATION = ".,;:!?\"'()-"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


PREPOSITIONS = _words(
    "in on at with to from by for into onto over under near through across behind beside between among"
    " around against along above below inside outside toward towards up down off out during before after"
    " upon within without about like past next"
)
RELATIVES = _words("who which that whose where while as")
COLLECTIVES = _words(
    "group groups crowd pair pairs pile piles set sets bunch lot lots couple row rows line lines stack"
    " piece pieces number series flock herd team band pack bundle collection variety array handful cluster"
    " clump bouquet flight patch sheet slice strip block glass glasses cup bottle can bowl plate bucket"
    " bag basket box tray roll bale body picture pictures photo image closeup close-up view shot portrait"
    " one two three some"
)
FUNCTION_WORDS = (
    PREPOSITIONS
    | RELATIVES
    | _words(
        "and or of is are was were be been being has have having do does he she they it them him there it's"
        " . , ; : ! ? \" ( ) - 's"
    )
)
DETERMINERS = _words(
    "a an the this these those his her its their two three four five some several another one many"
)


@dataclass
class Caption:
    tokens: list[str]
    gold: list[tuple[int, int]]


class Rate(NamedTuple):
    """``hits`` of ``total``, shown with a 95 % interval."""

    hits: int
    total: int

    @property
    def value(self) -> float:
        return self.hits / self.total

    def __str__(self) -> str:
        interval = wilson(self.hits, self.total)
        return f"{self.value:.3f} [{interval[0]:.3f}, {interval[1]:.3f}] ({self.hits}/{self.total})"


MADE = {
    "a man in a red hat sits on a wooden bench .": [(0, 2), (3, 6), (8, 11)],
    "two dogs are running on the green grass .": [(0, 2), (5, 8)],
    "a group of people stands near the old church .": [(0, 4), (6, 9)],
    "the little girl holds a yellow balloon .": [(0, 3), (4, 7)],
}


def read(path: Path) -> list[Caption]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        records = map(json.loads, lines)
        return [Caption(r["tokens"], sorted({(p["start"], p["end"]) for p in r["phrases"]})) for r in records]


def gold_head(words: Sequence[str]) -> str:
    """The last word of a human phrase, once it is cut at its first preposition, relative word, or participle
    before a preposition.

    "Of" cuts, too, except after a collective ("a group of people" -> people, "the door of a car" -> door).
    """
    lower = [word.lower().strip(PUNCTUATION) for word in words]
    for i in range(1, len(lower)):
        participle = lower[i].endswith(("ing", "ed")) and i + 1 < len(lower) and lower[i + 1] in PREPOSITIONS
        of = lower[i] == "of" and lower[i - 1] not in COLLECTIVES
        if lower[i] in PREPOSITIONS | RELATIVES or participle or of:
            lower = lower[:i]
            break
    return next((word for word in reversed(lower) if word), "")


def split_at_function_words(captions: Sequence[str]) -> list[list[Phrase]]:
    """The baseline: what stands between two function words is a phrase; a determiner opens one; the last word
    is the head.
    """
    results = []
    for caption in captions:
        tokens = [*caption.split(), "."]
        start = None
        phrases = []
        for i, token in enumerate(tokens):
            word = token.lower()
            if start is not None and (word in FUNCTION_WORDS or word in DETERMINERS):
                phrases.append(Phrase(" ".join(tokens[start:i]), tokens[i - 1].lower(), start, i))
                start = None
            if start is None and word not in FUNCTION_WORDS:
                start = i
        results.append(phrases)
    return results


def agreement(
    captions: Sequence[Caption], chunk: Callable[[Sequence[str]], list[list[Phrase]]]
) -> dict[str, Rate]:
    """How well the phrases that a chunker finds agree with those that people marked, as rates by name."""
    found = chunk([" ".join(caption.tokens) for caption in captions])
    gold = exact = predicted = exact_heads = overlapping = overlapping_heads = 0
    for caption, phrases in zip(captions, found, strict=True):
        span_of = {(phrase.start, phrase.end): phrase for phrase in phrases}
        gold += len(caption.gold)
        predicted += len(phrases)
        for start, end in caption.gold:
            head = gold_head(caption.tokens[start:end])
            if match := span_of.get((start, end)):
                exact += 1
                exact_heads += match.subject.split()[-1] == head
            nearest = max(phrases, key=lambda p: min(end, p.end) - max(start, p.start), default=None)
            if nearest and min(end, nearest.end) > max(start, nearest.start):
                overlapping += 1
                overlapping_heads += nearest.subject.split()[-1] == head
    return {
        "recall, exact spans": Rate(exact, gold),
        "precision, lower bound": Rate(exact, predicted),
        "head, on exact spans": Rate(exact_heads, exact),
        "head, on overlapping spans": Rate(overlapping_heads, overlapping),
        "head found, of all human phrases": Rate(overlapping_heads, gold),
    }


def captions_per_second(captions: Sequence[str], repeats: int = 3) -> float:
    chunker = RuleChunker()
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        chunker(captions)
        best = min(best, time.perf_counter() - start)
    return len(captions) / best


def read_splits(folder: Path) -> dict[str, list[Caption]]:
    """The captions of Flickr30k Entities, those on which the rules were developed apart from the others.

    Raises:
        Unavailable: a file is missing.
    """
    for name in ("train.jsonl.gz", "val.jsonl.gz"):
        if not (folder / name).is_file():
            raise Unavailable(f"{folder / name} not found; name the folder of the span files with --spans.")
    train = read(folder / "train.jsonl.gz")
    half = len(train) // 2
    return {
        DEVELOPED_ON: train[:half],
        "train, second half": train[half:],
        "val": read(folder / "val.jsonl.gz"),
    }


def sampled_phrases(captions: Sequence[Caption], number: int, seed: int) -> list[str]:
    """Random phrases of the chunker with their captions, a line each."""
    texts = [" ".join(caption.tokens) for caption in captions]
    phrases = []
    for text, row in zip(texts, RuleChunker()(texts), strict=True):
        phrases += [(text, phrase) for phrase in row]
    chosen = random.Random(seed).sample(phrases, number)
    return [
        f"{i:4d}  [{phrase.text}] -> {phrase.subject}      {text}"
        for i, (text, phrase) in enumerate(chosen, 1)
    ]


def run(size: Size, spans: Path = SPANS, sample: int = 0, seed: int = 0) -> Report:
    """How often as many phrases and heads are right by the rules as by the baseline."""
    if size == "tiny":
        splits = {"made captions": [Caption(text.split(), gold) for text, gold in MADE.items()]}
    else:
        splits = read_splits(spans)
    if sample:
        held_out = [caption for name, split in splits.items() if name != DEVELOPED_ON for caption in split]
        return Report(sampled_phrases(held_out, sample, seed), [])
    lines: list[str] = []
    rows: list[Row] = []
    for split, captions in splits.items():
        rules = agreement(captions, RuleChunker())
        baseline = agreement(captions, split_at_function_words)
        for method, rates in (("rules", rules), ("split at function words", baseline)):
            lines.append(f"\n{split}: {len(captions)} captions, {method}")
            lines += [f"    {name:34s} {rate}" for name, rate in rates.items()]
        for name, rate in rules.items():
            other = baseline[name].value
            path = f"phrases by rules, {split}: {name}"
            texts = (f"{rate.value:.3f}", f"{other:.3f}, split at function words")
            rows.append(Row(path, *texts, rate.value / other))
    texts = [" ".join(caption.tokens) for split in splits.values() for caption in split]
    speed = captions_per_second(texts)
    lines.append(f"\nspeed: {speed:.0f} captions/s on one core (best of 3 over {len(texts)})")
    return Report(lines, rows)


def main(argv: Sequence[str] | None = None) -> None:
    report(run, __doc__, argv, spans=SPANS, sample=0, seed=0)


if __name__ == "__main__":
    main()
