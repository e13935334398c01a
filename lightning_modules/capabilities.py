"""What an evaluation may ask of a module.

A *capability* is a method. A module has those that it can serve (`typing.Protocol`: no base class is needed),
and every evaluation names the one that it needs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

from torch import Tensor

from lightning_modules.errors import ModelError
from networks.dense_encoder import Refine


@runtime_checkable
class CanGround(Protocol):
    """Finds phrases in images."""

    def ground(self, images: Tensor, phrases: list[str], image_of_query: Tensor) -> Tensor:
        """Heat maps of phrases.

        Args:
            images: (N,3,H,W), normalised for the model.
            phrases: Q texts.
            image_of_query: (Q,) long, indices into the images.

        Returns:
            (Q,h,w) float32 in [0,1], at the model's own grid or finer.
        """
        ...


@runtime_checkable
class CanGroupTokens(Protocol):
    """Says which words of a caption belong together."""

    def group_tokens(self, captions: list[str]) -> list[tuple[list[int], list[int]]]:
        """For each caption: the group of every token, and the word (whitespace token) of every token."""
        ...


@runtime_checkable
class CanMatch(Protocol):
    """Compares images with texts."""

    def match(self, images: Tensor, texts: list[str]) -> Tensor:
        """(N,3,H,W) images and M texts -> (N,M) similarities."""
        ...


@runtime_checkable
class CanRetrieve(Protocol):
    """Finds images by texts and the other way round: among all of them by features, then among the best of
    these by looking at image and text together.

    Attributes:
        match_scores_add_similarity: whether the second ranking is by the sum of `match_scores` and the
            similarity of the features, or by the former alone.
    """

    match_scores_add_similarity: bool

    def embed_images(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(N,3,H,W) images -> features (N,E), whose inner product with those of texts is their similarity,
        and tokens (N,L,D), for `match_scores`.
        """
        ...

    def embed_texts(self, texts: list[str]) -> Tensor:
        """M texts -> features (M,E)."""
        ...

    def match_scores(self, image_tokens: Tensor, texts: list[str], image_of_text: Tensor) -> Tensor:
        """How well texts match their images.

        Args:
            image_tokens: (N,L,D), from `embed_images`.
            texts: M texts.
            image_of_text: (M,) long, into the images.

        Returns:
            (M,), any real numbers.
        """
        ...


@runtime_checkable
class CanAnswer(Protocol):
    """Answers questions about images."""

    def answer(self, images: Tensor, questions: list[str], image_of_question: Tensor) -> list[str]:
        """An answer to each question.

        Args:
            images: (N,3,H,W), normalised for the model.
            questions: Q texts.
            image_of_question: (Q,) long, indices into the images.
        """
        ...


@runtime_checkable
class CanDescribe(Protocol):
    """Says in words what is in images of which nothing is said (the WWbL task)."""

    def describe(
        self, images: Sequence[Tensor], bank: Sequence[str], regions: Literal["grid", "search"] = "grid"
    ) -> list[list[str]]:
        """Texts on which several parts of an image agree.

        Args:
            images: N images (3,H,W), normalised for the model, of any size, without padding.
            bank: phrases to choose from.
            regions: the parts: fixed grids, or also those of selective search.

        Returns:
            For each image the texts that were chosen, the most agreed on first, possibly none.
        """
        ...

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """(M,D), a vector of length 1 for each text, by which texts are compared."""
        ...


TagScore = Literal["pixel", "image", "text", "segment"]
"""What a word is scored by: the highest value of its map; its cosine with the mean over the pixels; with the
caption; the share of the pixels of which it is the likeliest word.
"""


class ScoredWords(NamedTuple):
    """The words of a caption as a module sees them.

    Args:
        scores: (W,) float; ``-inf`` for words that are no candidates for a tag.
        selected: (W,) bool, the words that the module takes for tags.
    """

    scores: Tensor
    selected: Tensor


@runtime_checkable
class CanScoreTags(Protocol):
    """Says which words of a caption are visible."""

    def score_tags(
        self, images: Tensor, captions: list[list[str]], kinds: Sequence[TagScore]
    ) -> Mapping[TagScore, list[ScoredWords]]:
        """Scores words.

        Args:
            images: (N,3,H,W), normalised for the model.
            captions: of each image, as words.
            kinds: of scores.

        Returns:
            For each kind the words of each caption.
        """
        ...


@runtime_checkable
class CanSegment(Protocol):
    """Says how likely each pixel shows what a text names."""

    def segment(
        self, images: Tensor, texts: list[str], are_class_names: bool = True, refine: Refine | None = None
    ) -> Tensor:
        """Soft masks.

        Args:
            images: (N,3,H,W), normalised for the model.
            texts: C names of classes, or C whole texts.
            are_class_names: whether they are put into the templates that the module has for names.
            refine: brings masks (N,C,h,w) nearer to the edges of their images. The module applies it to what
                it predicts before it mixes in anything else.

        Returns:
            (N,C,h,w) float32 in [0,1], at the model's own grid or finer.
        """
        ...


def require(module: Any, capability: type, asked_by: str) -> None:
    """Checks that a module has a capability.

    Args:
        module: the module.
        capability: one of the protocols above.
        asked_by: name of what asks for it.

    Raises:
        ModelError: it has not; the sentence names both sides.
    """
    if isinstance(module, capability):
        return
    method = next(name for name in vars(capability) if not name.startswith("_"))
    raise ModelError(
        f"{asked_by} needs a module that can `{method}`, and {type(module).__name__} cannot; "
        "take this evaluation out of the config."
    )
