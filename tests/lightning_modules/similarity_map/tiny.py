"""g and g++ at their smallest, with an untrained CLIP."""

from tests.tiny import GROUNDING, SCENES, Tiny

CLIP = {
    "class_path": "OpenCLIP",
    "init_args": {
        "sizes": {
            "embed_dim": 8,
            "vision_cfg": {"image_size": 32, "layers": 1, "width": 16, "head_width": 8, "patch_size": 8},
            "text_cfg": {"context_length": 16, "width": 16, "heads": 2, "layers": 1},
        }
    },
}
MODEL = {
    "clip": CLIP,
    "size": {"trunk": "test_resnet", "stride": 8, "up_widths": [4]},
    "images": {"train_size": 32, "eval_size": 48},
    "texts": {"source": "phrases", "drop_words": 0.2},
}
LABELS = {"iou_threshold": 0.5}
METRIC = "val/scenes/clean/pointing_game"
TINY = {
    "WWbLTrain": Tiny(MODEL, SCENES, GROUNDING, METRIC),
    "SimilarityMapSelfTraining": Tiny({**MODEL, "labels": LABELS}, SCENES, GROUNDING, METRIC),
}
