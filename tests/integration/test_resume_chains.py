"""A run in any number of parts is the run in one piece: the same batches, validations, weights, counters."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, NamedTuple

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn

from callbacks.run.last_checkpoint import LastCheckpoint
from callbacks.run.step_seeds import StepSeeds
from commands.connect import connect
from datamodules.base import GroundingDataModule
from lightning_modules.base import WeakgroundModule
from lightning_modules.optimisation import Optimisation
from tests.datamodules.feeding import PLAIN, ListSource
from tests.integration.helpers import StopAt
from tests.tiny import differences

BATCHES = 4  # of two images, an epoch

# How a part of a run ends: ("max_steps" or "max_epochs", number), ("stop" or "crash", step).
Link = tuple[str, int]


class Greys(GroundingDataModule):
    """Images of one grey each."""

    name = "greys"

    def training_source(self) -> ListSource:
        return ListSource([[f"grey {index}"] for index in range(2 * BATCHES + 1)])

    def evaluation_source(self, split: Any) -> ListSource:
        return ListSource([[f"grey {index}"] for index in range(3)])


class OneLayer(WeakgroundModule):
    """A linear layer whose loss and score say nothing, but depend on all that was fed and drawn before."""

    preprocessing = PLAIN

    def __init__(self) -> None:
        super().__init__(Optimisation(lr=0.1, schedule="constant", warmup_steps=5), pretrained=None)
        self.network = nn.Linear(3, 1)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        greys = batch.images.mean((2, 3))
        loss = (self.network(greys + torch.rand(greys.shape)) - greys.sum()).square().mean()
        self.log_terms(loss, {})
        return loss

    def on_validation_epoch_end(self) -> None:
        self.log("val/score", 900 * self.network.weight.sum().detach() % 1)


class Diary(pl.Callback):
    """What happened, in order; can end a validation by an error, as a full disk or a lost node would."""

    def __init__(self, crash_at: int | None) -> None:
        self.crash_at = crash_at
        self.lines: list[str] = []

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.lines.append(f"epoch {trainer.current_epoch}, batch {batch_idx}: {' '.join(batch.keys)}")

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.global_step == self.crash_at:
            raise OSError("no space left on device")

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        when = f"in epoch {trainer.current_epoch} at step {trainer.global_step}"
        self.lines.append(f"validated {when}: {trainer.callback_metrics['val/score'].item()}")


class Outcome(NamedTuple):
    """What a run has done and left behind."""

    lines: list[str]
    last: dict[str, Any]
    best: dict[str, Any] | None


COMMON = {
    "accelerator": "cpu",
    "enable_model_summary": False,
    "enable_progress_bar": False,
    "logger": False,
    "num_sanity_val_steps": 0,
    "use_distributed_sampler": False,
}


def part(
    folder: Path,
    options: dict[str, Any],
    crash_at: int | None = None,
    stop_at: int | None = None,
) -> list[str]:
    """One start of a run, which goes on from what ``folder`` holds; says what happened."""
    pl.seed_everything(0, verbose=False)
    last = folder / "last.ckpt"
    diary = Diary(crash_at)
    callbacks: list[pl.Callback] = [StepSeeds(0), LastCheckpoint(last, every=1000), diary]
    best = {"monitor": "val/score", "mode": "max", "enable_version_counter": False}
    callbacks.append(ModelCheckpoint(folder, "best", **best))
    if stop_at is not None:
        callbacks.append(StopAt(stop_at))
    trainer = pl.Trainer(callbacks=callbacks, default_root_dir=folder, **(COMMON | options))
    module = OneLayer()
    data = Greys(batch_size=2, num_workers=0, cache_dir=folder)
    connect(module, data)
    try:
        trainer.fit(module, datamodule=data, ckpt_path=last if last.exists() else None, weights_only=True)
    except OSError:
        assert crash_at is not None
    return diary.lines


def run(folder: Path, options: dict[str, Any], links: list[Link]) -> Outcome:
    """A run in parts. The parts that are stopped or crash have the limit of the last part."""
    lines = []
    end = dict([links[-1]])
    for how, number in links:
        if how == "stop":
            lines += part(folder, options | end, stop_at=number)
        elif how == "crash":
            lines += part(folder, options | end, crash_at=number)
        else:
            lines += part(folder, options | {how: number})
    best = folder / "best.ckpt"
    return Outcome(lines, torch.load(folder / "last.ckpt"), torch.load(best) if best.exists() else None)


def assert_same(parts: Outcome, whole: Outcome) -> None:
    assert parts.lines == whole.lines
    assert (parts.best is None) == (whole.best is None)
    for first, second in ((parts.last, whole.last), (parts.best, whole.best)):
        if first is None or second is None:
            continue
        for name in ("epoch", "global_step", "state_dict", "optimizer_states", "lr_schedulers"):
            assert differences(first[name], second[name], name) == []
        assert differences(counters(first), counters(second), "counters") == []
        assert differences(best_score(first), best_score(second), "best score") == []


def counters(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Those of Lightning's training loops. Of validation, where each begins anew, only the sums matter."""
    kept = dict(checkpoint["loops"]["fit_loop"])
    validation = kept.pop("epoch_loop.val_loop.batch_progress")
    return kept | {"validation": validation["total"]}


def best_score(checkpoint: dict[str, Any]) -> list[Any]:
    states = checkpoint["callbacks"].items()
    return [state["best_model_score"] for name, state in states if name.startswith("ModelCheckpoint")]


def epochs(*numbers: int) -> list[Link]:
    return [("max_epochs", number) for number in numbers]


def steps(*numbers: int) -> list[Link]:
    return [("max_steps", number) for number in numbers]


def stops(*numbers: int) -> list[Link]:
    return [("stop", number) for number in numbers]


EACH_EPOCH: dict[str, Any] = {}
NEVER = {"limit_val_batches": 0}
EVERY_SECOND_EPOCH = {"check_val_every_n_epoch": 2}
TWICE_AN_EPOCH = {"val_check_interval": 2}
EVERY_FIVE_BATCHES = {"val_check_interval": 5, "check_val_every_n_epoch": None}
# The second step of an epoch has one batch.
SUMMED = {"accumulate_grad_batches": 2, "limit_train_batches": 3}
# A validation falls between two summed gradients.
SUMMED_UNEVENLY = {"accumulate_grad_batches": 3, "val_check_interval": 2}
SETTINGS = [
    EACH_EPOCH,
    NEVER,
    EVERY_SECOND_EPOCH,
    TWICE_AN_EPOCH,
    EVERY_FIVE_BATCHES,
    SUMMED,
    SUMMED_UNEVENLY,
]

CHAINS: dict[str, tuple[dict[str, Any], list[Link]]] = {
    "an epoch more each time": (EACH_EPOCH, epochs(1, 2, 3, 4)),
    "an epoch more each time, without validation": (NEVER, epochs(1, 2, 3, 4)),
    "an epoch's steps more each time": (EACH_EPOCH, steps(4, 8, 12, 16)),
    "an epoch's steps more each time, without validation": (NEVER, steps(4, 8, 12, 16)),
    "nothing to do in between": (EACH_EPOCH, epochs(1, 1, 2, 2) + steps(8, 8, 12)),
    "odd steps": (EACH_EPOCH, steps(1, 3, 4, 5, 9, 10, 14)),
    "odd steps, validation by steps": (EVERY_FIVE_BATCHES, steps(1, 3, 5, 6, 9, 10, 15)),
    "epochs and steps in turn": (EVERY_SECOND_EPOCH, epochs(1) + steps(6) + epochs(2) + steps(9) + epochs(4)),
    "gradients are summed": (SUMMED, steps(2, 3) + epochs(2, 3) + steps(8, 9)),
    "gradients are summed over a validation": (SUMMED_UNEVENLY, steps(1, 2, 3, 6, 7)),
    "two validations an epoch": (TWICE_AN_EPOCH, steps(2, 3, 4, 6, 11)),
    "stopped within and after epochs": (EACH_EPOCH, stops(2, 4, 7, 8, 9) + epochs(3)),
    "stopped where validations are due": (TWICE_AN_EPOCH, stops(2, 4, 6) + steps(9)),
    "stopped where no validation is due": (EVERY_SECOND_EPOCH, stops(4, 8) + steps(13)),
    "stopped where validation is by steps": (EVERY_FIVE_BATCHES, stops(4, 5, 8, 10) + steps(12)),
    "stopped without validation": (NEVER, stops(3, 4, 8) + epochs(3)),
    "stopped while gradients are summed": (SUMMED, stops(1, 2, 4, 5) + epochs(3)),
    "stopped in the last step": (EACH_EPOCH, stops(8) + steps(8)),
    "stopped in the last step of the last epoch": (EACH_EPOCH, stops(8) + epochs(2)),
    "the last validation crashes": (EACH_EPOCH, [("crash", 8), *steps(8)]),
    "the last validation of the last epoch crashes": (EACH_EPOCH, [("crash", 8), *epochs(2)]),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Any:
    outcomes: dict[str, Outcome] = {}

    def outcome(options: dict[str, Any], end: Link) -> Outcome:
        name = f"{options} {end}"
        if name not in outcomes:
            outcomes[name] = run(tmp_path_factory.mktemp("whole"), options, [end])
        return outcomes[name]

    return outcome


@pytest.mark.parametrize("case", CHAINS)
def test_a_run_in_parts_equals_the_run_in_one_piece(case: str, whole: Any, tmp_path: Path) -> None:
    options, links = CHAINS[case]
    assert_same(run(tmp_path, options, links), whole(options, links[-1]))


@pytest.mark.parametrize("seed", range(len(SETTINGS)))
def test_drawn_chains(seed: int, whole: Any, tmp_path: Path) -> None:
    draw = random.Random(seed)
    options = SETTINGS[seed]
    batches = options.get("limit_train_batches", BATCHES)
    steps_an_epoch = -(-batches // options.get("accumulate_grad_batches", 1))
    ends = sorted(draw.sample(range(1, 4 * steps_an_epoch), 4))
    links: list[Link] = []
    for end in ends:
        how = draw.choice(["max_steps", "max_epochs", "stop"])
        if how == "max_epochs":
            end = -(-end // steps_an_epoch)
        links.append((how, end))
    links.append(draw.choice([("max_steps", 4 * steps_an_epoch), ("max_epochs", 4)]))
    assert_same(run(tmp_path, options, links), whole(options, links[-1]))


def test_a_validation_that_was_due_is_dropped_with_all_others(whole: Any, tmp_path: Path) -> None:
    stopped = part(tmp_path, {"max_epochs": 3}, stop_at=4)
    parts = run(tmp_path, NEVER, epochs(3))
    assert_same(parts._replace(lines=stopped + parts.lines), whole(NEVER, ("max_epochs", 3)))


def test_data_without_a_validation_split(whole: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Greys, "evaluation_source", lambda self, split: None)
    assert_same(run(tmp_path, EACH_EPOCH, [*stops(4, 8), *steps(8, 9)]), whole(NEVER, ("max_steps", 9)))


def test_the_best_checkpoint_can_be_resumed_too(whole: Any, tmp_path: Path) -> None:
    expected = whole(TWICE_AN_EPOCH, ("max_steps", 11))
    assert expected.best["global_step"] == 8
    torch.save(expected.best, tmp_path / "last.ckpt")
    resumed = run(tmp_path, TWICE_AN_EPOCH, steps(11))
    assert resumed.lines == expected.lines[-len(resumed.lines) :]
    assert len(resumed.lines) == 3 + 1  # steps and validations
    assert differences(resumed.last["state_dict"], expected.last["state_dict"]) == []


def test_what_the_runs_above_do(whole: Any) -> None:
    """An epoch has its own order, and the best score is not the last; else there were little to repeat."""
    outcome = whole(EACH_EPOCH, ("max_epochs", 4))
    fed = [line.split(": ")[1] for line in outcome.lines if line.startswith("epoch")]
    orders = {" ".join(fed[start : start + BATCHES]) for start in range(0, len(fed), BATCHES)}
    assert len(fed) == 4 * BATCHES
    assert len(orders) == 4
    scores = [float(line.split(": ")[1]) for line in outcome.lines if line.startswith("validated")]
    assert len(set(scores)) == 4
    assert max(scores) != scores[-1]
    assert best_score(outcome.last)[0].item() == max(scores)
    assert outcome.last["epoch"] == 3
    assert outcome.best is not None
    assert outcome.best["global_step"] == BATCHES * (1 + scores.index(max(scores)))
