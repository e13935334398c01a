"""Phrases as spans over words: Flickr30k Entities' markup, and json lines."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from tests.fakes.judged import Judged

# The sentence, its words, its phrases, and which of them name nothing to be seen.
SENTENCES: list[tuple[str, list[str], list[tuple[int, int]], list[int]]] = [
    (
        "[/EN#11/people A Tall man] in [/EN#12/clothing Red shirts] "
        "stands on [/EN#14/scene/other a street] .",
        ["A", "Tall", "man", "in", "Red", "shirts", "stands", "on", "a", "street", "."],
        [(0, 3), (4, 6), (8, 10)],
        [],
    ),
    (
        "[/EN#13/animals The dog] sees [/EN#0/notvisual nothing] .",
        ["The", "dog", "sees", "nothing", "."],
        [(0, 2), (3, 4)],
        [1],
    ),
    (
        "[/EN#1/people The boy]'s  [/EN#2/other hat], again.",
        ["The", "boy's", "hat,", "again."],
        [(0, 2), (2, 3)],
        [],
    ),
    ("A plain sentence without phrases .", [], [], []),
    ("[/EN#1/people A man [/EN#2/people and a boy] .", [], [], []),
    ("[/EN#0/notvisual It] rains .", ["It", "rains", "."], [(0, 1)], [0]),
]


def write(root: Path, not_visual: bool = True) -> Judged:
    """Markup of every kind, broken markup, an image without sentences, sentences that are not UTF-8. There
    are no photographs, and none are needed.
    """
    folder = root / "flickr30k_entities"
    (folder / "Sentences").mkdir(parents=True)
    (folder / "Sentences" / "1000.txt").write_text(
        "\n".join(sentence for sentence, *_ in SENTENCES) + "\n", encoding="utf-8"
    )
    (folder / "Sentences" / "1002.txt").write_bytes("[/EN#1/people Ren\u00e9]".encode("latin-1"))
    (folder / "test.txt").write_text("1000\n1001\n1002\n")
    records = {}
    for n, (_, words, spans, unseen) in enumerate(SENTENCES):
        kept = [span for k, span in enumerate(spans) if not_visual or k not in unseen]
        if kept:
            records[f"1000/{n}"] = (words, kept)
    needed = [folder / "Sentences", folder / "test.txt"]
    return Judged(
        {"root": root, "not_visual": not_visual},
        records,
        needed,
        broken={"1000/4", "1001", "1002"},
        useless=1,  # a caption without a phrase
    )


def write_lines(root: Path) -> Judged:
    """A gzip file: two captions of one image, one without a phrase, a broken line, and spans that are
    inverted or leave the caption.
    """
    root.mkdir()

    def row(image: str, words: str, spans: list[tuple[int, int]]) -> str:
        tokens = words.split()
        phrases = [
            {"start": start, "end": end, "phrase": " ".join(tokens[start:end]), "boxes": [[1, 2, 3, 4]]}
            for start, end in spans
        ]
        return json.dumps({"image": image, "tokens": tokens, "phrases": phrases})

    lines = [
        row("7", "A child runs down a road .", [(0, 2), (4, 6)]),
        row("8", "It rains .", []),
        row("7", "Caf\u00e9 tables .", [(0, 2)]),
        '{"image": "9", "tokens": ["A"',
        row("9", "A dog .", [(1, 4)]),
        row("9", "A dog .", [(2, 1)]),
        '{"image": "9", "tokens": ["A"]}',
        "",
    ]
    path = root / "test.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    records = {
        "7/0": (["A", "child", "runs", "down", "a", "road", "."], [(0, 2), (4, 6)]),
        "7/1": (["Caf\u00e9", "tables", "."], [(0, 2)]),
    }
    return Judged({"test_file": path}, records, [path], broken={f"{path.name}:{n}" for n in (4, 5, 6, 7)})
