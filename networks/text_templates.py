"""Sentences into which the names of classes are put before a text encoder reads them."""

from __future__ import annotations

from functools import cache
from typing import Literal

Templates = Literal["none", "imagenet", "maskclip", "tcl"]

OF_MASKCLIP = (
    "there is a {} in the scene.",
    "there is the {} in the scene.",
    "this is a {} in the scene.",
    "this is the {} in the scene.",
    "this is one {} in the scene.",
)
OF_TCL = (
    "a photo of many {}.",
    "a photo of {}s.",
)


@cache
def sentences(templates: Templates) -> tuple[str, ...]:
    """The templates by their name, ``{}`` in the place of the text: OpenAI's 80, with five of MaskCLIP behind
    them, or OpenAI's seven best with two of TCL.
    """
    if templates == "none":
        return ("{}",)
    from open_clip import zero_shot_metadata  # here, since it takes seconds

    if templates == "tcl":
        return (*(template("{}") for template in zero_shot_metadata.SIMPLE_IMAGENET_TEMPLATES), *OF_TCL)
    imagenet = tuple(template("{}") for template in zero_shot_metadata.OPENAI_IMAGENET_TEMPLATES)
    return (*imagenet, *OF_MASKCLIP) if templates == "maskclip" else imagenet


def fill(texts: list[str], templates: Templates) -> list[str]:
    """Every text in every template, the templates of a text one after the other.

    Example:
        >>> fill(["dog", "cat"], "tcl")[7:10]
        ['a photo of many dog.', 'a photo of dogs.', 'itap of a cat.']
        >>> [len(fill(["dog"], name)) for name in ("none", "imagenet", "maskclip", "tcl")]
        [1, 80, 85, 9]
    """
    return [template.format(text) for text in texts for template in sentences(templates)]
