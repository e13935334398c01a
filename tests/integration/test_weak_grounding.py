"""One run judged on the four sets of the papers at once, each under the protocols that the configuration
names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from commands.trainer import run
from datamodules.catalogue import Flickr30kEntities, RefCOCOPlus, ReferIt, VisualGenome
from tests.fakes import write_fake
from tests.tiny import ROOT, metrics, tiny_config, write_config


def plain(arguments: dict[str, Any]) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, Path) else value for name, value in arguments.items()}


@pytest.mark.filterwarnings("ignore")
def test_the_four_sets_of_weak_grounding(tmp_path: Path) -> None:
    fakes = {
        kind.__name__: write_fake(kind, tmp_path / kind.__name__)
        for kind in (Flickr30kEntities, ReferIt, RefCOCOPlus, VisualGenome)
    }
    content = yaml.safe_load((ROOT / "configs" / "eval" / "weak_grounding.yaml").read_text(encoding="utf-8"))
    protocols_of = content["trainer"]["callbacks"][0]["init_args"]["protocols_of"]
    for name, entry in content["data"]["init_args"]["test"].items():
        entry["init_args"] = plain(fakes[entry["class_path"]].arguments) | (
            {"split": "val"} if name.endswith("_val") else {}
        )
    content["data"]["init_args"] |= {"eval_batch_size": 2, "num_workers": 0, "max_skipped": 1.0}
    tiny = write_config(tmp_path / "tiny.yaml", tiny_config("HISTFinetune"))
    run(
        [
            "test",
            "--config",
            tiny,
            "--config",
            write_config(tmp_path / "eval.yaml", content),
            "--runs",
            str(tmp_path / "runs"),
        ]
    )

    results = metrics(tmp_path / "runs" / "tiny")["results"]
    judged: dict[str, set[str]] = {}
    for result in results:
        judged.setdefault(result["dataset"], set()).add(result["protocol"])
        assert result["n"] > 0
    assert judged == {name: set(protocols) for name, protocols in protocols_of.items()}
