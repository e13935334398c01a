"""Text group discovery at its smallest."""

from tests.tiny import LOADING, SCENE_WORDS, Tiny

MODEL = {
    "network": {
        "class_path": "TextGroupTransformer",
        "init_args": {
            "groups": 2,
            "depth": 1,
            "group_depth": 1,
            "size": {"width": 16, "heads": 2, "vocab_size": 67, "max_positions": 32, "embed_dim": 8},
        },
    },
    "text": {"vocabulary": SCENE_WORDS, "max_tokens": 32},
    "weights": {"contrastive": 0.0},
    "optimisation": {"lr": 1e-3, "schedule": "one_cycle"},
}
SPANS = {"class_path": "SceneCaptions", "init_args": dict(LOADING)}
WORDS = [{"class_path": "SpanEvaluation"}, {"class_path": "GroupPictures"}]
TINY = {"TextGroupDiscovery": Tiny(MODEL, SPANS, WORDS, "val/scene_captions/subword/tiou")}
