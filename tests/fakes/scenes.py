"""Scenes need no files; what they hold is read from the generator itself."""

from __future__ import annotations

from pathlib import Path

from datamodules.synthetic.scene_drawing import make_scene
from tests.fakes.base import Asked, Fake

SIZES = {"train_size": 8, "val_size": 3, "test_size": 7}


def write(root: Path) -> Fake:
    """Eight, three and seven scenes."""
    queries: dict[str, dict[str, dict[str, Asked]]] = {}
    for split, size in (("val", SIZES["val_size"]), ("test", SIZES["test_size"])):
        written: dict[str, Asked] = {}
        for index in range(size):
            scene = make_scene(0, split, index, 32)
            # The last mention of a text wins its boxes; all mentions of one text in a scene mean the same
            # things.
            for number, text in enumerate(dict.fromkeys(mention.phrase.text for mention in scene.phrases)):
                things = next(mention.objects for mention in scene.phrases if mention.phrase.text == text)
                red, green, blue = scene.image.reshape(-1, 3).mean(0).astype(int).tolist()
                boxes = [list(map(float, scene.objects[thing].box)) for thing in things]
                written[f"{split}-{index}/{number}"] = Asked((red, green, blue), (32, 32), text, boxes)
        queries[split] = {"scenes": written}
    captions = {
        f"train-{index}": make_scene(0, "train", index, 32).captions for index in range(SIZES["train_size"])
    }
    return Fake({"image_size": 32, **SIZES}, captions, queries)
