"""Tables of runs: what is run, in which order, with which options, and what is printed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from commands import ablation, trainer
from commands.ablation import arguments, cell, read_table, stages_of
from commands.config_errors import check_config
from commands.runs import RunError
from commands.trainer import WeakgroundCLI
from tests.commands.stand_in import StandIn
from tests.tiny import ROOT

TABLE: dict[str, Any] = {
    "config": {"paper": "big.yaml", "demo": "small.yaml"},
    "columns": {"IoU": "digits/map/average_iou", "hits": "digits/map/accuracy_50"},
    "stages": {
        "start": {"config": {"demo": "start.yaml"}},
        "next": {"config": {"demo": "next.yaml"}, "weights": {"model.pretrained": "start"}},
    },
    "rows": [
        {
            "name": "plain, beta 0",
            "options": {"model.beta": 0.0, "model.sure": True},
            "paper": {"IoU": 59.74},
        },
        {"name": "tuned", "weights": {"model.pretrained": "next"}},
    ],
}
RESULT = ("digits", "map", "average_iou")
TABLES = sorted((ROOT / "configs" / "ablation").glob("*.yaml"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "table.yaml"
    found.write_text(yaml.safe_dump(TABLE, sort_keys=False))
    return found


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    found = StandIn(*RESULT)
    monkeypatch.setattr(trainer, "main", found)
    return found


def test_stages_then_rows_and_nothing_twice(
    path: Path, runs: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = [
        "ablation",
        str(path),
        "--scale",
        "demo",
        "--runs",
        str(tmp_path / "runs"),
        "--trainer.max_steps",
        "3",
    ]
    assert ablation.main(argv) == 0
    prefix = "table-demo"
    assert runs.names == [
        ("fit", f"{prefix}/start-seed0"),
        ("fit", f"{prefix}/next-seed0"),
        ("fit", f"{prefix}/plain-beta-0-seed0"),
        ("test", f"{prefix}/plain-beta-0-seed0"),
        ("fit", f"{prefix}/tuned-seed0"),
        ("test", f"{prefix}/tuned-seed0"),
    ]
    assert all(
        command[-2:] == ["--trainer.max_steps", "3"] for command in runs.commands if command[0] == "fit"
    )
    output = capsys.readouterr().out
    (line,) = [line for line in output.splitlines() if line.startswith("plain, beta 0 ")]
    assert line.split()[3:] == ["1", "50.0", "[40.0,", "60.0]", "(59.74)", "-"]
    runs.commands.clear()
    assert ablation.main(argv) == 0
    assert runs.commands == []
    assert ablation.main([*argv[:-1], "4"]) == 1
    assert "start-seed0 holds a run made with other options" in capsys.readouterr().err
    assert ablation.main([*argv[:-1], "4", "--dry"]) == 0


def test_a_row_alone_needs_its_stages_only(path: Path, runs: StandIn, tmp_path: Path) -> None:
    assert (
        ablation.main(["ablation", str(path), "--scale", "demo", "--runs", str(tmp_path), "--only", "plain"])
        == 0
    )
    assert {name for _, name in runs.names} == {"table-demo/plain-beta-0-seed0"}
    assert [row.name for row in stages_of(read_table(path), read_table(path).rows[1:])] == ["start", "next"]


def test_what_failed_is_gone_on_with(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    argv = ["ablation", str(path), "--scale", "demo", "--runs", str(tmp_path), "--only", "plain"]
    first, second = StandIn(*RESULT, end_at=2), StandIn(*RESULT)
    monkeypatch.setattr(trainer, "main", first)
    assert ablation.main(argv) == 1
    monkeypatch.setattr(trainer, "main", second)
    assert ablation.main(argv) == 0
    assert second.commands[0][-2:] == ["--ckpt_path", "last"]


def test_options_and_weights_become_arguments(path: Path) -> None:
    table = read_table(path)
    plain = arguments(table, table.rows[0], "demo", 2, Path("runs"))
    assert plain[:2] == ["--config", "small.yaml"]
    assert plain[plain.index("--seed_everything") + 1] == "2"
    assert plain[-4:] == ["--model.beta", "0.0", "--model.sure", "true"]
    tuned = arguments(table, table.rows[1], "paper", 2, Path("runs"))
    assert tuned[-2:] == ["--model.pretrained", "runs/table-paper/next-seed2/checkpoints/last.ckpt"]


def test_several_seeds_have_a_spread() -> None:
    found = [{"value": value, "low": 0.0, "high": 1.0} for value in (0.5, 0.6, 0.7)]
    assert cell(found, 67.07) == "60.0 ± 10.0 (67.07)"
    assert cell(found[:1], None) == "50.0 [0.0, 100.0]"
    assert cell([None], 1.0) == "- (1.00)"


def test_what_is_wrong_is_said(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ablation.main(["ablation", str(tmp_path / "gone.yaml")]) == 1
    assert "is no table of runs" in capsys.readouterr().err
    assert ablation.main(["ablation", str(path), "--only", "nothing"]) == 1
    assert "no row of" in capsys.readouterr().err
    assert ablation.main(["ablation", str(path), "--dry"]) == 1
    assert (
        "'start' of table has no configuration for the scale 'paper' (it has: demo)"
        in capsys.readouterr().err
    )
    for change, message in (
        ({"rows": [{"name": "a", "weights": {"x": "gone"}}]}, "no stage 'gone'"),
        ({"columns": {}}, "no column 'IoU'"),
    ):
        path.write_text(yaml.safe_dump(TABLE | change))
        with pytest.raises(RunError, match=message):
            read_table(path)


@pytest.mark.parametrize("table", TABLES, ids=lambda found: found.stem)
def test_every_table_can_be_run(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its configurations exist, and the parser takes the options of every row at every scale; nothing is
    built.
    """
    monkeypatch.chdir(ROOT)

    class Parsed(Exception):
        pass

    def stop(command: WeakgroundCLI) -> None:
        raise Parsed

    monkeypatch.setattr(WeakgroundCLI, "before_instantiate_classes", stop)
    found = read_table(table)
    seen: set[str] = set()
    for row in (*found.stages, *found.rows):
        for scale in row.config:
            command = ["fit", *arguments(found, row, scale, 0, Path("runs"))]
            check_config(command)
            what = str([row.config[scale], list(row.options)])
            if what in seen:
                continue
            seen.add(what)
            with pytest.raises(Parsed):
                trainer.run(command)
