"""What an evaluation may ask of a module.

A *capability* is a method. A module has those that it can serve (`typing.Protocol`: no base class is needed),
and every evaluation names the one that it needs.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from lightning_modules.errors import ModelError


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
class CanScoreTags(Protocol):
    """Says which words of a caption are visible."""

    def score_tags(self, images: Tensor, captions: list[str]) -> list[Tensor]:
        """(N,3,H,W) images and their N captions -> for each caption a score of every word."""
        ...


@runtime_checkable
class CanSegment(Protocol):
    """Labels pixels with the names of classes."""

    def segment(self, images: Tensor, class_names: list[str]) -> Tensor:
        """(N,3,H,W) images and C names -> (N,C,h,w) scores."""
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
