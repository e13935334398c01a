"""The entry: quick help, subcommands by name, and which run a bare ``test`` means."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import fields
from importlib import import_module
from pathlib import Path

import pytest

import cli
import weakground
from commands import COMMANDS, commands_of_methods
from commands.command_line import ConfigError, with_config_files
from commands.newest_run import with_newest_run
from commands.options import known_options
from commands.runs import RunError, RunOptions, default_checkpoint, newest_run
from commands.suggest import nearest
from tests.tiny import ROOT


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_help_is_quick_and_names_every_subcommand() -> None:
    started = time.monotonic()
    finished = python("cli.py", "--help")
    assert time.monotonic() - started < 5
    assert finished.returncode == 0
    assert all(f"\n  {name} " in finished.stdout for name in COMMANDS)


def test_importing_the_entry_imports_nothing_heavy() -> None:
    heavy = {"torch", "lightning", "numpy", "yaml", "wandb", "transformers"}
    code = f"import sys, cli, commands; print(sorted({heavy} & set(sys.modules)))"
    assert python("-c", code).stdout.strip() == "[]"


HELP_OF_ALL = """
import sys
import cli
from commands import COMMANDS
for name in COMMANDS:
    try:
        cli.main([name, "--help"])
    except SystemExit:
        pass
    print(name, "imports", sorted({"torch", "lightning"} & set(sys.modules)))
"""


def test_help_of_a_subcommand_imports_nothing_heavy() -> None:
    printed = python("-c", HELP_OF_ALL).stdout
    for name in COMMANDS:
        assert f"cli.py {name} [" in printed
        assert f"\n{name} imports []" in printed


def test_help_names_every_option_of_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["fit", "--help"]) == 0
    printed = capsys.readouterr().out
    assert all(f"\n  --{field.name} " in printed for field in fields(RunOptions))


def test_wrong_paths_are_told_before_torch_is_imported(tmp_path: Path) -> None:
    wrong = [["--config", "gone.yaml"], ["--ckpt_path", "gone.ckpt"], ["--runs", "cli.py"], ["--name", "/a"]]
    commands = [["fit", *options] for options in wrong]
    commands += [["test", "--name", "gone"], ["predict", "--runs", str(tmp_path), "--name", "gone"]]
    commands += [["ground", "cli.py", "a dog", "--model", "gone"], ["show", "--model", "gone"]]
    commands += [["export_merged", "gone", "--out", str(tmp_path / "merged")]]
    lines = [f"cli.main({command})" for command in commands]
    finished = python("-c", "\n".join(["import cli, sys", *lines, "print('torch' in sys.modules)"]))
    assert finished.stdout == "False\n"
    assert finished.stderr.count("error: ") == len(commands)


@pytest.mark.parametrize("argv", [["--help"], ["fit", "--help"], ["report", "--help"]])
def test_nobody_reads_on(argv: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """As with ``| head``: no traceback, and the exit code that a shell gives."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed:
        monkeypatch.setattr(sys, "stdout", closed)
        assert cli.main(argv) == cli.NO_READER


def test_methods_list_their_own_commands() -> None:
    assert set(commands_of_methods()) >= {"spans", "vectors"}
    for name, command in commands_of_methods().items():
        assert command.module.startswith("lightning_modules.")
        assert command.module.endswith(f".commands.{name}")


def test_every_subcommand_has_a_main() -> None:
    for command in COMMANDS.values():
        assert callable(import_module(command.module).main)


@pytest.mark.parametrize("argv", [[], ["-h"], ["--help"]])
def test_help_in_process(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(argv) == 0
    assert "usage: python cli.py SUBCOMMAND" in capsys.readouterr().out


def test_suggestions() -> None:
    assert nearest("max_stpes", ["max_steps", "max_epochs"]) == ", did you mean 'max_steps'?"
    assert nearest("zzz", ["max_steps"]) == ""
    assert {"lr", "batch_size", "fusion_layer", "max_steps", "protocols", "min_area", "save_every"} <= set(
        known_options()
    )


def made_run(runs: Path, name: str, when: int, *checkpoints: str) -> Path:
    folder = runs / name
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.yaml").write_text("model: {}\n")
    for checkpoint in checkpoints:
        path = folder / "checkpoints" / f"{checkpoint}.ckpt"
        path.touch()
        os.utime(path, (when, when))
    return folder


def test_the_newest_run_is_the_one_that_saved_last(tmp_path: Path) -> None:
    made_run(tmp_path, "old", 1000, "last")
    newest = made_run(tmp_path, "demo/hist", 3000, "last", "best")
    made_run(tmp_path, "older", 2000, "last")
    made_run(tmp_path, "without a checkpoint", 4000)
    (made_run(tmp_path, "without a config", 5000, "last") / "config.yaml").unlink()
    assert newest_run(tmp_path) == newest
    assert default_checkpoint(newest) == "best"
    assert default_checkpoint(tmp_path / "old") == "last"


def test_a_bare_test_means_the_newest_run(tmp_path: Path) -> None:
    made_run(tmp_path, "demo/hist", 1000, "last", "best")
    runs = ["--runs", str(tmp_path)]
    config = str(tmp_path / "demo" / "hist" / "config.yaml")
    assert with_newest_run(["test", *runs]) == [
        "test",
        "--config",
        config,
        "--name",
        "demo/hist",
        "--ckpt_path",
        "best",
        *runs,
    ]
    assert with_newest_run(["test", *runs, "--name", "demo/hist"]) == [
        "test",
        "--config",
        config,
        "--ckpt_path",
        "best",
        *runs,
        "--name",
        "demo/hist",
    ]
    assert with_newest_run(["validate", *runs, "--ckpt_path=last"])[:5] == [
        "validate",
        "--config",
        config,
        "--name",
        "demo/hist",
    ]
    for argv in (
        ["fit", *runs],
        ["test", "--config", "x.yaml"],
        ["test", "-c", "x.yaml"],
        ["test", "--config=x.yaml"],
        ["test", "--help"],
    ):
        assert with_newest_run(argv) == argv
    with pytest.raises(RunError, match="holds no run"):
        with_newest_run(["test", *runs, "--name", "gone"])


def test_configurations_of_the_project_are_found_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shipped = str(ROOT / "configs" / "demo" / "hist.yaml")
    words = with_config_files(
        ["fit", "--config", "configs/demo/hist.yaml", "--name", "configs/demo/hist.yaml"]
    )
    assert words == ["fit", "--config", shipped, "--name", "configs/demo/hist.yaml"]
    assert with_config_files(["test", "--config=configs/demo/hist.yaml"]) == ["test", f"--config={shipped}"]
    with pytest.raises(ConfigError, match=r"hits\.yaml not found, did you mean 'hist.yaml'"):
        with_config_files(["fit", "-c", "configs/demo/hits.yaml"])


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"weakground {weakground.__version__}\n"


def test_a_configuration_without_a_model_is_laid_over_the_run(tmp_path: Path) -> None:
    made_run(tmp_path, "demo/hist", 1000, "last", "best")
    overlay = tmp_path / "judged_on.yaml"
    overlay.write_text("data: {}\n")
    words = ["test", "--runs", str(tmp_path), "--name", "demo/hist", "--config", str(overlay)]
    config = str(tmp_path / "demo" / "hist" / "config.yaml")
    assert with_newest_run(words) == ["test", "--config", config, "--ckpt_path", "best", *words[1:]]
    overlay.write_text("model: {}\n")
    assert with_newest_run(words) == words
