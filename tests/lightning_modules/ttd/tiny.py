"""TTD at its smallest, on an untrained MaskCLIP."""

from copy import deepcopy

from tests.tiny import GROUNDING, SCENES, Tiny

SIZES = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 16, "head_width": 8, "patch_size": 8},
    "text_cfg": {"context_length": 16, "width": 16, "heads": 2, "layers": 1},
}
MODEL = {
    "backbone": {"class_path": "MaskCLIP", "init_args": {"clip": {"sizes": SIZES}}},
    "adapters": {"rank": 2, "alpha": 2},
    "contrast": {"weight": 0.1},
    "images": {"train_sizes": [24, 48], "crop": 32, "eval_size": 32},
    "optimisation": {"lr": 1e-3},
}
JUDGED = deepcopy(SCENES)
JUDGED["init_args"]["judged"] = ["phrases", "tags", "shapes"]
EVALUATION = [
    *GROUNDING,
    {"class_path": "TagEvaluation", "init_args": {"scores": ["pixel"]}},
    {"class_path": "CaptionEvaluation"},
    {"class_path": "SegmentationEvaluation"},
    {"class_path": "TagPictures"},
]
TINY = {"TTDSelfDistill": Tiny(MODEL, JUDGED, EVALUATION, "val/scenes_tags/pixel/f1")}
