"""Retrieval at its smallest."""

from copy import deepcopy

from tests.lightning_modules.pretraining.tiny import MODEL
from tests.tiny import SCENES, Tiny

JUDGED = deepcopy(SCENES)
JUDGED["init_args"]["judged"] = ["captions"]
EVALUATION = [{"class_path": "RetrievalEvaluation", "init_args": {"candidates": 4, "pairs_per_pass": 3}}]
TINY = {"RetrievalFinetune": Tiny(MODEL, JUDGED, EVALUATION, "val/scenes_captions/rerank/R@mean")}
