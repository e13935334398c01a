"""The page with models that need no weights, for tests in a real browser:

python -m tests.commands.show_program PORT
"""

from __future__ import annotations

import sys
import time

from torch import Tensor

from commands.show import serve
from tests.callbacks.judging import Capable
from weakground.grounder import Grounder


class Slow(Capable):
    """Takes long enough for somebody else to ask meanwhile."""

    def ground(self, images: Tensor, phrases: list[str], image_of_query: Tensor) -> Tensor:
        time.sleep(1.5)
        return super().ground(images, phrases, image_of_query)


if __name__ == "__main__":
    serve({"bright": Grounder(Capable()), "slow": Grounder(Slow())}, "127.0.0.1", int(sys.argv[1]))
