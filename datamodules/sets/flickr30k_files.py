"""What all data sets on Flickr30k share: its photographs and annotations as parts of a layout."""

from __future__ import annotations

from datamodules.storage.layout import Part

LICENCE = (
    "photographs: Flickr terms of use, non-commercial research and education only; annotations: none stated"
)
ANNOTATIONS_PAGE = "https://github.com/BryanPlummer/flickr30k_entities"
REQUEST = "fill in the form at https://shannon.cs.illinois.edu/DenotationGraph/, they are given on request"

PHOTOGRAPHS = Part(
    path="flickr30k_images/*.jpg",
    content="photographs",
    count=31_783,
    by_hand=REQUEST,
    alternatives=("flickr30k_images/flickr30k_images/*.jpg",),
)


def entities_file(path: str, content: str, count: int) -> Part:
    """A part of Flickr30k Entities, which may also lie in a folder of that name."""
    return Part(
        path=path,
        content=content,
        count=count,
        by_hand=f"unpack annotations.zip of {ANNOTATIONS_PAGE}, and copy its split lists",
        alternatives=(f"flickr30k_entities/{path}",),
    )


BOXES = entities_file("Annotations/*.xml", "boxes", 31_783)
SENTENCES = entities_file("Sentences/*.txt", "captions with phrases", 31_783)


def split_lists(*splits: str) -> tuple[Part, ...]:
    """The lists of the images of some splits."""
    return tuple(entities_file(f"{split}.txt", f"ids of {split}", 1) for split in splits)
