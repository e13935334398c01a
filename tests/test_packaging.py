"""What is installed: one package with one command, which leaves all other names alone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import numpy
import pytest

import weakground
from lightning_modules.packaged_weights import PACKAGED_WEIGHTS
from lightning_modules.project_files import project_file
from tests.tiny import ROOT

wheels = pytest.importorskip("hatchling.builders.wheel", reason="hatchling builds the wheel (extra 'dev')")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    (path,) = wheels.WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])
    return zipfile.ZipFile(path)


def test_nothing_but_weakground_is_installed(wheel: zipfile.ZipFile) -> None:
    version = weakground.__version__
    top = {name.split("/")[0] for name in wheel.namelist()}
    assert top == {"weakground", f"weakground-{version}.dist-info"}
    information = f"weakground-{version}.dist-info"
    assert "weakground = weakground.__main__:main" in wheel.read(f"{information}/entry_points.txt").decode()
    assert f"Version: {version}\n" in wheel.read(f"{information}/METADATA").decode()


def test_its_parts_know_each_other_by_their_new_names(wheel: zipfile.ZipFile) -> None:
    rooms = {name.split("/")[1].removesuffix(".py") for name in wheel.namelist() if name.endswith(".py")}
    assert {"networks", "metrics", "commands", "cli"} <= rooms
    old_name = re.compile(rf"^ *(from|import) ({'|'.join(rooms)})\b", re.MULTILINE)
    # `import metrics.boxes` binds `metrics` in a clone, but not where it is installed: for its effects only.
    bound = re.compile(r"^ *import weakground\.(?!.*# noqa: F401)", re.MULTILINE)
    for name in wheel.namelist():
        if name.endswith(".py"):
            source = wheel.read(name).decode()
            assert old_name.search(source) is None, name
            assert bound.search(source) is None, name


def test_files_of_the_project_come_along(wheel: zipfile.ZipFile) -> None:
    files = [*(ROOT / "configs").rglob("*.*"), *(ROOT / "weakground" / "weights").iterdir()]
    files += [*(ROOT / "datamodules").rglob("*.txt"), *(ROOT / "lightning_modules").rglob("*.txt")]
    names = {f"weakground/{path.relative_to(ROOT).as_posix()}" for path in files}
    names = {name.replace("weakground/weakground/", "weakground/") for name in names}
    assert names <= set(wheel.namelist())


def test_messages_name_the_command_that_is_there(wheel: zipfile.ZipFile) -> None:
    assert "usage: weakground SUBCOMMAND" in wheel.read("weakground/commands/__init__.py").decode()
    texts = [name for name in wheel.namelist() if name.endswith((".py", ".yaml"))]
    assert [name for name in texts if "python cli.py" in wheel.read(name).decode()] == []


def test_files_of_the_project_are_found_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert project_file("configs/demo/hist.yaml") == ROOT / "configs" / "demo" / "hist.yaml"
    assert project_file("weakground/weights/photos.safetensors").is_file()
    assert project_file("configs/demo/gone.yaml") == Path("configs/demo/gone.yaml")
    assert project_file("README.md") == Path("README.md")
    own = tmp_path / "configs" / "demo" / "hist.yaml"
    own.parent.mkdir(parents=True)
    own.touch()
    assert project_file("configs/demo/hist.yaml") == Path("configs/demo/hist.yaml")


@pytest.mark.packaging
def test_it_works_where_it_is_installed(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    """In an environment and a folder of its own, in which other things have the names of our folders."""
    venv.create(tmp_path / "venv")
    binaries = tmp_path / "venv" / "bin"
    pip = [sys.executable, "-m", "pip", "--python", str(binaries / "python")]
    subprocess.run([*pip, "install", "--quiet", "--no-deps", "--no-index", str(wheel.filename)], check=True)
    (packages,) = tmp_path.glob("venv/lib/*/site-packages")
    dependencies = Path(numpy.__file__).parents[1]
    (packages / "dependencies.pth").write_text(f"{dependencies}\n", encoding="utf-8")
    for name in ("metrics", "networks", "commands"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('not ours')")

    def run(*words: str | Path) -> str:
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
        finished = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert finished.returncode == 0, finished.stderr
        return finished.stdout

    command = binaries / "weakground"
    assert run(command, "--version") == f"weakground {weakground.__version__}\n"
    assert "usage: weakground SUBCOMMAND" in run(command, "--help")
    quick = ["--data.batch_size=2", "--trainer.max_steps=2", "--trainer.limit_val_batches=0"]
    run(command, "fit", "--config", "configs/demo/pretrain.yaml", "--name", "own", *quick)
    run(command, "test", "--name", "own", "--trainer.limit_test_batches=1")
    assert (tmp_path / "runs" / "own" / "test" / "metrics.json").is_file()
    model = "own" if any(weights.find() is None for weights in PACKAGED_WEIGHTS) else "photos"
    lines = [
        "import sys, weakground",
        "from sklearn.datasets import load_sample_image",
        f"model = weakground.load({model!r})",
        "print(model.ground(load_sample_image('china.jpg'), 'trees').heatmaps.shape)",
        "print({'metrics', 'networks', 'commands'} & set(sys.modules))",
    ]
    assert run(binaries / "python", "-c", "\n".join(lines)) == "(1, 427, 640)\nset()\n"
