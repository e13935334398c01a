"""Sentences into which the names of classes are put before a text encoder reads them."""

from __future__ import annotations

from typing import Literal

from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES, SIMPLE_IMAGENET_TEMPLATES

Templates = Literal["none", "imagenet", "maskclip", "tcl"]

NONE = ("{}",)
IMAGENET = tuple(template("{}") for template in OPENAI_IMAGENET_TEMPLATES)  # OpenAI's 80
MASKCLIP = (
    *IMAGENET,
    "there is a {} in the scene.",
    "there is the {} in the scene.",
    "this is a {} in the scene.",
    "this is the {} in the scene.",
    "this is one {} in the scene.",
)
TCL = (
    *(template("{}") for template in SIMPLE_IMAGENET_TEMPLATES),  # OpenAI's 7
    "a photo of many {}.",
    "a photo of {}s.",
)
TEMPLATES: dict[Templates, tuple[str, ...]] = {
    "none": NONE,
    "imagenet": IMAGENET,
    "maskclip": MASKCLIP,
    "tcl": TCL,
}


def fill(texts: list[str], templates: Templates) -> list[str]:
    """Every text in every template, the templates of a text one after the other.

    Example:
        >>> fill(["dog", "cat"], "tcl")[7:10]
        ['a photo of many dog.', 'a photo of dogs.', 'itap of a cat.']
        >>> [len(fill(["dog"], name)) for name in ("none", "imagenet", "maskclip", "tcl")]
        [1, 80, 85, 9]
    """
    return [template.format(text) for text in texts for template in TEMPLATES[templates]]
