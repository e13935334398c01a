"""A training set of one kind, judged on sets of other kinds."""

from __future__ import annotations

from pathlib import Path

from datamodules.sets.flickr30k_entities import Flickr30kEntities
from datamodules.sets.image_caption_folder import ImageCaptionFolder
from datamodules.sets.scenes import Scenes
from tests.fakes import flickr30k_entities, image_caption_folder, scenes
from tests.fakes.base import Fake


def write(root: Path) -> Fake:
    """Trains on scenes; the names of the evaluation sets are the config's, not the members'."""
    flickr = flickr30k_entities.write(root / "flickr")
    folder = image_caption_folder.write(root / "folder")
    training = scenes.write(root)
    members = {
        "entities": Flickr30kEntities(**flickr.arguments),
        "own": ImageCaptionFolder(**folder.arguments),
    }
    return Fake(
        arguments={
            "train": Scenes(**training.arguments, batch_size=2, num_workers=0),
            "val": {"own": members["own"]},
            "test": members,
        },
        captions=training.captions,
        queries={
            "val": {"own": folder.queries["val"]["folder"]},
            "test": {
                "entities": flickr.queries["test"]["flickr30k_entities"],
                "own": folder.queries["test"]["folder"],
            },
        },
        skipped={"entities": flickr.skipped["flickr30k_entities"], "own": folder.skipped["folder"]},
        useless={"entities": flickr.useless["flickr30k_entities"]},
    )
