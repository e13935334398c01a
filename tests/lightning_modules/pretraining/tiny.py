"""Pre-training at its smallest."""

from tests.lightning_modules.backbones.tiny import ALBEF
from tests.tiny import GROUNDING, SCENES, Tiny

MODEL = {"backbone": ALBEF, "optimisation": {"lr": 1e-3, "schedule": "one_cycle"}}
TINY = {"VisionLanguagePretrain": Tiny(MODEL, SCENES, GROUNDING, "val/scenes/clean/pointing_game")}
