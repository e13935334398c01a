"""An old name is answered with the new one, in a config file and on the command line."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

import cli
from commands import renamed
from commands.options import known_classes, known_options
from tests.commands.refusals import Change, backbone, model, refused
from tests.tiny import tiny_config, write_config

RENAMED: dict[str, tuple[Change, list[str], str]] = {
    "key in a file": (
        lambda c: model(c).update(network_of_old={"depth": 1}),
        [],
        "option 'model.network_of_old' is now called 'model.backbone.network'.",
    ),
    "key deep in a file": (
        lambda c: backbone(c).update(longest=8),
        [],
        "option 'model.backbone.longest' is now called 'model.backbone.max_words'.",
    ),
    "top-level key": (lambda c: c.update(every=3), [], "option 'every' is now called 'save_every'."),
    "class in a file": (
        lambda c: c["model"].update(class_path="Pretrain"),
        [],
        "model: class 'Pretrain' is now called 'VisionLanguagePretrain'.",
    ),
    "class by its old path": (
        lambda c: c["model"].update(class_path="lightning_modules.old.Pretrain"),
        [],
        "is now called 'VisionLanguagePretrain'.",
    ),
    "option": (
        lambda c: None,
        ["--model.init_args.network_of_old.init_args.depth", "2"],
        "option 'model.network_of_old.depth' is now called 'model.backbone.network.depth'.",
    ),
    "deep option": (
        lambda c: None,
        ["--model.backbone.longest=2"],
        "option 'model.backbone.longest' is now called 'model.backbone.max_words'.",
    ),
    "top-level option": (lambda c: None, ["--every", "3"], "option 'every' is now called 'save_every'."),
    "class option": (lambda c: None, ["--model", "Pretrain"], "is now called 'VisionLanguagePretrain'."),
}


@pytest.fixture
def old_names(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {
        "model.network_of_old": "model.backbone.network",
        "longest": "max_words",
        "every": "save_every",
    }
    for old, new in options.items():
        monkeypatch.setitem(renamed.RENAMED_OPTIONS, old, new)
    monkeypatch.setitem(renamed.RENAMED_CLASSES, "Pretrain", "VisionLanguagePretrain")


@pytest.mark.usefixtures("old_names")
@pytest.mark.parametrize("case", RENAMED)
def test_an_old_name_is_answered_with_the_new_one(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change, options, message = RENAMED[case]
    config = copy.deepcopy(tiny_config())
    change(config)
    argv = ["fit", "--config", write_config(tmp_path / "c.yaml", config), "--runs", str(tmp_path), *options]
    line = refused(argv, capsys)
    assert line.endswith(message)
    assert cli.main(argv) == 2


def test_an_option_of_today_is_no_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A misspelt option below one that exists is answered with its neighbour."""
    monkeypatch.setitem(renamed.RENAMED_OPTIONS, "model.backbone.network", "model.elsewhere")
    config = write_config(tmp_path / "c.yaml", tiny_config())
    line = refused(["fit", "--config", config, "--model.backbone.network.fusion_layr", "1"], capsys)
    assert "did you mean 'fusion_layer'?" in line


def test_several_parts_may_have_another_name() -> None:
    names = {
        "model.network": "model.backbone.network",
        "model.backbone.network.depth": "model.backbone.layers",
    }
    assert renamed.new_option("model.network.depth", 1, names) == "model.backbone.layers"
    assert renamed.new_option("model.network.width", 1, names) == "model.backbone.network.width"
    assert renamed.new_option("model.network.width", 2, names) is None
    assert renamed.new_option("model.width", 1, names) is None
    names = {"model.network.width": "model.network.size", "model.network": "model.backbone.network"}
    assert (
        renamed.new_option("model.network.width", 2, names) == "model.network.size"
    )  # it is followed no further


def test_an_option_may_have_several_new_names() -> None:
    names = {"model.size": "model.a.size or model.b.size", "model.b.size.width": "model.b.width"}
    assert renamed.new_option("model.size.width", 1, names) == "model.a.size.width or model.b.width"
    answer = renamed.renamed_option("model.vocabulary", 1)
    assert answer == (
        "option 'model.vocabulary' is now called 'model.backbone.vocabulary' or 'model.text.vocabulary'."
    )


def test_new_names_exist() -> None:
    for new in renamed.RENAMED_CLASSES.values():
        assert new in known_classes()
    for names in renamed.RENAMED_OPTIONS.values():
        for new in names.split(" or "):
            assert set(new.split(".")) <= set(known_options()), new
