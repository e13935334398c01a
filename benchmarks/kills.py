"""How often a run that is killed at random moments ends as one that is not: kill -9, again and again.

A made data set in the layout of Visual Genome is prepared, features of its images are stored, and a tiny
model is trained on it and judged. Each trial begins without index, phrases and checkpoints, is killed several
times, and given the same command again each time. Every other kill comes at a moment drawn over the whole
length of a command, the others once its set-up is over. In the end all weights, the optimiser's state, all
metrics and all features must be those of the run that nobody killed, and nothing half-made may lie about.

    python -m benchmarks.kills --kills 100
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
import yaml
from PIL import Image
from tqdm import tqdm

from benchmarks._common import Report, Row, Size, report
from datamodules.storage import features
from datamodules.synthetic.scene_drawing import make_scene

VOCABULARY = Path(__file__).parents[1] / "configs" / "demo" / "scenes_vocab.txt"
SPLITS = {"train": range(100, 124), "val": range(200, 206), "test": range(300, 312)}
STEPS = 9  # of training; six images a step, so that an epoch has four
KILLS_A_TRIAL = 5
COMMANDS = ("prepare", "features", "fit", "test")
UNFINISHED = ("*.unfinished", "*.partial", "*.tmp", "*-journal")
ALBEF = {
    "vision": {"image_size": 32, "patch_size": 8, "width": 16, "depth": 1, "heads": 2},
    "text": {
        "width": 16,
        "depth": 3,
        "heads": 2,
        "intermediate": 32,
        "vocab_size": 67,
        "max_positions": 64,
        "dropout": 0.1,
    },
    "contrast": {"embed_dim": 8, "queue_size": 32},
    "fusion_layer": 1,
}


class Phases(pl.Callback):
    """Notes in the run's folder what the run is about to do, for a report on where kills hit."""

    def _note(self, trainer: pl.Trainer, phase: str) -> None:
        if trainer.is_global_zero:
            Path(trainer.default_root_dir, "phase").write_text(phase)

    def on_train_batch_start(self, trainer: pl.Trainer, *arguments: Any) -> None:
        """A step."""
        self._note(trainer, "a step")

    def on_train_batch_end(self, trainer: pl.Trainer, *arguments: Any) -> None:
        """Callbacks that save come later."""
        self._note(trainer, "a save")

    def on_validation_start(self, trainer: pl.Trainer, *arguments: Any) -> None:
        """Validation within training."""
        self._note(trainer, "validation")

    def on_test_start(self, trainer: pl.Trainer, *arguments: Any) -> None:
        """Evaluation, to the end of the command."""
        self._note(trainer, "test")


def write_data(root: Path) -> None:
    """A few made scenes with their phrases and boxes, in the layout of Visual Genome."""
    descriptions = []
    folders = [root / "VG_100K", root / "VG_100K_2"]
    for folder in folders:
        folder.mkdir(parents=True)
    for split, images in SPLITS.items():
        for image in images:
            scene = make_scene(0, split, image, 32)
            Image.fromarray(scene.image).save(folders[image % 2] / f"{image}.jpg", "PNG")
            regions = []
            for number, mention in enumerate(scene.phrases):
                left, top, right, bottom = scene.objects[mention.objects[0]].box
                box = {"x": left, "y": top, "width": right - left, "height": bottom - top}
                regions.append({"region_id": 100 * image + number, "phrase": mention.phrase.text, **box})
            descriptions.append({"id": image, "regions": regions})
    (root / "region_descriptions.json").write_text(json.dumps(descriptions))
    splits = {split: list(images) for split, images in SPLITS.items()}
    (root / "densecap_splits.json").write_text(json.dumps(splits))


def configuration(root: Path, processes: int) -> dict[str, Any]:
    """A run on the data in ``root``."""
    backbone = {
        "network": {"class_path": "ALBEF", "init_args": ALBEF},
        "vocabulary": str(VOCABULARY),
        "maps": {"layers": [1]},
        "negatives": {"exclude": "same_text"},
    }
    data = {
        "root": str(root / "data"),
        "split": "densecap",
        "cache_dir": str(root / "cache"),
        "batch_size": 6 // processes,
        "eval_batch_size": 2,
        "num_workers": 0,
    }
    trainer = {
        "accelerator": "cpu",
        "devices": processes,
        "strategy": "ddp" if processes > 1 else "auto",
        "max_steps": STEPS,
        "logger": False,
        "enable_model_summary": False,
        "enable_progress_bar": False,
        "callbacks": [
            {"class_path": "benchmarks.kills.Phases"},
            {"class_path": "GroundingEvaluation", "init_args": {"protocols": ["clean"]}},
            {"class_path": "Pictures"},
        ],
    }
    model = {
        "backbone": {"class_path": "ALBEFBackbone", "init_args": backbone},
        "optimisation": {"lr": 1e-3, "schedule": "one_cycle"},
    }
    return {
        "save_every": 2,
        "trainer": trainer,
        "model": {"class_path": "HISTFinetune", "init_args": model},
        "data": {"class_path": "VisualGenome", "init_args": data},
    }


def feature_configuration(root: Path) -> dict[str, Any]:
    """The features of the same images, by an encoder with weights of no meaning."""
    encoder = {"class_path": "tests.lightning_modules.alignment.tiny.TinyEncoder"}
    content = configuration(root, 1)
    content["trainer"] = {"accelerator": "cpu", "callbacks": []}
    model = {"encoder": encoder, "options": {"training_size": 32}}
    content["model"] = {"class_path": "PhraseAlignment", "init_args": model}
    content["data"]["init_args"]["features"] = str(root / "features")
    return content


def command(arguments: Sequence[str], environment: dict[str, str], output: Path) -> None:
    """In a process of its own: one subcommand, whose output goes to a file."""
    os.environ.update(environment)
    features.CHUNK = 4  # images in a file, so that there are several
    torch.set_num_threads(1)
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    from cli import main as run_command

    sys.exit(run_command(list(arguments)))


@dataclass
class Run:
    """A run in a folder of its own, on one or several processes."""

    root: Path
    processes: int
    context: Any

    def __post_init__(self) -> None:
        write_data(self.root / "data")
        content = configuration(self.root, self.processes)
        (self.root / "tiny.yaml").write_text(yaml.safe_dump(content))
        (self.root / "features.yaml").write_text(yaml.safe_dump(feature_configuration(self.root)))

    @property
    def folder(self) -> Path:
        """That of its results."""
        return self.root / "runs" / "tiny"

    def start(self, subcommand: str) -> list[Any]:
        """Starts a subcommand as a user would after a kill; returns its processes."""
        runs = ["--runs", str(self.root / "runs")]
        tiny = ["--config", str(self.root / "tiny.yaml"), *runs]
        options = ["split=densecap", f"cache_dir={self.root / 'cache'}"]
        arguments = {
            "prepare": ["VisualGenome", *options, "--root", str(self.root / "data")],
            "features": ["--config", str(self.root / "features.yaml"), *runs],
            "fit": [*tiny, "--ckpt_path", "auto"],
            "test": [*tiny, "--ckpt_path", "last"],
        }
        alone = self.processes == 1 or subcommand in {"prepare", "features"}
        environments = [{}] if alone else torchrun_environments(self.processes)
        started = []
        for environment in environments:
            process = self.context.Process(
                target=command,
                args=([subcommand, *arguments[subcommand]], environment, self.root / "output"),
            )
            process.start()
            started.append(process)
        return started

    def finish(self, subcommand: str, seconds: float | None = None, aimed: bool = False) -> float | None:
        """Runs a subcommand to its end, or kills it.

        Args:
            subcommand: one of ``COMMANDS``.
            seconds: after which it is killed; None for never.
            aimed: whether these begin when its set-up is over.

        Returns:
            How long it took; None if it was killed.

        Raises:
            AssertionError: it ended with an error.
        """
        began = time.monotonic()
        started = self.start(subcommand)
        while aimed and started[0].is_alive() and not (self.folder / "phase").exists():
            time.sleep(0.01)
        if aimed:
            began = time.monotonic()
        for process in started:
            left = None if seconds is None else max(0.0, began + seconds - time.monotonic())
            process.join(left)
        if any(process.exitcode is None for process in started):
            for process in started:
                process.kill()
            for process in started:
                process.join()
            return None
        output = (self.root / "output").read_text()
        assert all(process.exitcode == 0 for process in started), output[-3000:]
        return time.monotonic() - began

    def outcome(self) -> dict[str, Any]:
        """What must be equal: weights, optimiser, counters, metrics, accounts, pictures."""
        checkpoint = torch.load(self.folder / "checkpoints" / "last.ckpt", weights_only=True)
        metrics = json.loads((self.folder / "test" / "metrics.json").read_text())
        pictures = sorted((self.folder / "test" / "pictures").rglob("*.png"))
        return {
            **{name: checkpoint[name] for name in ("state_dict", "optimizer_states", "global_step", "epoch")},
            **{name: metrics[name] for name in ("results", "records", "step")},
            "pictures": [path.read_bytes() for path in pictures],
            "features": [path.read_bytes() for path in sorted((self.root / "features").iterdir())],
        }


def torchrun_environments(processes: int) -> list[dict[str, str]]:
    """What torchrun tells each process of a run on this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {
        "TORCHELASTIC_RUN_ID": "kills",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "GROUP_RANK": "0",
    }
    return [{**common, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(processes)]


def same(first: Any, second: Any) -> bool:
    """Whether two nests of containers, tensors and plain values are equal in every bit."""
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(same, first, second))
    return bool(first == second)


def phase_of(run: Run, subcommand: str) -> str:
    """Where a kill has just hit."""
    if subcommand in {"prepare", "features"}:
        return f"`{subcommand}`"
    path = run.folder / "phase"
    if not path.exists():
        return f"set-up of `{subcommand}`"
    phase = path.read_text()
    path.unlink()
    return phase or f"set-up of `{subcommand}`"


def trial(run: Run, kills: int, lengths: dict[str, float], rng: np.random.Generator) -> Counter[str]:
    """A run that is killed up to ``kills`` times, and then goes on to its end; where the kills hit."""
    hits: Counter[str] = Counter()
    planned = Counter(rng.choice(COMMANDS, kills).tolist())
    for subcommand in COMMANDS:
        ended = False
        while not ended:
            planned[subcommand] -= 1
            seconds = float(rng.uniform(0, lengths[subcommand])) if planned[subcommand] >= 0 else None
            aimed = seconds is not None and subcommand in {"fit", "test"} and planned[subcommand] % 2 == 1
            ended = run.finish(subcommand, seconds, aimed) is not None
            if not ended:
                hits[phase_of(run, subcommand)] += 1
        (run.folder / "phase").unlink(missing_ok=True)
    return hits


def run(size: Size, kills: int = 100, seed: int = 0) -> Report:
    """Kills runs on one and on two processes, and compares what becomes of them."""
    rng = np.random.default_rng(seed)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["commands.trainer", "callbacks.catalogue", "lightning_modules.catalogue"])
    lines = []
    equal_runs = []
    for processes in (1,) if size == "tiny" else (1, 2):
        left = 2 if size == "tiny" else kills
        with tempfile.TemporaryDirectory() as folder:
            reference = Run(Path(folder, "reference"), processes, context)
            lengths = {name: reference.finish(name) or 0.0 for name in COMMANDS}
            expected = reference.outcome()
            hits: Counter[str] = Counter()
            progress = tqdm(total=left, desc=f"kills on {processes} processes", leave=False)
            while hits.total() < left:
                killed = Run(Path(folder, "killed"), processes, context)
                some = trial(killed, min(KILLS_A_TRIAL, left - hits.total()), lengths, rng)
                half_made = [path for pattern in UNFINISHED for path in killed.root.rglob(pattern)]
                equal_runs.append(same(killed.outcome(), expected) and not half_made)
                hits += some
                progress.update(some.total())
                shutil.rmtree(killed.root)
        lines.append(f"{processes} process(es): {hits.total()} kills, of which in " + _listed(hits))
    equal = sum(equal_runs)
    lines.append(f"{equal} of {len(equal_runs)} runs ended as the run that nobody killed")
    assert equal == len(equal_runs), "\n".join(lines)
    path = "runs that were killed and went on, equal to the run that nobody killed"
    row = Row(path, f"{equal} runs", f"{len(equal_runs)}, all of them", equal / len(equal_runs))
    return Report(lines, [row])


def _listed(hits: Counter[str]) -> str:
    return ", ".join(f"{phase} {count}" for phase, count in hits.most_common())


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the benchmark as its command line says."""
    report(run, __doc__, argv, kills=100, seed=0)


if __name__ == "__main__":
    main()
