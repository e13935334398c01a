from __future__ import annotations

import json
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import cli
from commands.trainer import run
from datamodules.sets.conceptual_captions import ConceptualCaptions
from lightning_modules.ttd.backbones import CLIPModel, MaskCLIP
from lightning_modules.ttd.commands import pruning
from tests.fakes.conceptual_captions import record, write_shard
from tests.lightning_modules.ttd.tiny import SIZES
from tests.tiny import tiny_config, write_config


def test_a_run_is_written_with_its_adapters_merged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(tmp_path / "tiny.yaml", tiny_config("TTDSelfDistill"))
    runs = ["--runs", str(tmp_path / "runs")]
    trained = run(["fit", "--config", config, *runs]).model.eval()
    out = tmp_path / "models" / "mine.safetensors"
    assert cli.main(["export_merged", "tiny", "--out", str(out), *runs]) == 0
    assert "written" in capsys.readouterr().out
    merged = MaskCLIP(CLIPModel(sizes=SIZES), out)
    assert set(load_file(out)) == set(merged.clip.state_dict())
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(merged.encode_pixels(images), trained.network.encode_pixels(images))
    torch.testing.assert_close(merged.encode_texts(["a dog"]), trained.network.encode_texts(["a dog"]))
    assert cli.main(["export_merged", "nothing", "--out", str(out), *runs]) == 1


PAIRS = 10


@pytest.fixture
def arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Of ``prune``, for ten pairs in two shards, one of them unreadable, in chunks of four."""
    monkeypatch.setattr(pruning, "CHUNK", 4)
    pairs = [record(f"{number:09d}", f"caption {number * 37}") for number in range(PAIRS)]
    name, content = pairs[5][0]
    pairs[5][0] = (name, content[:300])
    for shard in range(2):
        write_shard(tmp_path / "gcc3m" / f"{shard:05d}.tar", list(chain(*pairs[5 * shard :][:5])))
    config = tiny_config("TTDSelfDistill")
    options = {"root": str(tmp_path / "gcc3m"), "batch_size": 2, "num_workers": 0, "max_skipped": 1.0}
    config["data"] = {"class_path": "ConceptualCaptions", "init_args": options}
    path = write_config(tmp_path / "tiny.yaml", config)
    return ["prune", "--config", path, "--out", str(tmp_path / "pruned"), "--side", "32"]


def test_the_best_pairs_are_kept(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli.main([*arguments, "--part", "1/2"]) == 0
    assert "2 of 3 parts are still to be scored" in capsys.readouterr().out
    assert cli.main(arguments) == 0
    out = tmp_path / "pruned"
    scores = np.concatenate([np.load(path) for path in sorted((out / "scores").glob("*.npy"))])
    assert np.flatnonzero(np.isnan(scores)).tolist() == [5]
    kept = pruning.kept_indices(scores)
    assert 0 < len(kept) < PAIRS / 2
    assert f"{len(kept)} of 10 pairs kept" in capsys.readouterr().out
    source = ConceptualCaptions(out, "gcc3m", cache_dir=tmp_path / "cache").training_source()
    assert [source.captions(index)[0] for index in range(len(source))] == [
        f"caption {number * 37}" for number in kept
    ]
    assert source.image(0).ndim == 3

    def never(*_: Any) -> None:
        raise AssertionError("scored again")

    monkeypatch.setattr(pruning, "score", never)
    before = (out / "00000.tar").read_bytes()
    assert cli.main(arguments) == 0
    assert (out / "00000.tar").read_bytes() == before
    counts = json.loads((out / pruning.LIST).read_text())["gcc3m"]
    assert (counts["pairs"], counts["unreadable"], counts["kept"]) == (10, 1, len(kept))


def test_another_set_is_written_behind(arguments: list[str], tmp_path: Path) -> None:
    out = tmp_path / "pruned"
    out.mkdir()
    (out / pruning.LIST).write_text(json.dumps({"cc12m": {"shards": 3}}))
    assert cli.main(arguments) == 0
    assert [path.name for path in out.glob("*.tar")] == ["00003.tar"]


def test_what_cannot_be_pruned(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_config(tmp_path / "other.yaml", tiny_config("TTDSelfDistill"))
    assert cli.main(["prune", "--config", other, "--out", str(tmp_path / "pruned")]) == 1
    assert "`prune` reads shards, which scenes is not made of" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        cli.main([*arguments, "--part", "2/2"])
    assert ended.value.code == 2
