"""In the place of the trainer, for commands that start several runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class StandIn:
    """Notes the commands that it is given, and leaves what their runs would leave.

    Args:
        result: dataset, protocol and metric of the one number of a test, which is 0.5 for the model and 0.1
            for the baselines.
        end_at: number of the command, from 1, that ends with ``code`` before its time.
    """

    def __init__(self, *result: str, end_at: int = 0, code: int = 1) -> None:
        self.result = dict(zip(("dataset", "protocol", "metric"), result, strict=True))
        self.commands: list[list[str]] = []
        self.end_at = end_at
        self.code = code

    def __call__(self, command: list[str]) -> int:
        """In the place of `commands.trainer.main`."""
        self.commands.append(command)
        folder = Path(option(command, "--runs")) / option(command, "--name")
        if command[0] == "fit":
            (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
            (folder / "checkpoints" / "last.ckpt").touch()
        if len(self.commands) == self.end_at:
            return self.code
        if command[0] == "test":
            (folder / "test").mkdir(parents=True, exist_ok=True)
            methods = {"random": 0.1, "centre": 0.1, "model": 0.5}
            rows: list[dict[str, Any]] = [
                {**self.result, "low": 0.4, "high": 0.6, "n": 9, "method": method, "value": value}
                for method, value in methods.items()
            ]
            (folder / "test" / "metrics.json").write_text(
                json.dumps({"step": 7, "commit": "0123abc", "seed": 0, "protocols": {}, "results": rows})
            )
        return 0

    @property
    def names(self) -> list[tuple[str, str]]:
        """Subcommand and name of every run."""
        return [(command[0], option(command, "--name")) for command in self.commands]


def option(command: list[str], name: str) -> str:
    """The value of an option."""
    return command[command.index(name) + 1]
