"""How well the rule chunker agrees with the human phrase spans of Flickr30k Entities, and how fast it is.

    python -m benchmarks.chunker_agreement [--spans ../shared/data/flickr30k_spans] [--sample 150 --seed 0]

The rules were developed on the first half of ``train.jsonl.gz``; its second half and the spans of
``val.jsonl.gz`` were kept apart. Only phrases that have a box are marked in these files, so precision is a
lower bound: a right phrase without a box counts as wrong. There is no human annotation of heads; the gold
head is cut from the human phrase by ``gold_head``, which shares no code with the chunker. ``--sample`` prints
phrases of the held-out captions to be judged by reading.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from datamodules.batches import Phrase
from datamodules.chunkers import RuleChunker
from metrics.intervals import wilson

PUNCTUATION = ".,;:!?\"'()-"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


PREPOSITIONS = _words(
    "in on at with to from by for into onto over under near through across behind beside between among around against along above below inside"
    " outside toward towards up down off out during before after upon within without about like past next"
)
RELATIVES = _words("who which that whose where while as")
COLLECTIVES = _words(
    "group groups crowd pair pairs pile piles set sets bunch lot lots couple row rows line lines stack piece pieces number series flock herd"
    " team band pack bundle collection variety array handful cluster clump bouquet flight patch sheet slice strip block glass glasses cup bottle"
    " can bowl plate bucket bag basket box tray roll bale body picture pictures photo image closeup close-up view shot portrait one two three some"
)
FUNCTION_WORDS = (
    PREPOSITIONS
    | RELATIVES
    | _words(
        "and or of is are was were be been being has have having do does he she they it them him there it's . , ; : ! ? \" ( ) - 's"
    )
)
DETERMINERS = _words(
    "a an the this these those his her its their two three four five some several another one many"
)


@dataclass
class Caption:
    tokens: list[str]
    gold: list[tuple[int, int]]


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
        tokens, start, phrases = [*caption.split(), "."], None, []
        for i, token in enumerate(tokens):
            word = token.lower()
            if start is not None and (word in FUNCTION_WORDS or word in DETERMINERS):
                phrases.append(Phrase(" ".join(tokens[start:i]), tokens[i - 1].lower(), start, i))
                start = None
            if start is None and word not in FUNCTION_WORDS:
                start = i
        results.append(phrases)
    return results


def rate(hits: int, n: int) -> str:
    low, high = wilson(hits, n)
    return f"{hits / n:.3f} [{low:.3f}, {high:.3f}] ({hits}/{n})"


def agreement(
    captions: Sequence[Caption], chunk: Callable[[Sequence[str]], list[list[Phrase]]]
) -> dict[str, str]:
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
        "recall, exact spans": rate(exact, gold),
        "precision, lower bound": rate(exact, predicted),
        "head, on exact spans": rate(exact_heads, exact),
        "head, on overlapping spans": rate(overlapping_heads, overlapping),
        "head found, of all human phrases": rate(overlapping_heads, gold),
    }


def captions_per_second(captions: Sequence[str], repeats: int = 3) -> float:
    chunker, best = RuleChunker(), float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        chunker(captions)
        best = min(best, time.perf_counter() - start)
    return len(captions) / best


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--spans", type=Path, default=Path("../shared/data/flickr30k_spans"))
    parser.add_argument(
        "--sample",
        type=int,
        default=0,
        help="print so many random phrases of the held-out captions, to be judged by reading",
    )
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    for name in ("train.jsonl.gz", "val.jsonl.gz"):
        if not (args.spans / name).is_file():
            print(f"skipped: {args.spans / name} not found; name the folder of the span files with --spans.")
            return

    train = read(args.spans / "train.jsonl.gz")
    half = len(train) // 2
    splits = {
        "train, first half (developed on)": train[:half],
        "train, second half": train[half:],
        "val": read(args.spans / "val.jsonl.gz"),
    }
    if args.sample:
        held_out = [" ".join(caption.tokens) for caption in (*splits["train, second half"], *splits["val"])]
        phrases = [
            (caption, phrase)
            for caption, row in zip(held_out, RuleChunker()(held_out), strict=True)
            for phrase in row
        ]
        for i, (caption, phrase) in enumerate(random.Random(args.seed).sample(phrases, args.sample), start=1):
            print(f"{i:4d}  [{phrase.text}] -> {phrase.subject}      {caption}")
        return
    for split, captions in splits.items():
        for method, chunk in (("rules", RuleChunker()), ("split at function words", split_at_function_words)):
            print(f"\n{split}: {len(captions)} captions, {method}")
            for name, value in agreement(captions, chunk).items():
                print(f"    {name:34s} {value}")
    texts = [" ".join(caption.tokens) for caption in train]
    print(f"\nspeed: {captions_per_second(texts):.0f} captions/s on one core (best of 3 over {len(texts)})")


if __name__ == "__main__":
    main()
