"""Captions to tokens that remember their words."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lightning_modules.errors import ModelError
from lightning_modules.text_group.tokenizer import ChosenPieces, CLIPTokenizer, WordPieces, tokenizer_of
from tests.lightning_modules.conftest import WORDS
from tests.lightning_modules.text_group.helpers import CAPTIONS


def test_clip_pieces_are_open_clips() -> None:
    open_clip = pytest.importorskip("open_clip")
    captions = ["A skateboarder's T-shirt, at 5pm!", "Zwei Männer", "dog " * 100]
    pieces = CLIPTokenizer()(captions)
    expected = open_clip.tokenize(captions)
    for row in range(3):
        length = int(pieces.mask[row].sum())
        assert pieces.ids[row, :length].tolist() == expected[row, :length].tolist()
        assert not expected[row, length:].any()
        assert len(pieces.words[row]) == length - 2
    assert pieces.words[0][:4] == [0, 1, 1, 1]
    assert pieces.ids.shape == (3, 77)


def test_chosen_pieces_are_numbered_in_the_files_order(tmp_path: Path) -> None:
    pytest.importorskip("open_clip")
    clip = CLIPTokenizer()
    dog = clip.pieces("dog")[0]
    red = clip.pieces("red")[0]
    path = tmp_path / "pieces.txt"
    path.write_text(f"{dog}\n{red}\n")
    chosen = tokenizer_of(path)
    assert isinstance(chosen, ChosenPieces)
    assert chosen(["red dog sits"]).ids.tolist() == [[2, 5, 4, 1, 3]]
    assert chosen.vocab_size == 6


def test_a_vocabulary_of_berts_kind(vocabulary: Path, tmp_path: Path) -> None:
    chosen = tokenizer_of(vocabulary)
    assert isinstance(chosen, WordPieces)
    assert chosen(["red dog", ""], 3).ids.tolist() == [[2, WORDS.index("red"), 3], [2, 3, 0]]
    (tmp_path / "open.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[MASK]\na")
    with pytest.raises(ModelError, match=r"has no \[SEP\]"):
        tokenizer_of(tmp_path / "open.txt")


def test_parts_are_no_longer_than_their_longest_caption(vocabulary: Path) -> None:
    pieces = tokenizer_of(vocabulary)(CAPTIONS)
    parts = pieces.split(4)
    assert [len(part.ids) for part in parts] == [4, 2]
    assert [part.ids.shape[1] for part in parts] == [10, 8]
    assert torch.equal(torch.cat([part.ids[:, :8] for part in parts]), pieces.ids[:, :8])
    assert all(int(part.mask.sum()) == sum(map(len, part.words)) + 2 * len(part.ids) for part in parts)
