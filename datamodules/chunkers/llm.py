"""Noun phrases by a language model that is shown examples, in the two steps of HIST (section 3.1): caption ->
phrases, phrase -> subject.

The paper uses Vicuna; its prompts and the number of its examples are not published. The examples here are
this project's own.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
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
_TASK_PHRASES = "List the phrases of each caption that name people, animals or things which can be seen, word for word, separated by semicolons."
_TASK_SUBJECT = "Give the subject of each phrase: the one noun that the phrase is about."
_NONE = "none"


class LLMChunker(Chunker):
    """A causal language model of transformers with in-context examples; greedy, so that the same caption
    always gives the same phrases.

    What the model says is checked: a phrase that does not stand in the caption word for word is dropped, as
        is one that overlaps an earlier one; a
    subject that is not in its phrase is replaced by the rules' head noun.

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
        self.examples = tuple(EXAMPLES if examples is None else examples)
        self._loaded: tuple[Any, Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_loaded": None}

    @property
    def fingerprint(self) -> str:
        """By the model's name, not its weights: after training on in the same folder, delete the cache."""
        prompts = self.phrase_prompt("") + self.subject_prompt("")
        return f"llm-1({self.model}, {self.max_new_tokens}, {hashlib.sha1(prompts.encode(), usedforsecurity=False).hexdigest()[:10]})"

    def __call__(self, captions: Sequence[str]) -> list[list[Phrase]]:
        worded = [i for i, caption in enumerate(captions) if caption.strip()]
        answers = (
            dict(zip(worded, self.generate([self.phrase_prompt(captions[i]) for i in worded]), strict=True))
            if worded
            else {}
        )
        spans = [
            locate(parse_phrases(answers.get(i, "")), caption.split()) for i, caption in enumerate(captions)
        ]
        texts = [
            [phrase_text(caption.split(), *span) for span in found]
            for caption, found in zip(captions, spans, strict=True)
        ]
        unique = list(dict.fromkeys(text for row in texts for text in row))
        replies = self.generate([self.subject_prompt(text) for text in unique]) if unique else []
        subjects = {text: parse_subject(reply, text) for text, reply in zip(unique, replies, strict=True)}
        return [
            [Phrase(text, subjects[text], start, end) for text, (start, end) in zip(row, found, strict=True)]
            for row, found in zip(texts, spans, strict=True)
        ]

    def phrase_prompt(self, caption: str) -> str:
        shown = "".join(
            f"Caption: {e.caption}\nPhrases: {'; '.join(e.phrases) or _NONE}\n\n" for e in self.examples
        )
        return f"{_TASK_PHRASES}\n\n{shown}Caption: {' '.join(caption.split())}\nPhrases:"

    def subject_prompt(self, phrase: str) -> str:
        shown = "".join(
            f"Phrase: {text}\nSubject: {subject}\n\n"
            for e in self.examples
            for text, subject in e.phrases.items()
        )
        return f"{_TASK_SUBJECT}\n\n{shown}Phrase: {phrase}\nSubject:"

    def generate(self, prompts: Sequence[str]) -> list[str]:
        """The model's continuation of each prompt, up to its first line break."""
        import torch

        tokenizer, model = self._load()

        def line_ended(ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
            return torch.tensor(
                ["\n" in text for text in tokenizer.batch_decode(ids[:, -1:])], device=ids.device
            )

        answers: list[str] = []
        # Prompts of like length together: less padding.
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
        for first in range(0, len(order), self.batch_size):
            batch = [prompts[i] for i in order[first : first + self.batch_size]]
            inputs = tokenizer(batch, return_tensors="pt", padding=True).to(model.device)
            inputs.pop("token_type_ids", None)
            with torch.inference_mode():
                output = model.generate(
                    **inputs,
                    max_new_tokens=self.max_new_tokens,
                    do_sample=False,
                    pad_token_id=tokenizer.pad_token_id,
                    stopping_criteria=[line_ended],
                )
            answers += tokenizer.batch_decode(
                output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True
            )
        answer_of = dict(zip(order, answers, strict=True))
        return [answer_of[i].lstrip("\n").partition("\n")[0] for i in range(len(prompts))]

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            import torch
            from transformers import AutoModelForCausalLM, AutoTokenizer

            device = self.device if self.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
            try:
                # Decoder-only models continue from the last position, which must therefore be a word of every
                # prompt.
                tokenizer = AutoTokenizer.from_pretrained(self.model, padding_side="left")
                model = AutoModelForCausalLM.from_pretrained(self.model, dtype="auto")
            except (OSError, ValueError) as error:
                raise DataError(
                    f"The language model {self.model!r} could not be loaded ({str(error).splitlines()[0]}): "
                    "give a hub name or local folder of a causal language model, or use RuleChunker, which needs none."
                ) from error
            if tokenizer.pad_token is None:
                tokenizer.pad_token = tokenizer.eos_token
            torch.nn.Module.to(model, device)
            self._loaded = tokenizer, model.eval()
        return self._loaded


def parse_phrases(answer: str) -> list[str]:
    """Phrases of an answer such as "a dog; the red ball": semicolons or lines apart, numbering and quotes
    taken off.
    """
    pieces = (
        re.sub(r"^\s*(?:\d+[.)]|[-*•])\s+", "", piece).strip(PUNCTUATION + " \t")
        for piece in re.split(r"[;\n]", answer)
    )
    return [piece for piece in pieces if piece and piece.lower() != _NONE]


def locate(phrases: Sequence[str], tokens: Sequence[str]) -> list[tuple[int, int]]:
    """Spans over ``tokens`` of the phrases that stand there word for word (case, outer punctuation aside), in
    reading order, none overlapping.
    """
    words = [_normal(token) for token in tokens]
    taken: list[tuple[int, int]] = []
    for phrase in phrases:
        wanted = [_normal(word) for word in phrase.split()]
        for start in range(len(words) - len(wanted) + 1):
            end = start + len(wanted)
            if words[start:end] == wanted and all(end <= a or b <= start for a, b in taken):
                taken.append((start, end))
                break
    return sorted(taken)


def parse_subject(answer: str, phrase: str) -> str:
    """The subject in an answer such as "the dog."; the rules' head noun where the answer is not one or two
    neighbouring words of the phrase.
    """
    wanted = [
        word
        for word in map(_normal, answer.strip().partition("\n")[0].split())
        if word not in {"a", "an", "the"}
    ]
    words = [_normal(word) for word in phrase.split()]
    found = any(words[i : i + len(wanted)] == wanted for i in range(len(words) - len(wanted) + 1))
    return " ".join(wanted) if found and 1 <= len(wanted) <= 2 else head_noun(phrase)


def _normal(word: str) -> str:
    return word.lower().strip(PUNCTUATION) or word
