"""Noun phrases by a language model that is shown examples, in the two steps of HIST (section 3.1): from
captions to phrases, from phrases to subjects.

The paper uses Vicuna; its prompts and the number of its examples are not published. The examples here are
this project's own.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from datamodules.batches import Phrase
from datamodules.chunkers.base import PUNCTUATION, Chunker, phrase_text
from datamodules.chunkers.rules import head_noun
from datamodules.errors import DataError


@dataclass(frozen=True)
class Example:
    """A caption, and its phrases with the subject of each."""

    caption: str
    phrases: dict[str, str]


EXAMPLES = (
    Example(
        "A little boy in a striped shirt is throwing a red ball to his brown dog .",
        {"A little boy": "boy", "a striped shirt": "shirt", "a red ball": "ball", "his brown dog": "dog"},
    ),
    Example(
        "A group of tourists waits for the bus in the rain .",
        {"A group of tourists": "tourists", "the bus": "bus"},
    ),
    Example(
        "Two women and a man sit at a wooden table with glasses of beer .",
        {"Two women": "women", "a man": "man", "a wooden table": "table", "glasses of beer": "beer"},
    ),
    Example(
        "The man 's hat matches the umbrella behind him .",
        {"The man 's hat": "hat", "the umbrella": "umbrella"},
    ),
    Example("It is getting dark outside .", {}),
)
_TASK_PHRASES = (
    "List the phrases of each caption that name people, animals or things which can be seen, "
    "word for word, separated by semicolons."
)
_TASK_SUBJECT = "Give the subject of each phrase: the one noun that the phrase is about."
_NONE = "none"


class LLMChunker(Chunker):
    """A causal language model of transformers with in-context examples; greedy, so that the same caption
    always gives the same phrases.

    What the model answers is checked: a phrase that does not stand in the caption word for word is dropped,
    as is one that overlaps an earlier one; a subject that is not in its phrase is replaced by the rules' head
    noun.

    Args:
        model: hub name or local folder of a causal language model.
        batch_size: prompts generated together.
        max_new_tokens: for each answer.
        device: a torch device, or "auto": the first GPU if there is one, else the CPU.
        examples: shown to the model before each caption; None for this project's own.

    Raises:
        DataError: at the first call, where the model cannot be loaded.
    """

    def __init__(
        self,
        model: str,
        batch_size: int = 16,
        max_new_tokens: int = 96,
        device: str = "auto",
        examples: list[Example] | None = None,
    ) -> None:
        self.model = model
        self.batch_size = batch_size
        self.max_new_tokens = max_new_tokens
        self.device = device
        self.examples = EXAMPLES if examples is None else tuple(examples)
        self._loaded: tuple[Any, Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_loaded": None}

    @property
    def fingerprint(self) -> str:
        """By the model's name, not its weights: after training on in the same folder, delete the cache."""
        prompts = self.phrase_prompt("") + self.subject_prompt("")
        digest = hashlib.sha1(prompts.encode(), usedforsecurity=False).hexdigest()[:10]
        return f"llm-1({self.model}, {self.max_new_tokens}, {digest})"

    def __call__(self, captions: Sequence[str]) -> list[list[Phrase]]:
        """Finds the phrases of captions, see `Chunker`."""
        phrases: list[list[Phrase]] = []
        for caption, answer in zip(captions, self._ask_for_phrases(captions), strict=True):
            tokens = caption.split()
            spans = locate(parse_phrases(answer), tokens)
            phrases.append([Phrase(phrase_text(tokens, *span), "", *span) for span in spans])
        subjects = self._ask_for_subjects([phrase.text for row in phrases for phrase in row])
        for row in phrases:
            row[:] = [replace(phrase, subject=subjects[phrase.text]) for phrase in row]
        return phrases

    def _ask_for_phrases(self, captions: Sequence[str]) -> list[str]:
        """The model's answer for each caption; "" for captions without words, for which it is not asked."""
        numbers = [number for number, caption in enumerate(captions) if caption.strip()]
        answers = [""] * len(captions)
        if numbers:
            generated = self.generate([self.phrase_prompt(captions[number]) for number in numbers])
            for number, answer in zip(numbers, generated, strict=True):
                answers[number] = answer
        return answers

    def _ask_for_subjects(self, texts: Sequence[str]) -> dict[str, str]:
        """The subject of each text, for which the model is asked once."""
        unique = list(dict.fromkeys(texts))
        if not unique:
            return {}
        answers = self.generate([self.subject_prompt(text) for text in unique])
        return {text: parse_subject(answer, text) for text, answer in zip(unique, answers, strict=True)}

    def phrase_prompt(self, caption: str) -> str:
        """The text that the model continues by the phrases of a caption."""
        shown = ""
        for example in self.examples:
            phrases = "; ".join(example.phrases) or _NONE
            shown += f"Caption: {example.caption}\nPhrases: {phrases}\n\n"
        return f"{_TASK_PHRASES}\n\n{shown}Caption: {' '.join(caption.split())}\nPhrases:"

    def subject_prompt(self, phrase: str) -> str:
        """The text that the model continues by the subject of a phrase."""
        shown = ""
        for example in self.examples:
            for text, subject in example.phrases.items():
                shown += f"Phrase: {text}\nSubject: {subject}\n\n"
        return f"{_TASK_SUBJECT}\n\n{shown}Phrase: {phrase}\nSubject:"

    def generate(self, prompts: Sequence[str]) -> list[str]:
        """The model's continuation of each prompt, up to its first line break."""
        # Prompts of like length together: less padding.
        order = sorted(range(len(prompts)), key=lambda number: len(prompts[number]))
        answers = [""] * len(prompts)
        for first in range(0, len(order), self.batch_size):
            numbers = order[first : first + self.batch_size]
            batch = self._continue([prompts[number] for number in numbers])
            for number, answer in zip(numbers, batch, strict=True):
                answers[number] = answer.lstrip("\n").partition("\n")[0]
        return answers

    def _continue(self, prompts: list[str]) -> list[str]:
        """What the model writes behind each prompt of a batch."""
        import torch

        tokenizer, model = self._load()

        def line_ended(ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
            last_texts = tokenizer.batch_decode(ids[:, -1:])
            return torch.tensor(["\n" in text for text in last_texts], device=ids.device)

        inputs = tokenizer(prompts, return_tensors="pt", padding=True).to(model.device)
        inputs.pop("token_type_ids", None)
        with torch.inference_mode():
            output = model.generate(
                **inputs,
                max_new_tokens=self.max_new_tokens,
                do_sample=False,
                pad_token_id=tokenizer.pad_token_id,
                stopping_criteria=[line_ended],
            )
        prompt_length = inputs["input_ids"].shape[1]
        return tokenizer.batch_decode(output[:, prompt_length:], skip_special_tokens=True)

    def _load(self) -> tuple[Any, Any]:
        """Tokenizer and model, loaded at the first call."""
        if self._loaded is None:
            import torch
            from transformers import AutoModelForCausalLM, AutoTokenizer

            device = self.device
            if device == "auto":
                device = "cuda" if torch.cuda.is_available() else "cpu"
            try:
                # Decoder-only models continue from the last position, which must therefore be a word of every
                # prompt.
                tokenizer = AutoTokenizer.from_pretrained(self.model, padding_side="left")
                model = AutoModelForCausalLM.from_pretrained(self.model, dtype="auto")
            except (OSError, ValueError) as error:
                raise DataError(
                    f"The language model {self.model!r} could not be loaded ({str(error).splitlines()[0]}): "
                    "give a hub name or local folder of a causal language model, "
                    "or use RuleChunker, which needs none."
                ) from error
            if tokenizer.pad_token is None:
                tokenizer.pad_token = tokenizer.eos_token
            torch.nn.Module.to(model, device)
            self._loaded = tokenizer, model.eval()
        return self._loaded


def parse_phrases(answer: str) -> list[str]:
    """The phrases of an answer, which semicolons or line breaks separate.

    Numbering and quotes are taken off.

    Example:
        >>> parse_phrases('1. "a dog"; the red ball.')
        ['a dog', 'the red ball']
    """
    phrases = []
    for piece in re.split(r"[;\n]", answer):
        phrase = re.sub(r"^\s*(?:\d+[.)]|[-*•])\s+", "", piece).strip(PUNCTUATION + " \t")
        if phrase and phrase.lower() != _NONE:
            phrases.append(phrase)
    return phrases


def locate(phrases: Sequence[str], tokens: Sequence[str]) -> list[tuple[int, int]]:
    """Spans of those phrases that stand in a caption word for word, case and outer punctuation aside.

    Args:
        phrases: texts, an earlier one before a later one that overlaps it.
        tokens: the caption, split at its blanks.

    Returns:
        Pairs (start, end) over the tokens in reading order, none overlapping another.

    Example:
        >>> locate(["a dog", "a unicorn"], ["See", "a", "dog."])
        [(1, 3)]
    """
    caption_words = [_normal(token) for token in tokens]
    spans: list[tuple[int, int]] = []
    for phrase in phrases:
        words = [_normal(word) for word in phrase.split()]
        for start in range(len(caption_words) - len(words) + 1):
            end = start + len(words)
            overlaps = any(start < other_end and other_start < end for other_start, other_end in spans)
            if caption_words[start:end] == words and not overlaps:
                spans.append((start, end))
                break
    return sorted(spans)


def parse_subject(answer: str, phrase: str) -> str:
    """The subject in an answer such as "the dog.".

    It is the rules' head noun where the answer is not one or two neighbouring words of the phrase.

    Example:
        >>> parse_subject("The dog.", "a small dog"), parse_subject("animal", "a small dog")
        ('dog', 'dog')
    """
    first_line = answer.strip().partition("\n")[0]
    subject = [_normal(word) for word in first_line.split()]
    subject = [word for word in subject if word not in {"a", "an", "the"}]
    words = [_normal(word) for word in phrase.split()]
    starts = range(len(words) - len(subject) + 1)
    stands_in_phrase = any(words[start : start + len(subject)] == subject for start in starts)
    if stands_in_phrase and 1 <= len(subject) <= 2:
        return " ".join(subject)
    return head_noun(phrase)


def _normal(word: str) -> str:
    """Lower case, without outer punctuation unless there is nothing else."""
    return word.lower().strip(PUNCTUATION) or word
