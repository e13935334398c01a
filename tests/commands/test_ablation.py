"""Tables of runs: what is run, in which order, with which options, and what is printed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from commands import ablation, trainer
from commands.ablation import cell, estimate_cell, find_result
from commands.config_errors import check_config
from commands.ending import STOPPED
from commands.runs import RunError
from commands.tables import arguments, read_table
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
TABLES = sorted(
    path for folder in ("ablation", "leaderboards") for path in (ROOT / "configs" / folder).glob("*.yaml")
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "table.yaml"
    file.write_text(yaml.safe_dump(TABLE, sort_keys=False))
    return file


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    stand_in = StandIn(*RESULT)
    monkeypatch.setattr(trainer, "main", stand_in)
    return stand_in


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
    assert line.split()[3:] == ["50.0", "[40.0,", "60.0]", "(59.74)", "-"]
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
    table = read_table(path)
    assert [row.name for row in table.before(table.rows[1:], "demo")] == ["start", "next", "tuned"]


def test_what_failed_is_gone_on_with(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    argv = ["ablation", str(path), "--scale", "demo", "--runs", str(tmp_path), "--only", "plain"]
    first = StandIn(*RESULT, end_at=2)
    second = StandIn(*RESULT)
    monkeypatch.setattr(trainer, "main", first)
    assert ablation.main(argv) == 1
    monkeypatch.setattr(trainer, "main", second)
    assert ablation.main(argv) == 0
    assert second.commands[0][-2:] == ["--ckpt_path", "last"]


def test_a_stage_of_one_scale_is_no_start_at_the_others(tmp_path: Path) -> None:
    content = {**TABLE, "stages": {"start": {"config": "start.yaml", "scales": ["demo"]}}}
    content["rows"] = [{"name": "tuned", "weights": {"model.pretrained": "start"}}]
    content["rows"].append({"name": "only on paper", "scales": ["paper"]})
    (tmp_path / "table.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    table = read_table(tmp_path / "table.yaml")
    for scale, names in (("demo", ["start", "tuned"]), ("paper", ["tuned", "only on paper"])):
        rows = table.chosen([""], scale)
        assert [row.name for row in table.before(rows, scale)] == names
        words = arguments(table, table.rows[0], scale, 0, tmp_path)
        assert ("--model.pretrained" in words) == (scale == "demo")


def test_options_and_weights_become_arguments(path: Path) -> None:
    table = read_table(path)
    plain = arguments(table, table.rows[0], "demo", 2, Path("runs"))
    assert plain[:2] == ["--config", "small.yaml"]
    assert plain[plain.index("--seed_everything") + 1] == "2"
    assert plain[-4:] == ["--model.beta", "0.0", "--model.sure", "true"]
    tuned = arguments(table, table.rows[1], "paper", 2, Path("runs"))
    assert tuned[-2:] == ["--model.pretrained", "runs/table-paper/next-seed2/checkpoints/last.ckpt"]


def test_several_seeds_have_a_spread() -> None:
    results = [{"value": value, "low": 0.0, "high": 1.0} for value in (0.5, 0.6, 0.7)]
    assert estimate_cell(results, 67.07) == "60.0 ± 10.0 (67.07)"
    assert estimate_cell(results[:1], None) == "50.0 [0.0, 100.0]"
    assert estimate_cell([None], 1.0) == "- (1.00)"


def test_cells_of_other_columns() -> None:
    result = {
        "dataset": "digits",
        "protocol": "map",
        "metric": "iou",
        "method": "model",
        "value": 0.5,
        "n": 1234,
    }
    contents = [{"step": 2000, "results": [result]}]
    assert cell(contents, "step", "model", None) == "2,000"
    assert cell(contents, "step", "random", None) == ""  # a baseline is not trained
    assert cell([{"step": 0, "results": []}], "step", "model", None) == ""
    assert cell(contents, "digits/map/iou/n", "model", None) == "1,234"
    assert cell(contents, "digits/map/other/n", "model", None) == "-"
    assert cell(contents, None, "model", 79.4) == "79.4"
    assert cell(contents, None, "model", None) == "-"
    assert find_result(contents[0], "digits/map/iou", "random") is None


def test_rows_may_start_from_earlier_rows_and_need_no_training(
    path: Path, runs: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = {
        "scales": ["small", "full"],
        "config": "c.yaml",
        "columns": {"IoU": "digits/map/average_iou", "paper": None},
        "baselines": ["random"],
        "rows": [
            {"name": "untrained", "trained": False},
            {"name": "first", "options": {"trainer.max_steps": {"small": 5, "full": 50}, "x": {"y": 1}}},
            {"name": "second", "weights": {"model.pretrained": "first"}, "paper": {"paper": 7.5}},
        ],
    }
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    argv = [
        "ablation",
        str(path),
        "--runs",
        str(tmp_path),
        "--only",
        "untrained",
        "second",
        "--scale",
        "full",
    ]
    assert ablation.main(argv) == 0
    names = ("untrained", "first", "first", "second", "second")
    assert runs.names == [
        (subcommand, f"table-full/{name}-seed0")
        for subcommand, name in zip(("test", "fit", "test", "fit", "test"), names, strict=True)
    ]
    assert "--ckpt_path" not in runs.commands[0]
    assert runs.commands[1][-4:] == ["--trainer.max_steps", "50", "--x", '{"y": 1}']
    lines = capsys.readouterr().out.split("table, full scale")[1].splitlines()
    assert [line.split()[0] for line in lines[2:5]] == ["random", "untrained", "second"]
    assert lines[4].endswith(" 7.5")
    later = {"rows": [{"name": "a", "weights": {"w": "later"}}, {"name": "later"}]}
    path.write_text(yaml.safe_dump(content | later))
    with pytest.raises(RunError, match="no stage and no earlier row 'later', which 'a' starts from"):
        read_table(path)


def test_a_dry_run_prints_commands_and_leaves_nothing(
    path: Path, runs: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["ablation", str(path), "--scale", "demo", "--runs", str(tmp_path / "runs"), "--dry"]
    assert ablation.main(argv) == 0
    assert capsys.readouterr().out.count("$ python cli.py fit --config") == 4
    assert runs.commands == []
    assert not (tmp_path / "runs").exists()


def test_pictures_of_the_last_row_are_named(
    path: Path, runs: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = tmp_path / "table-demo" / "plain-beta-0-seed0" / "test" / "pictures" / "digits.png"
    pictures.parent.mkdir(parents=True)
    pictures.touch()
    argv = ["ablation", str(path), "--scale", "demo", "--runs", str(tmp_path), "--only", "plain"]
    assert ablation.main(argv) == 0
    assert f"Pictures of what the last row's model found: {pictures}" in capsys.readouterr().out


def test_what_is_wrong_is_said(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ablation.main(["ablation", str(tmp_path / "gone.yaml")]) == 1
    assert "gone.yaml not found" in capsys.readouterr().err
    assert ablation.main(["ablation", str(path), "--only", "nothing"]) == 1
    assert "no row of" in capsys.readouterr().err
    assert ablation.main(["ablation", str(path), "--dry"]) == 1
    assert (
        "'start' of table has no configuration for the scale 'paper' (it has: demo)"
        in capsys.readouterr().err
    )
    for change, message in (
        ({"rows": [{"name": "a", "weights": {"x": "gone"}}]}, "no stage and no earlier row 'gone'"),
        ({"rows": [{"name": "a b"}, {"name": "a, b"}]}, "'a b' and 'a, b' would be the same folder"),
        ({"columns": {}}, "no column 'IoU'"),
    ):
        path.write_text(yaml.safe_dump(TABLE | change, sort_keys=False))
        with pytest.raises(RunError, match=message):
            read_table(path)


@pytest.mark.parametrize("path", TABLES, ids=lambda table: table.stem)
def test_every_table_names_what_exists(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That the parser takes the options of every row, test_parser.py tests."""
    monkeypatch.chdir(ROOT)
    table = read_table(path)
    for row in (*table.stages, *table.rows):
        for scale in row.config:
            check_config(["fit", *arguments(table, row, scale, 0, Path("runs"))])


def test_several_configurations_are_laid_over_each_other(path: Path) -> None:
    path.write_text(yaml.safe_dump({**TABLE, "stages": {}, "config": ["big.yaml", "judged.yaml"]}))
    with pytest.raises(RunError, match="no stage and no earlier row 'next'"):
        read_table(path)
    rows = [{"name": "plain"}]
    path.write_text(yaml.safe_dump({**TABLE, "stages": {}, "rows": rows, "config": ["a.yaml", "b.yaml"]}))
    table = read_table(path)
    words = arguments(table, table.rows[0], "paper", 0, Path("runs"))
    assert words[:4] == ["--config", "a.yaml", "--config", "b.yaml"]


@pytest.mark.parametrize(
    ("end_at", "measured", "missing"),
    [(1, ["plain,"], ["start", "next", "tuned"]), (3, ["tuned"], ["plain, beta 0"])],
)
def test_what_cannot_be_run_is_named_and_the_others_go_on(
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    end_at: int,
    measured: list[str],
    missing: list[str],
) -> None:
    monkeypatch.setattr(trainer, "main", StandIn(*RESULT, end_at=end_at))
    assert ablation.main(["ablation", str(path), "--scale", "demo", "--runs", str(tmp_path)]) == 1
    output = capsys.readouterr().out
    lines = output.split("table, demo scale")[1].splitlines()
    assert [line.split()[0] for line in lines[2 : 2 + len(measured)]] == measured
    named = [line for line in output.splitlines() if line.startswith("not measured: ")]
    assert named == [f"not measured: {name}; what is printed above says why." for name in missing]


def test_a_signal_ends_all_rows(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stopped = StandIn(*RESULT, end_at=1, code=STOPPED)
    monkeypatch.setattr(trainer, "main", stopped)
    assert ablation.main(["ablation", str(path), "--scale", "demo", "--runs", str(tmp_path)]) == STOPPED
    assert len(stopped.commands) == 1
