"""Backbones at their smallest, on made scenes."""

from tests.tiny import SCENE_WORDS

ALBEF = {
    "class_path": "ALBEFBackbone",
    "init_args": {
        "network": {
            "class_path": "ALBEF",
            "init_args": {
                "vision": {"image_size": 32, "patch_size": 8, "width": 16, "depth": 1, "heads": 2},
                "text": {
                    "width": 16,
                    "depth": 3,
                    "heads": 2,
                    "intermediate": 32,
                    "vocab_size": 67,
                    "max_positions": 32,
                    "dropout": 0.1,
                },
                "contrast": {"embed_dim": 8, "queue_size": 32},
                "fusion_layer": 1,
            },
        },
        "vocabulary": SCENE_WORDS,
        "maps": {"layers": [1]},
        "negatives": {"exclude": "same_text"},
    },
}
BLIP = {
    "class_path": "BLIPBackbone",
    "init_args": {
        "network": {
            "class_path": "BLIP",
            "init_args": {
                "vision": {
                    "image_size": 32,
                    "patch_size": 8,
                    "width": 16,
                    "depth": 2,
                    "heads": 2,
                    "drop_path": 0.1,
                },
                "text": {
                    "width": 16,
                    "depth": 3,
                    "heads": 2,
                    "intermediate": 32,
                    "vocab_size": 69,
                    "max_positions": 32,
                    "dropout": 0.1,
                },
                "contrast": {"embed_dim": 8, "queue_size": 32},
            },
        },
        "vocabulary": SCENE_WORDS,
        "maps": {"layers": [1], "heads": [[0, 1], [2, 0]], "combine": "product"},
        "negatives": {"exclude": "same_text"},
    },
}
PHOTO_ALBEF = {
    "class_path": "PhotoALBEFBackbone",
    "init_args": {
        "encoder": {"class_path": "tests.lightning_modules.alignment.tiny.TinyEncoder"},
        "fusion": {"layers": 2},
        "contrast": {"embed_dim": 16, "queue_size": 32},
        "negatives": {"exclude": "same_text"},
        "training_size": 32,
    },
}
TINY = {"ALBEFBackbone": ALBEF, "BLIPBackbone": BLIP, "PhotoALBEFBackbone": PHOTO_ALBEF}
