"""Names of earlier versions, and what they are called now."""

from __future__ import annotations

from collections.abc import Mapping

# An old option -> the new one, both without ``init_args``. The old one is given whole (``model.network``,
# which stands for all that lies below it, too), or by one of its parts alone (``reach``). It counts only
# where it is no option any more.
RENAMED_OPTIONS: dict[str, str] = {}
# The short name of an old class -> that of the new one.
RENAMED_CLASSES: dict[str, str] = {}


def new_option(option: str, known_parts: int = 0, renamed: Mapping[str, str] = RENAMED_OPTIONS) -> str | None:
    """The new name of an option, if it is an old one.

    Args:
        option: as it was given, without ``init_args``.
        known_parts: how many of its leading parts are options of today.
        renamed: old names and new ones.

    Returns:
        The new name; None if the option has never been one.

    Example:
        >>> new_option("model.network.width", 1, {"model.network": "model.backbone.network"})
        'model.backbone.network.width'
        >>> new_option("model.network.reach", 2, {"reach": "neighbours"})
        'model.network.neighbours'
    """
    parts = option.split(".")
    for length in range(len(parts), known_parts, -1):
        old = ".".join(parts[:length])
        if old in renamed:
            return ".".join([renamed[old], *parts[length:]])
    for position in range(known_parts, len(parts)):
        if parts[position] in renamed:
            return ".".join([*parts[:position], renamed[parts[position]], *parts[position + 1 :]])
    return None


def without_init_args(option: str) -> str:
    """An option as it may be written in short.

    Example:
        >>> without_init_args("--model.init_args.network.init_args.width")
        'model.network.width'
    """
    names = option.lstrip("-").rstrip("+").split(".")
    return ".".join(name for name in names if name != "init_args")
