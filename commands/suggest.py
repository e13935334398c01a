"""Did you mean?"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(word: str, names: Iterable[str]) -> str:
    """The end of a sentence about a word that is no name.

    Args:
        word: what was written.
        names: what could have been meant.

    Returns:
        ``", did you mean 'X'?"`` with the name nearest to ``word``, or an empty string if none is near.

    Capitals do not matter.

    Example:
        >>> nearest("max_stpes", ["max_steps", "max_epochs"])
        ", did you mean 'max_steps'?"
    """
    by_small_letters = {name.lower(): name for name in names}
    matches = get_close_matches(word.lower(), by_small_letters, n=1, cutoff=0.5)
    if not matches:
        return ""
    return f", did you mean {by_small_letters[matches[0]]!r}?"
