from __future__ import annotations

from pathlib import Path

import pytest

from networks.layers.tokenizer import WordPieceTokenizer, pre_caption, pre_caption_blip

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "dog", "##s", "cafe", ",", "and"]
PAD, UNK, CLS, SEP, MASK, A, DOG, S, CAFE, COMMA, AND = range(len(WORDS))


@pytest.fixture
def tokenizer() -> WordPieceTokenizer:
    return WordPieceTokenizer(WORDS)


def test_albef_texts_have_no_closing_token(tokenizer: WordPieceTokenizer) -> None:
    tokens = tokenizer(["a dog", "Dogs and a zebra"])
    assert tokens.ids.tolist() == [[CLS, A, DOG, PAD, PAD, PAD], [CLS, DOG, S, AND, A, UNK]]
    assert tokens.mask.tolist() == [[1, 1, 1, 0, 0, 0], [1] * 6]
    assert (tokenizer.vocab_size, tokenizer.pad_id, tokenizer.cls_id, tokenizer.mask_id) == (
        11,
        PAD,
        CLS,
        MASK,
    )


def test_blip_texts_have_one_even_when_cut() -> None:
    tokenizer = WordPieceTokenizer(WORDS, add_sep=True)
    assert tokenizer(["a dog"]).ids.tolist() == [[CLS, A, DOG, SEP]]
    assert tokenizer(["a dog and a dog"], max_length=4).ids.tolist() == [[CLS, A, DOG, SEP]]


def test_max_length_counts_special_tokens(tokenizer: WordPieceTokenizer) -> None:
    text = " ".join(["dog"] * 40)
    assert tokenizer([text]).ids.shape == (1, 25)
    assert tokenizer([text], max_length=3).ids.tolist() == [[CLS, DOG, DOG]]
    assert tokenizer([text], max_length=1).ids.tolist() == [[CLS]]
    assert tokenizer([text], max_length=None).ids.shape == (1, 41)
    with pytest.raises(ValueError, match="at most 0 tokens has no room"):
        tokenizer([text], max_length=0)


def test_case_accents_and_punctuation(tokenizer: WordPieceTokenizer) -> None:
    assert tokenizer(["Café,A"]).ids.tolist() == [[CLS, CAFE, COMMA, A]]


def test_special_tokens_in_a_text_are_themselves(tokenizer: WordPieceTokenizer) -> None:
    assert tokenizer(["a [MASK] [SEP]"]).ids.tolist() == [[CLS, A, MASK, SEP]]


def test_texts_without_words(tokenizer: WordPieceTokenizer) -> None:
    assert tokenizer([""]).ids.tolist() == [[CLS]]
    tokens = tokenizer(["", "dog"])
    assert tokens.ids.tolist() == [[CLS, PAD], [CLS, DOG]]
    assert tokens.mask.tolist() == [[1, 0], [1, 1]]
    assert tokenizer([]).ids.shape == (0, 1)


def test_vocabulary_without_special_tokens_is_refused() -> None:
    with pytest.raises(ValueError, match=r"vocabulary of 2 tokens lacks \[UNK\], \[CLS\], \[MASK\]"):
        WordPieceTokenizer(["[PAD]", "dog"])
    without_sep = [word for word in WORDS if word != "[SEP]"]
    assert WordPieceTokenizer(without_sep)(["dog"]).ids.tolist() == [[2, 5]]
    with pytest.raises(ValueError, match=r"lacks \[SEP\]"):
        WordPieceTokenizer(without_sep, add_sep=True)


@pytest.mark.parametrize(
    ("text", "albef", "blip"),
    [
        ("A Man's hat, (red).", "a mans hat red", "a man's hat, red"),
        ("black-and-white / <person>", "black and white person", "black-and-white / <person>"),
        ('Is  it "5:30"?\n', "is it 530", "is it 5 30 ?"),
        ("wow!!! #1 ~ *star*; ok", "wow 1 star ok", "wow 1 star ok"),
        ("?!...", "", "?"),
        ("a.b", "ab", "a b"),
    ],
)
def test_cleaning(text: str, albef: str, blip: str) -> None:
    assert pre_caption(text, 30) == albef
    assert pre_caption_blip(text, 30) == blip


def test_cleaning_keeps_the_first_words() -> None:
    assert pre_caption("one two-three four", 3) == "one two three"
    assert pre_caption_blip("one two-three four", 2) == "one two-three"


@pytest.mark.real_data
def test_bert_vocabulary_gives_the_ids_of_transformers() -> None:
    path = Path(__file__).parents[4] / "shared" / "data" / "bert" / "vocab.txt"
    if not path.exists():
        pytest.skip(f"no vocabulary at {path}")
    theirs = pytest.importorskip("transformers").BertTokenizerFast(str(path), do_lower_case=True)
    ours = WordPieceTokenizer(path.read_text(encoding="utf-8").splitlines(), add_sep=True)
    texts = [
        "A man's hat, (red) -- 5:30",
        "naïve café 中文 skateboarders",
        "",
        "x" * 120,
        "[MASK] a\tb\nc",
        "the umbrella-shaped lamp 🐶",
    ]
    assert (ours.pad_id, ours.cls_id, ours.mask_id, ours.vocab_size) == (0, 101, 103, 30522)
    for length in (25, 6):
        expected = theirs(texts, padding="longest", truncation=True, max_length=length)
        tokens = ours(texts, max_length=length)
        assert tokens.ids.tolist() == expected["input_ids"]
        assert tokens.mask.tolist() == expected["attention_mask"]
