"""SelfEQ at its smallest."""

from tests.lightning_modules.pretraining.tiny import MODEL
from tests.tiny import GROUNDING, SCENES, Tiny

TINY = {"SelfEQFinetune": Tiny(MODEL, SCENES, GROUNDING, "val/scenes/clean/pointing_game")}
