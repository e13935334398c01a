"""Chunkers find the phrases of captions and their subjects, whatever the caption."""

from __future__ import annotations

import pickle
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest

from datamodules.chunkers import Chunker, LLMChunker, RuleChunker, SpacyChunker
from datamodules.chunkers.llm import Example, locate, parse_phrases, parse_subject
from datamodules.chunkers.rules import head_noun
from datamodules.chunkers.spacy_chunker import phrases_of
from datamodules.errors import DataError

CASES: list[tuple[str, list[tuple[str, str]]]] = [
    ("", []),
    ("   ", []),
    ("... !! , ?", []),
    ("It is raining .", []),
    ("dog", [("dog", "dog")]),
    (
        "A small girl in dark colored clothing .",
        [("A small girl", "girl"), ("dark colored clothing", "clothing")],
    ),
    ("Two men in hats", [("Two men", "men"), ("hats", "hats")]),
    ("A group of people stand in a field .", [("A group of people", "people"), ("a field", "field")]),
    ("A woman walks up a set of stairs", [("A woman", "woman"), ("a set of stairs", "stairs")]),
    ("A man sits on a pile of rocks .", [("A man", "man"), ("a pile of rocks", "rocks")]),
    ("The door of a red car", [("The door of a red car", "door")]),
    ("A glass of beer on the edge of a pool", [("A glass of beer", "beer"), ("the edge of a pool", "pool")]),
    ("A picture of a pair of shoes", [("A picture of a pair of shoes", "shoes")]),
    ("One of the boys runs .", [("One of the boys", "boys")]),
    ("A tall building .", [("A tall building", "building")]),
    ("A building stands near a wedding cake .", [("A building", "building"), ("a wedding cake", "cake")]),
    ("A boy is painting a painting .", [("A boy", "boy"), ("a painting", "painting")]),
    ("a man 's hat", [("a man 's hat", "hat")]),
    ("a man's hat", [("a man's hat", "hat")]),
    ("The girls' dog's tail", [("The girls' dog's tail", "tail")]),
    ("a black and white dog", [("a black and white dog", "dog")]),
    ("a boy and a girl", [("a boy", "boy"), ("a girl", "girl")]),
    ("A man and woman dance .", [("A man", "man"), ("woman", "woman")]),
    ("a dog, a cat.", [("a dog", "dog"), ("a cat", "cat")]),
    ("A red, white and blue flag.", [("A red, white and blue flag", "flag")]),
    ('A sign that says "stop".', [("A sign", "sign"), ("stop", "stop")]),
    ("(A dog) jumps!", [("A dog", "dog")]),
    ("A dog jumps over two ski jumps .", [("A dog", "dog"), ("two ski jumps", "jumps")]),
    ("Two kids play on the swings .", [("Two kids", "kids"), ("the swings", "swings")]),
    ("A man wearing hats walks down the walk .", [("A man", "man"), ("hats", "hats"), ("the walk", "walk")]),
    ("A smiling woman in bathing suits", [("A smiling woman", "woman"), ("bathing suits", "suits")]),
    (
        "A brown haired boy on a tree lined street",
        [("A brown haired boy", "boy"), ("a tree lined street", "street")],
    ),
    ("3 men and a 2-year-old girl", [("3 men", "men"), ("a 2-year-old girl", "girl")]),
    ("A long-haired dog with a T-shirt", [("A long-haired dog", "dog"), ("a T-shirt", "t-shirt")]),
    ("A man in red kicks the ball .", [("A man", "man"), ("red", "red"), ("the ball", "ball")]),
    ("A man stands in front of the boats .", [("A man", "man"), ("the boats", "boats")]),
    ("A girl with the mountains in the background", [("A girl", "girl"), ("the mountains", "mountains")]),
    ("Two dogs chase each other .", [("Two dogs", "dogs")]),
    ("He looks at her .", []),
    ("A cat eats her food .", [("A cat", "cat"), ("her food", "food")]),
    ("A very large brightly colored kite", [("A very large brightly colored kite", "kite")]),
    ("A can of soda on his back", [("A can of soda", "soda"), ("his back", "back")]),
    ("A teddy bear eats two hot dogs .", [("A teddy bear", "teddy bear"), ("two hot dogs", "hot dogs")]),
    ("SEVERAL PEOPLE NEAR A BUS", [("SEVERAL PEOPLE", "people"), ("A BUS", "bus")]),
    ("A café with a piñata", [("A café", "café"), ("a piñata", "piñata")]),
    ("犬が走る 🐕", [("犬が走る 🐕", "🐕")]),
]


@pytest.mark.parametrize(("caption", "expected"), CASES)
def test_rules_find_phrases_and_subjects(caption: str, expected: list[tuple[str, str]]) -> None:
    (phrases,) = RuleChunker()([caption])
    assert [(phrase.text, phrase.subject) for phrase in phrases] == expected


def test_spans_are_over_whitespace_tokens() -> None:
    caption = '  "A dog",\ta black and white cat.  '
    tokens = caption.split()
    (phrases,) = RuleChunker()([caption])
    assert [(p.start, p.end) for p in phrases] == [(0, 2), (2, 7)]
    assert [" ".join(tokens[p.start : p.end]) for p in phrases] == ['"A dog",', "a black and white cat."]
    assert [p.text for p in phrases] == ["A dog", "a black and white cat"]


def test_every_caption_of_a_batch_keeps_its_place() -> None:
    captions = [caption for caption, _ in CASES]
    assert RuleChunker()(captions) == [RuleChunker()([caption])[0] for caption in captions]
    assert RuleChunker()([]) == []


@pytest.mark.parametrize(
    "unit",
    [
        "big ",
        "a dog and ",
        "red , ",
        "dog ",
        "of ",
        "two of ",
        "a man 's ",
        "the ",
        "jump ",
        "red walking ",
        "dog jumps ",
    ],
)
def test_a_very_long_caption_takes_linear_time(unit: str) -> None:
    chunker = RuleChunker()
    chunker([unit])

    def seconds(repeats: int) -> float:
        times = []
        for _ in range(3):  # the best of three, on a busy machine
            start = time.perf_counter()
            chunker([unit * repeats])
            times.append(time.perf_counter() - start)
        return min(times)

    assert seconds(20_000) < 60 * seconds(2_000)  # a quadratic search would take 100 times as long


def test_settings_are_dropped_unless_asked_for() -> None:
    caption = "A dog in the background"
    assert [p.subject for p in RuleChunker(drop_settings=False)([caption])[0]] == ["dog", "background"]
    assert RuleChunker(drop_settings=False).fingerprint != RuleChunker().fingerprint
    assert RuleChunker().fingerprint == RuleChunker().fingerprint


@pytest.mark.parametrize(
    ("phrase", "head"),
    [("a pile of wet leaves", "leaves"), ("the big one", "one"), ("running", "running"), ("", "")],
)
def test_head_noun_of_a_given_phrase(phrase: str, head: str) -> None:
    assert head_noun(phrase) == head


def test_importing_the_package_loads_no_heavy_library() -> None:
    code = "import sys, datamodules.chunkers; print(sorted({'transformers', 'spacy'} & sys.modules.keys()))"
    shown = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[3],
    )
    assert shown.stdout.strip() == "[]"


@pytest.mark.real_data
@pytest.mark.skipif(
    not Path("../shared/data/flickr30k_spans").is_dir(), reason="needs ../shared/data/flickr30k_spans"
)
def test_agreement_with_human_spans() -> None:
    from benchmarks.chunker_agreement import agreement, read

    rates = agreement(read(Path("../shared/data/flickr30k_spans/val.jsonl.gz")), RuleChunker())
    assert rates["recall, exact spans"].value > 0.9
    assert rates["head found, of all human phrases"].value > 0.9


class TestSpacy:
    def test_a_missing_installation_is_one_sentence_with_two_ways_out(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "spacy", None)  # as if it were not installed
        with pytest.raises(
            DataError, match=r"pip install spacy && python -m spacy download en_core_web_sm.*RuleChunker"
        ):
            SpacyChunker()(["a dog"])

    def test_a_missing_pipeline_is_the_same_sentence(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def load(name: str, exclude: list[str]) -> None:
            raise OSError(f"[E050] Can't find model '{name}'.")

        monkeypatch.setitem(sys.modules, "spacy", types.SimpleNamespace(load=load))
        with pytest.raises(DataError, match="python -m spacy download en_core_web_lg"):
            SpacyChunker("en_core_web_lg")(["a dog"])

    def test_the_fingerprint_needs_no_parser(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            "datamodules.chunkers.spacy_chunker.version",
            lambda package: {"spacy": "3.8", "en_core_web_sm": "3.7"}[package],
        )
        assert SpacyChunker().fingerprint == "spacy-1(en_core_web_sm 3.7, spacy 3.8)"

    def test_chunks_are_aligned_to_whitespace_tokens(self) -> None:
        caption = "Look:  a dog, it bites (a man's hat)."

        def chunk(text: str, root: str, pos: str = "NOUN") -> types.SimpleNamespace:
            start = caption.index(text)
            return types.SimpleNamespace(
                start_char=start, end_char=start + len(text), root=types.SimpleNamespace(text=root, pos_=pos)
            )

        document = types.SimpleNamespace(
            noun_chunks=[chunk("a dog", "dog"), chunk("it", "it", "PRON"), chunk("a man's hat", "Hat")]
        )
        assert [(p.text, p.subject, p.start, p.end) for p in phrases_of(caption, document)] == [
            ("a dog", "dog", 1, 3),
            ("a man's hat", "hat", 5, 8),
        ]

    def test_two_chunks_of_one_token_give_one_phrase(self) -> None:
        root = types.SimpleNamespace(text="cat", pos_="NOUN")
        chunks = [types.SimpleNamespace(start_char=a, end_char=b, root=root) for a, b in ((0, 3), (4, 7))]
        assert [
            (p.start, p.end) for p in phrases_of("cat/dog", types.SimpleNamespace(noun_chunks=chunks))
        ] == [(0, 1)]


class Scripted(LLMChunker):
    """Answers by the last lines of the prompt instead of by a model, and remembers the prompts."""

    def __init__(self, answers: dict[str, str]) -> None:
        super().__init__("scripted")
        self.answers = answers
        self.prompts: list[str] = []

    def generate(self, prompts):
        self.prompts += prompts
        return [self.answers.get(prompt.splitlines()[-2].partition(": ")[2], "") for prompt in prompts]


class TestLLM:
    def test_two_steps(self) -> None:
        chunker = Scripted(
            {
                "A dog chases two red balls.": " A dog; two red balls; a cat",
                "A dog": " dog",
                "two red balls": " Balls.",
            }
        )
        (phrases,) = chunker(["A dog chases\ttwo red balls."])
        assert [(p.text, p.subject, p.start, p.end) for p in phrases] == [
            ("A dog", "dog", 0, 2),
            ("two red balls", "balls", 3, 6),
        ]
        assert len(chunker.prompts) == 3
        assert all(prompt.endswith(("\nPhrases:", "\nSubject:")) for prompt in chunker.prompts)

    def test_a_subject_that_is_not_in_the_phrase_falls_back_to_the_rules(self) -> None:
        (phrases,) = Scripted({"a group of men": "a group of men"})(["a group of men"])
        assert phrases[0].subject == "men"  # the script repeats the phrase where its subject is asked for
        assert parse_subject("animal", "a pile of wet leaves") == "leaves"
        assert parse_subject("", "the red car") == "car"

    def test_a_phrase_of_several_captions_is_asked_for_once(self) -> None:
        chunker = Scripted({"a dog": "a dog", "see a dog": "a dog"})
        assert [len(row) for row in chunker(["a dog", "", "see a dog"])] == [1, 0, 1]
        assert sum(prompt.endswith("Subject:") for prompt in chunker.prompts) == 1
        assert chunker([]) == []

    @pytest.mark.parametrize(
        ("answer", "phrases"),
        [
            (" a dog; the red ball.", ["a dog", "the red ball"]),
            ("none", []),
            ("", []),
            ('1. "a dog"\n2) a cat;; - a hat', ["a dog", "a cat", "a hat"]),
        ],
    )
    def test_answers_are_parsed(self, answer: str, phrases: list[str]) -> None:
        assert parse_phrases(answer) == phrases

    def test_phrases_are_located_without_overlap(self) -> None:
        tokens = ["A", "dog", ",", "a", "Dog", "and", "the", "man", "'s", "hat", "."]
        assert locate(["a dog", "a dog", "a dog", "the man 's hat", "man", "unicorn"], tokens) == [
            (0, 2),
            (3, 5),
            (6, 10),
        ]

    def test_the_fingerprint_knows_model_and_examples(self) -> None:
        prints = {
            LLMChunker("a").fingerprint,
            LLMChunker("b").fingerprint,
            LLMChunker("a", examples=[Example("A dog .", {"A dog": "dog"})]).fingerprint,
            LLMChunker("a", max_new_tokens=32).fingerprint,
        }
        assert len(prints) == 4
        assert LLMChunker("a").fingerprint == LLMChunker("a", batch_size=2, device="cpu").fingerprint

    def test_an_unknown_model_is_one_sentence(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"could not be loaded.*RuleChunker"):
            LLMChunker(str(tmp_path / "nothing"))(["a dog"])

    def test_a_real_transformers_model_runs(self, tmp_path: Path) -> None:
        folder = tiny_gpt2(tmp_path)
        chunker = LLMChunker(str(folder), batch_size=2, max_new_tokens=3, device="cpu", examples=[])
        captions = ["a dog runs", "the man with a hat sits", "a ball"]
        result = chunker(captions)
        assert len(result) == 3
        assert all(
            " ".join(caption.split()[p.start : p.end]) == p.text
            for caption, row in zip(captions, result, strict=True)
            for p in row
        )
        prompts = [chunker.phrase_prompt(caption) for caption in captions]
        together = chunker.generate(prompts)
        alone = [chunker.generate([prompt])[0] for prompt in prompts]
        assert together == alone  # left padding and the order of the batch change nothing
        assert any(together)
        assert pickle.loads(pickle.dumps(chunker)).generate(prompts[:1]) == together[:1]

    def test_generation_stops_at_the_end_of_the_line(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import torch

        chunker = LLMChunker(str(tiny_gpt2(tmp_path)), max_new_tokens=50, device="cpu", examples=[])
        tokenizer, model = chunker._load()
        with torch.no_grad():  # a model that says nothing but line breaks
            model.transformer.ln_f.weight.zero_()
            model.transformer.ln_f.bias.copy_(
                100 * model.transformer.wte.weight[tokenizer.convert_tokens_to_ids("\n")]
            )
        generate = model.generate
        lengths = []

        def measured(**options):
            output = generate(**options)
            lengths.append(output.shape[1] - options["input_ids"].shape[1])
            return output

        monkeypatch.setattr(model, "generate", measured)
        assert chunker.generate(["a dog", "the man with a hat"]) == ["", ""]
        assert lengths == [1]


def tiny_gpt2(folder: Path) -> Path:
    """A random GPT-2 and a word tokenizer, saved as transformers saves them."""
    import torch
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    words = [
        "<end>",
        "<unk>",
        "a",
        "dog",
        "runs",
        "the",
        "man",
        "with",
        "hat",
        "sits",
        "ball",
        ";",
        "Caption",
        "Phrases",
        ":",
        "Subject",
        "\n",
    ]
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", unk_token="<unk>").save_pretrained(
        folder
    )
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(words), n_positions=128, n_embd=16, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0
    )
    GPT2LMHeadModel(config).save_pretrained(folder)
    return folder


def test_every_chunker_is_a_chunker() -> None:
    assert all(isinstance(chunker, Chunker) for chunker in (RuleChunker(), SpacyChunker(), LLMChunker("x")))
    with pytest.raises(TypeError):
        Chunker()


@pytest.mark.parametrize("name", ["RuleChunker", "SpacyChunker", "LLMChunker"])
def test_a_config_can_name_a_chunker(name: str) -> None:
    jsonargparse = pytest.importorskip("jsonargparse")
    parser = jsonargparse.ArgumentParser()
    parser.add_subclass_arguments(Chunker, "chunker")
    arguments = {"model": "x"} if name != "RuleChunker" else {"drop_settings": False}
    config = parser.parse_object(
        {"chunker": {"class_path": f"datamodules.chunkers.{name}", "init_args": arguments}}
    )
    assert type(parser.instantiate(config).chunker).__name__ == name
