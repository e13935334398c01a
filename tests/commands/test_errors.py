"""What a user can get wrong is one line that begins with ``error: `` and says the way out."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

import cli
from datamodules.batches import Preprocessing
from lightning_modules.base import WeakgroundModule
from lightning_modules.optimisation import Optimisation
from tests.commands.refusals import Change, backbone, model, network, refused, rename
from tests.tiny import tiny_config, write_config


class Mute(WeakgroundModule):
    """A module that serves no capability."""

    def __init__(self) -> None:
        super().__init__(Optimisation(), None)
        self.network = torch.nn.Linear(1, 1)
        self.preprocessing = Preprocessing(32, (0.5,) * 3, (0.5,) * 3)


CONFIGS: dict[str, tuple[Change, list[str]]] = {
    "top-level key": (lambda c: rename(c, "trainer", "trainr"), ["'trainr', did you mean 'trainer'?"]),
    "trainer key": (
        lambda c: rename(c["trainer"], "max_steps", "max_stepz"),
        ["trainer has no key 'max_stepz', did you mean 'max_steps'?"],
    ),
    "method": (
        lambda c: c["model"].update(class_path="HISTFintune"),
        ["model: no class 'HISTFintune' for this, did you mean 'HISTFinetune'?"],
    ),
    "data set": (
        lambda c: c["data"].update(class_path="Scene"),
        ["data: no class 'Scene' for this, did you mean 'Scenes'?"],
    ),
    "callback": (
        lambda c: c["trainer"]["callbacks"][0].update(class_path="Grounding"),
        ["callbacks[0]: no class 'Grounding' for this, did you mean 'GroundingE"],
    ),
    "module key": (
        lambda c: model(c).update(optimization={}),
        ["model: VisionLanguagePretrain has no key 'optimization', did you mean 'optimisation'?"],
    ),
    "backbone key": (
        lambda c: backbone(c).update(max_word=8),
        ["model.backbone: ALBEFBackbone has no key 'max_word', did you mean 'max_words'?"],
    ),
    "backbone class": (
        lambda c: model(c)["backbone"].update(class_path="ALBEFBackbon"),
        ["model.backbone: no class 'ALBEFBackbon' for this, did you mean 'ALBEFBackbone'?"],
    ),
    "class that has moved": (
        lambda c: c["model"].update(class_path="lightning_modules.older.VisionLanguagePretrain"),
        ["model: class 'lightning_modules.older.VisionLanguagePretrain' has moved; write 'VisionLangua"],
    ),
    "network key": (
        lambda c: network(c).update(fusion_layr=1),
        ["model.backbone.network: ALBEF has no key 'fusion_layr', did you mean 'fusion_layer'?"],
    ),
    "size key": (
        lambda c: network(c)["vision"].update(wdth=8),
        ["model.backbone.network.vision has no key 'wdth', did you mean 'width'?"],
    ),
    "network class": (
        lambda c: backbone(c)["network"].update(class_path="ALBEV"),
        ["no class 'ALBEV' for this, did you mean 'ALBEF'?"],
    ),
    "optimisation key": (
        lambda c: model(c)["optimisation"].update(weight_decy=0),
        ["optimisation has no key 'weight_decy', did you mean 'weight_decay'?"],
    ),
    "data key": (
        lambda c: c["data"]["init_args"].update(batchsize=4),
        ["Scenes has no key 'batchsize', did you mean 'batch_size'?"],
    ),
    "callback key": (
        lambda c: c["trainer"]["callbacks"][0]["init_args"].update(protocol=[]),
        ["no key 'protocol', did you mean 'protocols'?"],
    ),
    "protocol": (
        lambda c: c["trainer"]["callbacks"][0]["init_args"].update(protocols=["claen"]),
        ["'claen', did you mean 'clean'"],
    ),
    "protocol field": (
        lambda c: c["trainer"]["callbacks"][0]["init_args"].update(changes={"min_aera": 1}),
        ["'min_aera', did you mean 'min_area'?"],
    ),
    "integer": (
        lambda c: c["data"]["init_args"].update(batch_size="abc"),
        ["data.batch_size must be of type int, not 'abc'."],
    ),
    "null": (
        lambda c: network(c).update(vision=None),
        ["model.backbone.network.vision must be of type ViTSize, not null; leave it out for its default."],
    ),
    "float": (
        lambda c: model(c)["optimisation"].update(lr="fast"),
        ["model.optimisation.lr must be of type float, not 'fast'."],
    ),
    "nested integer": (
        lambda c: network(c)["vision"].update(depth="two"),
        ["model.backbone.network.vision.depth must be of type int, not 'two'."],
    ),
    "choice": (
        lambda c: backbone(c)["negatives"].update(exclude="same_txt"),
        [
            "model.backbone.negatives.exclude must be one of diagonal, same_text, mentioned, not 'same_txt'",
            "did you mean 'same_text'?",
        ],
    ),
    "schedule": (
        lambda c: model(c)["optimisation"].update(schedule="one_cyle"),
        ["model.optimisation.schedule must be one of", "did you mean 'one_cycle'?"],
    ),
    "batch size": (
        lambda c: c["data"]["init_args"].update(batch_size=0),
        ["batch_size and eval_batch_size must be at least 1"],
    ),
    "no negatives": (
        lambda c: c["data"]["init_args"].update(batch_size=1),
        ["set --data.batch_size to 2 or more"],
    ),
    "too few images": (
        lambda c: c["data"]["init_args"].update(train_size=3),
        ["3 training images, fewer than one batch", "lower --data.batch_size"],
    ),
    "heads": (
        lambda c: network(c)["vision"].update(heads=3),
        ["16 cannot be divided among 3 heads"],
    ),
    "patches": (
        lambda c: network(c)["vision"].update(patch_size=9),
        ["32 pixels cannot be cut into patches of 9"],
    ),
    "scene size": (
        lambda c: c["data"]["init_args"].update(image_size=8),
        ["32 pixels or more, not 8: set --data.image_size"],
    ),
    "vocabulary missing": (
        lambda c: backbone(c).update(vocabulary="nowhere/vocab.txt"),
        ["nowhere/vocab.txt not found", "set --model.backbone.vocabulary"],
    ),
    "vocabulary size": (
        lambda c: network(c)["text"].update(vocab_size=66),
        ["has 67 tokens and the network's text.vocab_size is 66; make them equal"],
    ),
    "weights missing": (
        lambda c: model(c).update(pretrained="nowhere.pth"),
        ["nowhere.pth not found; set --model.pretrained"],
    ),
    "data folder": (
        lambda c: c.update(
            data={"class_path": "Flickr30kEntities", "init_args": {"root": "/nowhere/flickr"}}
        ),
        ["/nowhere/flickr not found", "flickr30k_images/", "--data.root"],
    ),
}


@pytest.mark.parametrize("case", CONFIGS)
def test_configuration(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change, message = CONFIGS[case]
    config = copy.deepcopy(tiny_config())
    change(config)
    line = refused(
        ["fit", "--config", write_config(tmp_path / "c.yaml", config), "--runs", str(tmp_path)], capsys
    )
    for words in message:
        assert words in line
    assert not (tmp_path / "c" / "checkpoints").exists()


MISSPELT = [case for case, (_, message) in CONFIGS.items() if "did you mean" in message[0]]


@pytest.mark.parametrize("case", MISSPELT)
def test_a_misspelt_name_is_told_before_a_missing_file(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change = CONFIGS[case][0]
    config = copy.deepcopy(tiny_config())
    backbone(config)["vocabulary"] = str(tmp_path / "no_vocabulary.txt")
    config["data"] = {
        "class_path": "Flickr30kEntities",
        "init_args": {"root": str(tmp_path / "no_data"), "batch_size": 4},
    }
    model(config)["pretrained"] = str(tmp_path / "no_weights.pth")
    change(config)
    argv = ["fit", "--config", write_config(tmp_path / "c.yaml", config), "--runs", str(tmp_path)]
    line = refused(argv, capsys)
    assert "did you mean" in line
    assert "not found" not in line


OPTIONS: dict[str, tuple[list[str], str]] = {
    "data option": (["--data.batchsize", "4"], "no option 'data.batchsize', did you mean 'batch_size'?"),
    "own option": (["--monitr", "x"], "no option 'monitr', did you mean 'monitor'?"),
    "trainer option": (["--trainer.max_stepz", "4"], "did you mean 'max_steps'?"),
    "dataclass option": (
        ["--model.init_args.optimisation.lrr", "4"],
        "'model.optimisation.lrr', did you mean 'lr'?",
    ),
    "option of a class in a class": (
        ["--model.backbone.init_args.network.fusion_layr", "4"],
        "no option 'model.backbone.network.fusion_layr', did you mean 'fusion_layer'?",
    ),
    "class": (["--model", "HISTFintune"], "model: no class 'HISTFintune' for this, did you mean 'HISTFinet"),
    "class of no method": (["--model", "ALBF"], "model: no class 'ALBF' for this; known are AMCFinetune, "),
    "class of another kind": (["--model", "ALBEF"], "model: no class 'ALBEF' for this; known are AMCFine"),
    "class in a class": (
        ["--model.backbone", "ALBF"],
        "model.backbone: no class 'ALBF' for this; known are",
    ),
    "number for a class": (["--data", "3"], "data: no class '3' for this; known are COCOCaptions, "),
    "data class": (["--data.class_path", "Scene"], "data: no class 'Scene' for this, did you mean 'Scenes'?"),
    "data class in other letters": (["--data", "CocoCaptions"], "did you mean 'COCOCaptions'?"),
    "callback": (["--trainer.callbacks+=Picture"], "no class 'Picture' for this, did you mean 'Pictures'?"),
    "abbreviation": (["--trainer.max_step", "3"], "no option 'trainer.max_step', did you mean 'max_steps'?"),
    "abbreviation in a class": (
        ["--model.optimisation.l", "3"],
        "no option 'model.optimisation.l', did you mean 'lr'?",
    ),
    "negative rate": (["--model.optimisation.lr", "-1"], "the learning rate lr must be above 0, not -1.0"),
    "negative decay": (
        ["--model.optimisation.weight_decay=-1"],
        "weight_decay must not be negative, as -1",
    ),
    "negative seed": (["--seed_everything", "-1"], "seed_everything must be at least 0, not -1."),
    "negative workers": (["--data.num_workers", "-1"], "num_workers must not be negative, as -1 is."),
    "negative number of images": (["--data.val_size", "-1"], "val_size and test_size must not be negative."),
    "save every 0": (["--save_every", "0"], "save_every must be at least 1, not 0."),
    "no accumulation": (
        ["--trainer.accumulate_grad_batches", "0"],
        "trainer.accumulate_grad_batches must be at least 1, not 0.",
    ),
    "overfitting": (["--trainer.overfit_batches", "1"], "trainer.overfit_batches would change the order"),
    "refused by Lightning": (["--trainer.devices", "abc"], "`devices` selected with `CPUAccelerator` should"),
    "name that is a path": (["--name", "/tmp/runs/a"], "--runs /tmp/runs --name a."),
    "name above": (["--name", "../a"], "a run has its name below --runs"),
    "runs in a file": (["--runs", __file__], "is a file; it takes a folder."),
    "not null": (
        ["--model.backbone.network.fusion_layer", "null"],
        "model.backbone.network.fusion_layer must be of type int, not null; leave it out",
    ),
    "one of several types": (
        ["--model.backbone.maps.layers", "last"],
        "model.backbone.maps.layers must be of type Sequence or null, not 'last'.",
    ),
    "stray word": (["extra"], "no option 'extra'"),
    "type": (["--data.batch_size", "abc"], "data.batch_size must be of type int, not 'abc'."),
    "trainer type": (["--trainer.max_steps", "many"], "trainer.max_steps must be of type int, not 'many'."),
    "trainer type or null": (
        ["--trainer.max_epochs", "abc"],
        "trainer.max_epochs must be of type int or null, not 'abc'.",
    ),
    "precision": (["--trainer.precision", "bf16-mixd"], "did you mean 'bf16-mixed'?"),
    "choice": (
        ["--model.init_args.backbone.init_args.negatives.exclude", "foo"],
        "must be one of diagonal, same_text, mentioned, not 'foo'.",
    ),
    "device": (["--trainer.accelerator", "warp"], "`accelerator='warp'`. Available names are: "),
    "checkpoint": (
        ["--ckpt_path", "nowhere.ckpt"],
        "nowhere.ckpt not found; --ckpt_path takes best, last or a file.",
    ),
    "no last checkpoint": (["--ckpt_path", "last"], "has no last checkpoint (it has: none)"),
}


@pytest.mark.parametrize("case", OPTIONS)
def test_command_line(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options, message = OPTIONS[case]
    config = write_config(tmp_path / "c.yaml", tiny_config())
    assert message in refused(["fit", "--config", config, "--runs", str(tmp_path), *options], capsys)


FILES = {
    "no YAML": ("a: [1\nb: 2", "line 2: no valid YAML"),
    "a word": ("hello", "must hold keys such as model, data and trainer"),
    "nothing": ("", "must hold keys such as model, data and trainer"),
    "not text": (b"\xff\xfe\xfa", "no valid YAML"),
}


@pytest.mark.parametrize("case", FILES)
def test_configuration_files(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content, message = FILES[case]
    path = tmp_path / "c.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    for argv in (["--config", str(path)], [f"--config={path}"], ["-c", str(path)]):
        line = refused(["fit", *argv], capsys)
        assert message in line
        assert str(path) in line


def test_a_missing_configuration_names_its_neighbour(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "hist_albef.yaml").touch()
    assert "not found, did you mean 'hist_albef.yaml'?" in refused(
        ["fit", "--config", str(tmp_path / "hist_albeff.yaml")], capsys
    )
    assert refused(["fit", "--config", str(tmp_path / "zzz.yaml")], capsys).endswith("zzz.yaml not found.")
    assert "not found." in refused(["fit", "--config", str(tmp_path / "no" / "folder.yaml")], capsys)


def test_nothing_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "give --config FILE" in refused(["fit"], capsys)
    assert "expected one argument" in refused(["fit", "--config"], capsys)
    assert "there is no run with a checkpoint below" in refused(["test"], capsys)
    assert "holds no run; --name takes a folder below runs" in refused(["test", "--name", "gone"], capsys)
    assert "no subcommand 'fitt', did you mean 'fit'?" in refused(["fitt"], capsys)


def test_an_evaluation_that_the_module_cannot_serve(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tiny_config()
    config["model"] = {"class_path": f"{__name__}.Mute"}
    argv = ["test", "--config", write_config(tmp_path / "c.yaml", config), "--runs", str(tmp_path)]
    line = refused(argv, capsys)
    assert line == (
        "error: GroundingEvaluation needs a module that can `ground`, and Mute cannot; take this evaluation "
        "out of the config."
    )
    config["model"]["init_args"] = {"volume": 11}
    write_config(tmp_path / "c.yaml", config)
    assert "Mute has no key 'volume'" in refused(argv, capsys)  # a class of one's own is checked, too


def test_a_command_line_is_checked_before_a_run_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "no option 'naem', did you mean 'name'?" in refused(["test", "--naem", "x"], capsys)
    assert "did you mean 'max_steps'?" in refused(["test", "--trainer.max_stepz=3"], capsys)
    (tmp_path / "c.yaml").write_text("modle: {}\n")
    line = refused(["fit", "--config", "c.yaml"], capsys)
    assert "c.yaml: a configuration has no key 'modle', did you mean 'model'?" in line


def test_what_is_not_the_users_fault_keeps_its_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*arguments: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("networks.albef.ALBEF.encode_image", broken)
    config = write_config(tmp_path / "c.yaml", tiny_config())
    assert cli.main(["fit", "--config", config, "--runs", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert "Traceback" in error
    assert "ZeroDivisionError" in error
