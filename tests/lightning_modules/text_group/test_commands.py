from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import cli
from datamodules.sets.caption_vectors import ImageVectors
from networks import groupvit
from tests.fakes.base import save_image
from tests.networks.test_groupvit import SIZES

ROWS = [
    {
        "image": "1",
        "tokens": ["A", "dog", "on", "a", "mat"],
        "phrases": [{"start": 0, "end": 2}, {"start": 3, "end": 5}],
    },
    {"image": "2", "tokens": ["Two", "men", "run"], "phrases": [{"start": 0, "end": 2}]},
]


def test_baselines_are_judged_and_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("open_clip")
    path = tmp_path / "few.jsonl"
    path.write_text("\n".join(map(json.dumps, ROWS)))
    assert cli.main(["spans", "--spans", str(path), "--pieces", "2"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("few (subword)")]
    methods = (
        "one group",
        "singletons",
        "random (2)",
        "equal pieces (2)",
        "cut at function words",
        "rule chunker",
    )
    found = {method: line for method in methods for line in lines if f"  {method}  " in line}
    assert set(found) == set(methods)
    assert len(lines) == len(methods)
    assert " 75.0 [" in found["one group"]  # one half, and one
    assert found["rule chunker"].count(" 100.0 [") == 4


def test_byte_pairs_of_captions_are_listed_by_frequency(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("open_clip")
    (tmp_path / "captions.jsonl").write_text('{"image": "1", "captions": ["a dog", "a dog and a cat"]}')
    options = [
        "--captions",
        str(tmp_path / "captions.jsonl"),
        "--at_least",
        "2",
        "--write_vocabulary",
        str(tmp_path / "pieces.txt"),
    ]
    assert cli.main(["spans", *options]) == 0
    from lightning_modules.text_group.tokenizer import CLIPTokenizer

    expected = [CLIPTokenizer().pieces(word)[0] for word in ("a", "dog")]
    assert [int(line) for line in (tmp_path / "pieces.txt").read_text().split()] == expected
    assert "set network.size.vocab_size to 6" in capsys.readouterr().out


def test_openers_of_captions_are_listed_and_judged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("open_clip")
    captions = tmp_path / "captions.jsonl"
    spans = tmp_path / "few.jsonl"
    openers = tmp_path / "made" / "openers.txt"
    captions.write_text(
        '{"image": "1", "captions": ["a dog in snow", "the cat in water", "my cow on grass"]}'
    )
    spans.write_text("\n".join(map(json.dumps, ROWS)))
    assert (
        cli.main(["spans", "--captions", str(captions), "--write_openers", str(openers), "--count", "1"]) == 0
    )
    assert openers.read_text() == "in\n"
    assert "1 openers written" in capsys.readouterr().out
    assert cli.main(["spans", "--spans", str(spans), "--openers", str(openers)]) == 0
    out = capsys.readouterr().out
    assert out.count("cut at openers  ") == 1
    assert out.count("cut at openers, joined (4)") == 1
    assert cli.main(["spans", "--spans", str(spans), "--openers", str(tmp_path / "none.txt")]) == 1
    assert "make it with `python cli.py spans --write_openers" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main(["spans", "--write_openers", str(openers)])
    assert "--captions FILE says what to count in" in capsys.readouterr().err


def test_what_is_missing_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("open_clip")
    assert cli.main(["spans", "--spans", str(tmp_path / "none.jsonl")]) == 1
    assert "not found" in capsys.readouterr().err
    assert cli.main(["spans", "--spans", str(tmp_path / "none.jsonl"), "--run", str(tmp_path)]) == 1
    assert "holds no run" in capsys.readouterr().err
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.ckpt").touch()
    (tmp_path / "config.yaml").write_text(
        "model: {class_path: TextGroupDiscovery, init_args: {network: CausalTransformer, older: 1}}"
    )
    assert cli.main(["spans", "--spans", str(tmp_path / "none.jsonl"), "--run", str(tmp_path)]) == 1
    assert "does not fit this version" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main(["spans"])


def test_vectors_of_a_folder_in_two_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    encoder = groupvit.GroupViTImageEncoder(**SIZES)
    torch.save(
        {key.removeprefix("model."): value for key, value in encoder.state_dict().items()},
        tmp_path / "weights.bin",
    )
    monkeypatch.setattr(groupvit, "GroupViTImageEncoder", lambda: encoder)
    for n in range(5):
        save_image(tmp_path / "images" / f"{n}.png", (40 * n, 90, 20), (30, 40))
    (tmp_path / "images" / "9.png").write_text("torn")
    options = [
        "--images",
        str(tmp_path / "images"),
        "--weights",
        str(tmp_path / "weights.bin"),
        "--out",
        str(tmp_path / "vectors"),
        "--batch_size",
        "2",
    ]
    for part in ("0/2", "1/2"):
        assert cli.main(["vectors", *options, "--part", part]) == 0
    assert "1 images skipped" in capsys.readouterr().out
    found = ImageVectors(tmp_path / "vectors")
    assert found.feats.shape == (5, 24)
    assert found.feats.dtype == np.float16
    assert len({found.find(f"{n}.png") for n in range(5)}) == 5
    colour = torch.tensor([40 * 3, 90, 20]).view(1, 3, 1, 1) / 255
    image = (colour - torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)) / torch.tensor(
        [0.229, 0.224, 0.225]
    ).view(1, 3, 1, 1)
    expected = encoder(image.expand(-1, -1, 32, 32)).pooled[0]
    assert torch.allclose(torch.from_numpy(found.feats[found.find("3")]).float(), expected, atol=2e-2)
    assert (
        cli.main(["vectors", *options[:2], "--weights", str(tmp_path / "none.bin"), "--out", str(tmp_path)])
        == 1
    )
    with pytest.raises(SystemExit):
        cli.main(["vectors", *options, "--part", "2/2"])
