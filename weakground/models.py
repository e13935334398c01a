"""Models by name: those that come with the project, and one's own runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from commands.runs import RunError, default_checkpoint, find_checkpoint
from commands.suggest import nearest

if TYPE_CHECKING:
    from weakground.grounder import Grounder

SHIPPED = Path(__file__).parent / "weights"


def shipped_models() -> list[str]:
    """The names of the models whose weights come with the project."""
    return sorted(path.stem for path in SHIPPED.glob("*.json"))


def load(name: str | Path = "photos", device: str = "cpu", runs: str | Path = "runs") -> Grounder:
    """A model that is ready to ground phrases.

    Args:
        name: a model that comes with the project (`shipped_models`), a run below ``runs``, the folder of a
            run, or a checkpoint in it.
        device: where it computes, e.g. ``cuda``.
        runs: folder of all runs.

    Raises:
        RunError: there is no such model, run or checkpoint.
        ModelError: its weights do not fit, or a package is missing.
    """
    if str(name) in shipped_models():
        module = _shipped(str(name))
    else:
        module = load_run(*find_run(Path(name), Path(runs)))
    from weakground.grounder import Grounder  # here, so that a wrong name is told before torch is imported

    return Grounder(module.to(device))


def _shipped(name: str) -> Any:
    content = json.loads((SHIPPED / f"{name}.json").read_text(encoding="utf-8"))
    model = content["model"]
    model["init_args"]["encoder"]["init_args"]["head"] = str(SHIPPED / f"{name}.safetensors")
    return instantiate(model)


def find_run(name: Path, runs: Path) -> tuple[Path, str]:
    """The folder of a run, and its checkpoint (``best``, ``last`` or a file).

    Args:
        name: of a run, its folder, or a checkpoint in it.
        runs: folder of all runs.

    Raises:
        RunError: there is no such run.
    """
    if name.is_file():
        folder = name.absolute().parent.parent
        if not (folder / "config.yaml").is_file():
            raise RunError(
                f"{name} does not lie in the folder of a run ({folder / 'config.yaml'} is missing), so that "
                "nobody knows what model it is of; name the run."
            )
        return folder, str(name)
    for folder in (name, runs / name):
        if (folder / "config.yaml").is_file():
            return folder, default_checkpoint(folder)
    shipped = shipped_models()
    trained = [path.parent.relative_to(runs).as_posix() for path in sorted(runs.glob("**/config.yaml"))]
    hint = nearest(str(name), [*shipped, *trained])
    raise RunError(
        f"there is no model {str(name)!r}{hint}: it is none of those that come with the project "
        f"({', '.join(shipped)}), and no run below {runs.absolute()}."
    )


def load_run(folder: Path, checkpoint: str) -> Any:
    """The module of a run, with the weights of a checkpoint.

    Raises:
        RunError: there is no such checkpoint.
        ModelError: it does not fit.
    """
    path = find_checkpoint(folder, checkpoint)
    module = instantiate(model_config(folder))
    module.restore(path)
    return module


def model_config(folder: Path) -> dict[str, Any]:
    """The section ``model`` of a run's configuration, without the weights that its training started from."""
    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    model = config["model"]
    model["init_args"].pop("pretrained", None)
    return model


def instantiate(model: dict[str, Any]) -> Any:
    """A module from the section ``model`` of a configuration."""
    import torch
    from lightning.pytorch.cli import LightningArgumentParser

    import lightning_modules.catalogue  # noqa: F401 (class names work without their package path)
    from lightning_modules.base import WeakgroundModule

    parser = LightningArgumentParser()
    parser.add_subclass_arguments(WeakgroundModule, "model")
    with torch.random.fork_rng(devices=[]):
        return parser.instantiate(parser.parse_object({"model": model})).model.eval()
