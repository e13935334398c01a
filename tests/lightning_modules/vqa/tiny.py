"""Questions and answers at their smallest."""

from copy import deepcopy

from tests.lightning_modules.backbones.tiny import ALBEF
from tests.tiny import ROOT, SCENES, Tiny

SIZES = deepcopy(ALBEF["init_args"]["network"]["init_args"])  # type: ignore[index]
del SIZES["contrast"]
SIZES["text"]["vocab_size"] = 81
DEMO = ROOT / "configs" / "demo"
MODEL = {
    "network": {"class_path": "ALBEFForQuestions", "init_args": SIZES},
    "vocabulary": str(DEMO / "scenes_questions_vocab.txt"),
    "answers": str(DEMO / "scenes_answers.json"),
    "answering": {"candidates": 5, "pairs_per_pass": 7},
    "optimisation": {"lr": 1e-3},
}
JUDGED = deepcopy(SCENES)
JUDGED["init_args"]["judged"] = ["questions"]
TINY = {
    "VQAFinetune": Tiny(
        MODEL, JUDGED, [{"class_path": "QuestionEvaluation"}], "val/scenes_questions/vqa/accuracy"
    )
}
