"""Names of the classes of segmentation and tagging sets, in the order of their labels, spelt as
MMSegmentation and after it TCL give them to a model.

``background`` is not listed here: the sets that have it put it first.
"""

from __future__ import annotations

from collections.abc import Iterable


def _listed(names: str) -> tuple[str, ...]:
    """The names in a text, separated by commas."""
    return tuple(" ".join(name.split()) for name in names.split(","))


BACKGROUND = "background"

VOC = _listed(
    """
    aeroplane, bicycle, bird, boat, bottle, bus, car, cat, chair, cow, diningtable, dog, horse, motorbike,
    person, pottedplant, sheep, sofa, train, tvmonitor
    """
)

PASCAL_CONTEXT = _listed(
    """
    aeroplane, bicycle, bird, boat, bottle, bus, car, cat, chair, cow, table, dog, horse, motorbike,
    person, pottedplant, sheep, sofa, train, tvmonitor, bag, bed, bench, book, building, cabinet, ceiling,
    cloth, computer, cup, door, fence, floor, flower, food, grass, ground, keyboard, light, mountain,
    mouse, curtain, platform, sign, plate, road, rock, shelves, sidewalk, sky, snow, bedclothes, track,
    tree, truck, wall, water, window, wood
    """
)

COCO_THINGS = _listed(
    """
    person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, stop
    sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe,
    backpack, umbrella, handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat,
    baseball glove, skateboard, surfboard, tennis racket, bottle, wine glass, cup, fork, knife, spoon,
    bowl, banana, apple, sandwich, orange, broccoli, carrot, hot dog, pizza, donut, cake, chair, couch,
    potted plant, bed, dining table, toilet, tv, laptop, mouse, remote, keyboard, cell phone, microwave,
    oven, toaster, sink, refrigerator, book, clock, vase, scissors, teddy bear, hair drier, toothbrush
    """
)
# COCO counts its 80 categories from 1 to 90 and leaves these numbers out.
COCO_UNUSED_IDS = frozenset({12, 26, 29, 30, 45, 66, 68, 69, 71, 83})
COCO_THING_IDS = tuple(number for number in range(1, 91) if number not in COCO_UNUSED_IDS)

COCO_STUFF = COCO_THINGS + _listed(
    """
    banner, blanket, branch, bridge, building-other, bush, cabinet, cage, cardboard, carpet,
    ceiling-other, ceiling-tile, cloth, clothes, clouds, counter, cupboard, curtain, desk-stuff, dirt,
    door-stuff, fence, floor-marble, floor-other, floor-stone, floor-tile, floor-wood, flower, fog,
    food-other, fruit, furniture-other, grass, gravel, ground-other, hill, house, leaves, light, mat,
    metal, mirror-stuff, moss, mountain, mud, napkin, net, paper, pavement, pillow, plant-other, plastic,
    platform, playingfield, railing, railroad, river, road, rock, roof, rug, salad, sand, sea, shelf,
    sky-other, skyscraper, snow, solid-other, stairs, stone, straw, structural-other, table, tent,
    textile-other, towel, tree, vegetable, wall-brick, wall-concrete, wall-other, wall-panel, wall-stone,
    wall-tile, wall-wood, water-other, waterdrops, window-blind, window-other, wood
    """
)
COCO_STUFF_IDS = COCO_THING_IDS + tuple(range(92, 183))

CITYSCAPES = _listed(
    """
    road, sidewalk, building, wall, fence, pole, traffic light, traffic sign, vegetation, terrain, sky,
    person, rider, car, truck, bus, train, motorcycle, bicycle
    """
)
# What the publisher's ``labelIds`` call these classes; all other numbers are not judged.
CITYSCAPES_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)

ADE20K = _listed(
    """
    wall, building, sky, floor, tree, ceiling, road, bed, windowpane, grass, cabinet, sidewalk, person,
    earth, door, table, mountain, plant, curtain, chair, car, water, painting, sofa, shelf, house, sea,
    mirror, rug, field, armchair, seat, fence, desk, rock, wardrobe, lamp, bathtub, railing, cushion,
    base, box, column, signboard, chest of drawers, counter, sand, sink, skyscraper, fireplace,
    refrigerator, grandstand, path, stairs, runway, case, pool table, pillow, screen door, stairway,
    river, bridge, bookcase, blind, coffee table, toilet, flower, book, hill, bench, countertop, stove,
    palm, kitchen island, computer, swivel chair, boat, bar, arcade machine, hovel, bus, towel, light,
    truck, tower, chandelier, awning, streetlight, booth, television receiver, airplane, dirt track,
    apparel, pole, land, bannister, escalator, ottoman, bottle, buffet, poster, stage, van, ship,
    fountain, conveyer belt, canopy, washer, plaything, swimming pool, stool, barrel, basket, waterfall,
    tent, bag, minibike, cradle, oven, ball, food, step, tank, trade name, microwave, pot, animal,
    bicycle, lake, dishwasher, screen, blanket, sculpture, hood, sconce, vase, traffic light, tray,
    ashcan, fan, pier, crt screen, plate, monitor, bulletin board, shower, radiator, glass, clock, flag
    """
)

NUS_WIDE = _listed(
    """
    airport, animal, beach, bear, birds, boats, book, bridge, buildings, cars, castle, cat, cityscape,
    clouds, computer, coral, cow, dancing, dog, earthquake, elk, fire, fish, flags, flowers, food, fox,
    frost, garden, glacier, grass, harbor, horses, house, lake, leaf, map, military, moon, mountain,
    nighttime, ocean, person, plane, plants, police, protest, railroad, rainbow, reflection, road, rocks,
    running, sand, sign, sky, snow, soccer, sports, statue, street, sun, sunset, surf, swimmers, tattoo,
    temple, tiger, tower, town, toy, train, tree, valley, vehicle, water, waterfall, wedding, whales,
    window, zebra
    """
)

# MaskCLIP asks for PASCAL's classes in plain English.
PLAIN_ENGLISH = {
    "aeroplane": "airplane",
    "diningtable": "dining table",
    "pottedplant": "potted plant",
    "tvmonitor": "tv monitor",
}


def in_plain_english(names: Iterable[str]) -> tuple[str, ...]:
    """``names`` with PASCAL's compounds and Britishisms as MaskCLIP writes them.

    Example:
        >>> in_plain_english(["sofa", "diningtable"])
        ('sofa', 'dining table')
    """
    return tuple(PLAIN_ENGLISH.get(name, name) for name in names)
