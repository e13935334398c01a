"""When it is written, and how it stops a run. Whole runs, stopped and resumed, are in tests/integration."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from callbacks.run import signals
from callbacks.run.last_checkpoint import LastCheckpoint


class Trainer(SimpleNamespace):
    """Of one process; saving writes the step."""

    def __init__(self, **fields: Any) -> None:
        given = {
            "global_step": 1,
            "max_steps": -1,
            "max_epochs": -1,
            "current_epoch": 0,
            "accumulate_grad_batches": 1,
            "is_last_batch": False,
        }
        due = fields.pop("validation_due", False)
        epoch_loop = SimpleNamespace(
            max_steps=-1,
            restarted_on_train_batch_end=False,
            val_loop=SimpleNamespace(setup_data=lambda: None, skip=False),
            _should_check_val_fx=lambda fetcher: due,
        )
        loop = SimpleNamespace(epoch_loop=epoch_loop, _data_fetcher=object(), state_dict=dict)
        strategy = SimpleNamespace(root_device="cpu", reduce=lambda flag, reduce_op: flag)
        fixed = {
            "is_global_zero": True,
            "limit_val_batches": 1.0,
            "fit_loop": loop,
            "strategy": strategy,
            "saved": [],
        }
        super().__init__(**{**fixed, **given, **fields})

    def save_checkpoint(self, path: Path, weights_only: bool) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(self.global_step))
        self.saved.append(self.global_step)


def end_batch(callback: LastCheckpoint, trainer: Any, batch_idx: int = 0) -> None:
    callback.on_train_batch_end(trainer, None, None, None, batch_idx)  # type: ignore[arg-type]


@pytest.fixture
def callback(tmp_path: Path) -> Any:
    yield LastCheckpoint(tmp_path / "checkpoints" / "last.ckpt", every=10)
    signals.stop_listening()


@pytest.mark.parametrize(
    ("fields", "saved"),
    [
        ({"global_step": 10}, True),
        ({"global_step": 11}, False),
        ({"global_step": 7, "max_steps": 7}, False),
        ({"global_step": 7, "max_steps": 7, "validation_due": True}, True),
        ({"global_step": 7, "max_epochs": 1, "is_last_batch": True}, False),
        ({"global_step": 7, "max_epochs": 1, "is_last_batch": True, "validation_due": True}, True),
        ({"global_step": 7, "max_epochs": 2, "is_last_batch": True, "validation_due": True}, True),
        ({"global_step": 10, "accumulate_grad_batches": 2}, False),
        ({"global_step": 10, "accumulate_grad_batches": 2, "is_last_batch": True}, True),
    ],
)
def test_when_it_is_written(fields: dict[str, Any], saved: bool, callback: LastCheckpoint) -> None:
    end_batch(callback, Trainer(global_step=9))  # an earlier step
    trainer = Trainer(**fields)
    end_batch(callback, trainer)
    assert trainer.saved == ([trainer.global_step] if saved else [])
    assert callback.path.exists() == saved
    callback.on_train_end(trainer, None)  # type: ignore[arg-type]
    assert trainer.saved == [trainer.global_step] * (1 + saved)
    assert callback.path.read_text() == str(trainer.global_step)
    assert [path.name for path in callback.path.parent.iterdir()] == ["last.ckpt"]


def test_a_signal_ends_the_run_after_the_step(callback: LastCheckpoint) -> None:
    trainer: Any = Trainer(global_step=3, accumulate_grad_batches=2)
    callback.on_fit_start(trainer, None)  # type: ignore[arg-type]
    callback.on_train_start(trainer, None)  # type: ignore[arg-type]
    os.kill(os.getpid(), signal.SIGTERM)
    end_batch(callback, trainer, 0)
    assert not callback.stopped  # half of the gradients are summed
    end_batch(callback, trainer, 1)
    assert callback.stopped
    assert trainer.saved == [3]
    assert trainer.fit_loop.epoch_loop.max_steps == 3
    assert trainer.limit_val_batches == 0


def test_another_process_was_told_to_stop(callback: LastCheckpoint) -> None:
    trainer = Trainer(global_step=3)
    trainer.strategy.reduce = lambda flag, reduce_op: flag + 1
    end_batch(callback, trainer)
    callback.on_train_end(trainer, None)  # type: ignore[arg-type]
    assert (callback.stopped, trainer.saved) == (True, [3])


@pytest.mark.parametrize("end", ["teardown", "on_exception"])
def test_handlers_are_given_back(end: str, callback: LastCheckpoint) -> None:
    before = [signal.getsignal(number) for number in signals.SIGNALS]
    callback.on_fit_start(Trainer(), None)  # type: ignore[arg-type]
    callback.on_train_start(Trainer(), None)  # type: ignore[arg-type]
    assert [signal.getsignal(number) for number in signals.SIGNALS] != before
    getattr(callback, end)(Trainer(), None, "fit")
    assert [signal.getsignal(number) for number in signals.SIGNALS] == before
