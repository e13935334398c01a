"""timm comes without wandb, which stays importable."""

import subprocess
import sys

from tests.tiny import ROOT

PROGRAM = """
import sys
from networks.layers.timm_import import import_timm
assert import_timm() is import_timm()
assert import_timm().is_model("resnet18")
assert not any(name == "wandb" or name.startswith("wandb.") for name in sys.modules), "timm brought wandb"
import wandb
assert wandb.init
"""


def test_wandb_is_left_alone() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
