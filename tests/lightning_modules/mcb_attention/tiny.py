"""MCB attention and its pre-training at their smallest."""

from tests.tiny import LOADING, Tiny

BACKBONE = {"width": 4, "blocks": [1], "strides": [1]}
DIGITS = {
    "class_path": "MultiMNIST",
    "init_args": {"drawing": {"canvas": 32, "digits": [1, 2]}, "grids": [], **LOADING},
}
MAPS = [{"class_path": "MapEvaluation"}, {"class_path": "Pictures"}]
ATTENTION = {
    "backbone": BACKBONE,
    "attention": {"text_width": 8, "sketch": 32, "hidden": 8},
    "images": {"size": 32},
}
PRETRAIN = {"backbone": BACKBONE, "images": {"size": 32}}
TINY = {
    "MCBAttention": Tiny(ATTENTION, DIGITS, MAPS, "val/multi_mnist/map/average_iou"),
    "DigitPretrain": Tiny(PRETRAIN, DIGITS, MAPS, "val/multi_mnist/map/average_iou"),
}
