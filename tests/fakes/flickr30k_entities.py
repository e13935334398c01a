"""Flickr30k Entities in its publisher's layout: boxes count from 1 and include the last pixel, one box may
belong to several chains.
"""

from __future__ import annotations

from pathlib import Path

from tests.fakes.base import Asked, Boxes, Fake, save_image

SIZE = (30, 40)  # height, width
Objects = list[tuple[list[str], tuple[int, int, int, int] | None]]

# Chain 11 covers the whole image; 12 has two boxes and shares one with 13; 14 is a scene, 15 has no box, 99
# is in no annotation.
OBJECTS: Objects = [
    (["11"], (1, 1, 40, 30)),
    (["12", "13"], (5, 6, 20, 25)),
    (["14"], None),
    (["12"], (30, 10, 39, 12)),
    (["15"], None),
]
SENTENCES = [
    "[/EN#11/people A Tall man] in [/EN#12/clothing Red shirts] stands on [/EN#14/scene a street] .",
    "[/EN#13/animals The dog] by [/EN#15/other wind] with [/EN#0/notvisual nothing] .",
    "[/EN#12/people/other two Friends] near [/EN#99/other a ghost] .",
    "A plain sentence without phrases .",
    "[/EN#11/people Man]",
]
CAPTIONS = [
    "A Tall man in Red shirts stands on a street .",
    "The dog by wind with nothing .",
    "two Friends near a ghost .",
    "A plain sentence without phrases .",
    "Man",
]
PAIR: Boxes = [[4, 5, 20, 25], [29, 9, 39, 12]]
MENTIONS: dict[str, tuple[str, Boxes]] = {
    "0/0": ("A Tall man", [[0, 0, 40, 30]]),
    "0/1": ("Red shirts", PAIR),
    "1/0": ("The dog", PAIR[:1]),
    "2/0": ("two Friends", PAIR),
    "4/0": ("Man", [[0, 0, 40, 30]]),
}


def annotation(objects: Objects) -> str:
    lines = [
        "<annotation>",
        f"<size><width>{SIZE[1]}</width><height>{SIZE[0]}</height><depth>3</depth></size>",
    ]
    for names, box in objects:
        lines += ["<object>", *(f"<name>{name}</name>" for name in names)]
        if box is None:
            lines += [f"<scene>{int(names == ['14'])}</scene>", "<nobndbox>1</nobndbox>"]
        else:
            sides = zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
            lines += ["<bndbox>", *(f"<{side}>{value}</{side}>" for side, value in sides), "</bndbox>"]
        lines.append("</object>")
    return "\n".join([*lines, "</annotation>"])


def write(root: Path, nested: bool = False, test_images: int = 5) -> Fake:
    """Sound images in all splits, and in ``test`` also: one without a boxed phrase, broken XML, no image
    file, an inverted box.

    Args:
        root: folder to write into.
        nested: the layout in which Annotations and Sentences lie in ``flickr30k_entities``, and the images in
            a folder of the same name twice.
        test_images: sound images of the test split.
    """
    images = root / "flickr30k_images" / ("flickr30k_images" if nested else "")
    annotated = root / "flickr30k_entities" if nested else root

    def put(image_id: str, sentences: list[str], xml: str, colour: tuple[int, int, int] | None) -> None:
        if colour:
            save_image(images / f"{image_id}.jpg", colour, SIZE, quality=95)
        for folder, suffix, text in (
            ("Annotations", "xml", xml),
            ("Sentences", "txt", "\n".join(sentences) + "\n"),
        ):
            (annotated / folder).mkdir(parents=True, exist_ok=True)
            (annotated / folder / f"{image_id}.{suffix}").write_text(text, encoding="utf-8")

    splits = {
        "train": [f"1{n}" for n in range(6)],
        "val": [f"2{n}" for n in range(3)],
        "test": [f"3{n:02d}" for n in range(test_images)],
    }
    queries: dict[str, dict[str, Asked]] = {split: {} for split in splits}
    for split, ids in splits.items():
        for n, image_id in enumerate(ids):
            colour = (40 * n % 256, 100, 200 - 30 * n % 200)
            put(image_id, SENTENCES, annotation(OBJECTS), colour)
            queries[split] |= {
                f"{image_id}/{key}": Asked(colour, SIZE, *mention) for key, mention in MENTIONS.items()
            }

    put("390", ["[/EN#14/scene A street] ."], annotation(OBJECTS), (1, 1, 1))
    put("391", SENTENCES, "<annotation><object>", (2, 2, 2))
    put("392", SENTENCES, annotation(OBJECTS), None)
    put(
        "393",
        ["[/EN#11/people A man] and [/EN#12/people a boy] ."],
        annotation([(["11"], (9, 9, 3, 20)), (["12"], (1, 1, 2, 2))]),
        (3, 3, 3),
    )
    queries["test"]["393/0/1"] = Asked((3, 3, 3), SIZE, "a boy", [[0, 0, 2, 2]])
    splits["test"] += ["390", "391", "392", "393"]
    for split, ids in splits.items():
        ((root if split == "train" else annotated) / f"{split}.txt").write_text("\n".join(ids) + "\n")
    del queries["train"]
    return Fake(
        arguments={"root": root},
        captions=dict.fromkeys(splits["train"], CAPTIONS),
        queries={split: {"flickr30k_entities": queries[split]} for split in queries},
        skipped={"flickr30k_entities": {"391", "393/0/0", *(f"392/{key}" for key in MENTIONS)}},
        # Phrases of the chains 0, 14, 15 and 99 of each image with all sentences, and that of 390.
        useless={"flickr30k_entities": 4 * (test_images + 1) + 1},
    )
