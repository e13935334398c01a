"""``null`` as the value of an option, however deep the option lies.

jsonargparse (4.53, `_typehints.adapt_class_type`) hands an option of a class within a class on as text,
``f"--{key}={value}"``, after it has read the value: null arrives as the word ``None``, which YAML takes for a
string. A number is then refused, and a name or a path is silently called "None".
"""

from __future__ import annotations

from typing import Any

import jsonargparse
import yaml

_load_yaml = jsonargparse.get_loader("yaml")


def load_value(text: str) -> Any:
    """A value as jsonargparse reads it, but null for the word ``None``.

    Example:
        >>> load_value("None") is None
        True
        >>> load_value("[1, 2]")
        [1, 2]
    """
    if text.strip() == "None":
        return None
    return _load_yaml(text)


def read_none_as_null() -> None:
    """Makes all parsers read values by `load_value`."""
    jsonargparse.set_loader("yaml", load_value, exceptions=(yaml.YAMLError,))
