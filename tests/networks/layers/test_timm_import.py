"""timm comes without wandb, which stays importable."""

import sys
from importlib.util import find_spec

from networks.layers.timm_import import import_timm
from tests.forked import finish, start


def import_afresh() -> None:
    """In a process of its own, since classes of timm must not be there twice."""
    for name in list(sys.modules):
        if name.partition(".")[0] in {"timm", "wandb"}:
            del sys.modules[name]
    assert import_timm() is import_timm()
    assert import_timm().is_model("resnet18")
    assert not any(name.partition(".")[0] == "wandb" for name in sys.modules), "timm brought wandb"
    assert find_spec("wandb")


def test_wandb_is_left_alone() -> None:
    code, output = finish(start(import_afresh))
    assert code == 0, output
