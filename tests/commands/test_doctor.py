"""`doctor` finds what a configuration needs, says what is lacking and how to obtain it, and exits with 1 only
then.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from commands import doctor, machine
from datamodules.sets.coco_captions import COCOCaptions
from datamodules.storage.index import index_files
from tests.fakes import coco_captions
from tests.tiny import ROOT


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def config(path: Path, **content: Any) -> list[str]:
    path.write_text(yaml.safe_dump(content))
    return ["--config", str(path)]


def node(name: str, **arguments: Any) -> dict[str, Any]:
    return {"class_path": name, "init_args": arguments}


def findings(content: dict[str, Any]) -> dict[str, machine.Finding]:
    """What a configuration needs, by its name."""
    return {finding.needed: finding for finding in doctor.config_findings(content)}


def test_without_a_configuration_nothing_is_needed(folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert doctor.main(["doctor"]) == 0
    output = capsys.readouterr().out
    for word in (
        "Python",
        "GPU",
        "free disk",
        "torch",
        "lightning",
        "Flickr30kEntities",
        "data/ALBEF.pth",
        "python cli.py prepare",
    ):
        assert word in output


def test_the_papers_recipe_names_everything_and_how_to_obtain_it(
    folder: Path, capsys: pytest.CaptureFixture
) -> None:
    assert doctor.main(["doctor", "--config", str(ROOT / "configs" / "hist_albef.yaml")]) == 1
    output = capsys.readouterr().out
    for line in (
        "COCOCaptions: python cli.py prepare COCOCaptions",
        "Flickr30kEntities: python cli.py prepare Flickr30kEntities",
        "HISTFinetune.pretrained: python cli.py prepare ALBEF --download",
        "ALBEFBackbone.vocabulary: python cli.py prepare bert-vocabulary --download",
    ):
        assert line in output
    assert output.count("  Flickr30kEntities: ") == 1  # though it stands under val and test


def test_the_demo_needs_nothing_that_is_not_here(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(ROOT)
    assert doctor.main(["doctor", "--config", "configs/demo/hist.yaml"]) == 0
    assert "scenes_vocab.txt" in capsys.readouterr().out


def test_a_complete_set_is_in_order(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    coco_captions.write(folder / "coco")
    layout = COCOCaptions.layout
    parts = tuple(replace(part, count=min(part.count or 1, 6)) for part in layout.parts)
    monkeypatch.setattr(COCOCaptions, "layout", replace(layout, parts=parts))
    arguments = ["doctor", *config(folder / "c.yaml", data=node("COCOCaptions", root="coco"))]
    assert doctor.main(arguments) == 0
    assert "complete" in capsys.readouterr().out
    next((folder / "coco" / "train2014").glob("*.jpg")).unlink()
    assert doctor.main(arguments) == 1
    output = capsys.readouterr().out
    assert "5 of 6 photographs of train2014" in output
    assert "python cli.py prepare COCOCaptions --root coco --download" in output


def test_a_damaged_index_is_named_with_the_way_out(folder: Path, capsys: pytest.CaptureFixture) -> None:
    arguments = {"root": "coco", "num_workers": 0}
    coco_captions.write(folder / "coco")
    COCOCaptions(**arguments).training_source()
    (index,) = index_files(Path("coco"))
    content = {"data": node("COCOCaptions", **arguments)}
    assert "index" not in findings(content)
    damaged = bytearray(index.read_bytes())
    damaged[damaged.index(b".jpg")] ^= 1
    index.write_bytes(damaged)
    finding = findings(content)["index"]
    assert (finding.place, finding.state) == (str(index), "damaged")
    assert "delete it, and it will be built anew" in finding.advice
    assert doctor.main(["doctor", *config(folder / "c.yaml", **content)]) == 1
    assert f"index: {index} has been damaged" in capsys.readouterr().out
    index.unlink()
    assert "index" not in findings(content)


def test_options_decide_what_is_needed(folder: Path) -> None:
    for options, words in (({}, "train2014"), ({"year": 2017}, "train2017")):
        finding = findings({"data": node("COCOCaptions", **options)})["COCOCaptions"]
        assert words in finding.details
    assert finding.advice == "python cli.py prepare COCOCaptions year=2017"


def test_a_set_that_needs_no_folder(folder: Path) -> None:
    finding = findings({"data": node("MultiMNIST")})["MultiMNIST"]
    assert finding.sound
    assert finding.state == "not needed"
    assert not findings({"data": node("MultiMNIST", root="data/mnist")})["MultiMNIST"].sound


def test_a_set_whose_files_are_named_needs_no_folder(folder: Path) -> None:
    content = {"data": node("Flickr30kSpans", test_file="spans.jsonl")}
    spans, file = findings(content).values()
    assert (spans.needed, spans.state) == ("Flickr30kSpans", "not needed")
    assert spans.sound
    assert (file.needed, file.place, file.state) == ("Flickr30kSpans.test_file", "spans.jsonl", "missing")
    assert findings({"data": node("Flickr30kSpans")})["Flickr30kSpans"].state == "missing"


def test_files_of_the_users_own(folder: Path) -> None:
    (folder / "photos").mkdir()
    content = {"data": node("ImageCaptionFolder", images="photos", captions="captions.csv")}
    images, captions = findings(content).values()  # neither cache_dir nor what is not set
    assert (images.needed, images.state) == ("ImageCaptionFolder.images", "present")
    assert (captions.needed, captions.state) == ("ImageCaptionFolder.captions", "missing")
    assert "option captions" in captions.advice


def test_members_are_found_at_any_depth(folder: Path) -> None:
    sets = {"a": node("Flickr30kEntities", root="x"), "b": node("Flickr30kEntities", root="y")}
    content = {"data": node("CrossDataset", train=node("COCOCaptions"), test=sets)}
    assert [(finding.needed, finding.place) for finding in doctor.config_findings(content)] == [
        ("COCOCaptions", "data/coco"),
        ("Flickr30kEntities", "x"),
        ("Flickr30kEntities", "y"),
    ]


def test_weights_are_known_by_their_name_wherever_they_are_wanted(folder: Path) -> None:
    assert (
        doctor.path_finding("M.pretrained", Path("weights/ALBEF.pth")).advice
        == "python cli.py prepare ALBEF --root weights --download"
    )
    assert "vocab.txt" not in doctor.path_finding("M.vocabulary", Path("other/words.txt")).advice
    (folder / "ALBEF.pth").write_bytes(bytes(3_000_000))
    finding = doctor.path_finding("M.pretrained", folder / "ALBEF.pth")
    assert finding.sound
    assert finding.details == "3.0 MB"


def test_later_configurations_go_over_earlier_ones(folder: Path) -> None:
    below = config(
        folder / "a.yaml",
        data=node("COCOCaptions", root="a", year=2017),
        model=node("HISTFinetune", vocabulary="v"),
    )
    above = config(folder / "b.yaml", data=node("COCOCaptions", root="b"))
    other = config(folder / "c.yaml", data=node("Flickr30kEntities"))
    merged = doctor.merged([Path(below[1]), Path(above[1])])
    assert merged["data"]["init_args"] == {"root": "b", "year": 2017}
    assert merged["model"]["init_args"] == {"vocabulary": "v"}
    assert doctor.merged([Path(below[1]), Path(other[1])])["data"] == node("Flickr30kEntities")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("data: [", "no valid YAML"),
        ("dta: 1", "did you mean 'data'"),
        ("data: {class_path: COCOCaption}", "did you mean"),
    ],
)
def test_configurations_that_cannot_be_read_are_one_line(
    content: str, words: str, folder: Path, capsys: pytest.CaptureFixture
) -> None:
    (folder / "c.yaml").write_text(content)
    assert doctor.main(["doctor", "--config", "c.yaml"]) == 1
    message = capsys.readouterr().err
    assert words in message
    assert message.count("\n") == 1
    assert doctor.main(["doctor", "--config", "gone.yaml"]) == 1


def test_packages_that_are_missing_or_old(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"torch": "1.8.0", "numpy": "2.4.6"}

    def version(name: str) -> str:
        if name not in versions:
            raise machine.metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(machine.metadata, "version", version)
    monkeypatch.setattr(
        machine.metadata, "requires", lambda name: ["torch>=2.14", "numpy>=2", 'spacy>=3; extra == "spacy"']
    )
    packages = {finding.needed: finding for finding in machine.package_findings()}
    assert not packages["torch"].sound
    assert packages["numpy"].sound
    assert packages["lightning"].state == "missing"
    assert "spacy" not in packages


def test_prepare_and_doctor_are_loaded_without_torch() -> None:
    code = "import sys, commands.prepare, commands.doctor; sys.exit('torch' in sys.modules)"
    process = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False)
    assert process.returncode == 0


def test_missing_packages_are_told_before_data_is_looked_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    find_spec = doctor.importlib.util.find_spec
    monkeypatch.setattr(
        doctor.importlib.util, "find_spec", lambda name: None if name == "torch" else find_spec(name)
    )
    assert doctor.main(["doctor", "--config", "gone.yaml"]) == 1
    assert "once the packages above are installed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("build", "advice"), [("13.0", "built for CUDA 13.0"), (None, "built for the processor")]
)
def test_a_gpu_that_torch_cannot_use(build: str | None, advice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", build)
    monkeypatch.setattr(machine, "_driver_version", lambda: "570.1")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    (gpu,) = [finding for finding in machine.machine_findings() if finding.needed == "GPU"]
    assert gpu.place == "driver 570.1"
    assert advice in gpu.advice
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    (hidden,) = [finding for finding in machine.machine_findings() if finding.needed == "GPU"]
    assert hidden.sound


def test_a_word_in_the_place_of_a_path_is_no_missing_file(capsys: pytest.CaptureFixture[str]) -> None:
    doctor.main(["doctor", "--config", "configs/photos/wwbl.yaml"])
    shown = capsys.readouterr().out
    assert "PhotoEncoder.head" in shown
    assert "trunk_weights" not in shown
