"""What the parser says about a command, in one sentence.

The parser wraps what went wrong in the options and classes that lead there, and wraps in the same way what a
class of ours says in its constructor.
"""

from __future__ import annotations

import re
import traceback

from commands.config_errors import no_class, unknown_option
from commands.options import known_options
from commands.suggest import nearest

UNION = re.compile(r"Does not validate against any of the Union subtypes")
WRAPPERS = re.compile(
    r"Parser key \"(?P<key>[^\"]+)\": |Problem with given class_path '[^']+': |"
    + UNION.pattern
    + r" Subtypes: \[.+?\] Errors: - "
)
# Where the innermost error ends, and the parser goes on with other subtypes and with the value.
END = re.compile(r" - (?:Expected an? |Not a valid |Problem with |Parser key )| Given value(?: type)?:")
UNKNOWN = re.compile(
    r"[Uu]nrecognized arguments?:? (\S+)|Option '([^']+)' is not accepted|Key '([^']+)' is not expected"
)
MESSAGE_LENGTH = 400  # characters of an error that is not understood


def explain(error: Exception) -> str | None:
    """One sentence about an error of the parser or of the trainer's constructor.

    Returns:
        The sentence, or None for any other error.
    """
    text = re.sub(r"\s+", " ", str(error)).strip()
    if _is_refused_by_lightning(error) or text.startswith("You selected an invalid"):
        return text
    package = type(error).__module__.split(".")[0]
    if package not in {"jsonargparse", "argparse"} and UNION.search(text) is None:
        return None
    if "arguments are required" in text:
        return "no model and no data are named: give --config FILE."
    keys, inner = unwrap(text)
    return (
        _unknown_option(keys, inner)
        or _unknown_field(inner)
        or _wrong_class(keys, text)
        or _wrong_value(keys, inner)
        or _wrong_value_of_union(keys, inner, text)
        or inner[:MESSAGE_LENGTH]
    )


def _is_refused_by_lightning(error: Exception) -> bool:
    """Whether Lightning does not accept an option; its messages name the option between backticks."""
    if type(error).__name__ == "MisconfigurationException":
        return True
    if not isinstance(error, TypeError | ValueError) or "`" not in str(error):
        return False
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return bool(frames) and frames[-1].f_globals["__name__"].startswith("lightning.")


def unwrap(text: str) -> tuple[list[str], str]:
    """The options that lead to the innermost error, and what it says.

    Example:
        >>> unwrap('Parser key "model": Parser key "width": Expected an int')
        (['model', 'width'], 'Expected an int')
    """
    keys: list[str] = []
    wrapper = WRAPPERS.match(text)
    while wrapper:
        if wrapper["key"]:
            keys.append(wrapper["key"])
        text = text[wrapper.end() :]
        wrapper = WRAPPERS.match(text)
    return keys, END.split(text)[0].strip()


def _unknown_option(keys: list[str], text: str) -> str | None:
    unknown = UNKNOWN.search(text)
    if not unknown:
        return None
    name = next(group for group in unknown.groups() if group).split("=")[0].lstrip("-")
    parents = [part for key in keys for part in key.split(".")]
    parts = [part for part in name.split(".") if part != "init_args"]
    return unknown_option(".".join([*parents, *parts]), len(parents), parts[-1], known_options())


def _unknown_field(text: str) -> str | None:
    unknown = re.match(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'", text)
    if not unknown:
        return None
    return f"{unknown[1]} has no field {unknown[2]!r}{nearest(unknown[2], known_options()) or '.'}"


def _wrong_class(keys: list[str], text: str) -> str | None:
    """The sentence about a value where a class must be named."""
    wrong = re.search(r"Expected a path but (\S+) either not accessible", text)
    if not wrong or not keys:
        return None
    return no_class(".".join(keys), wrong[1])


def _wrong_value(keys: list[str], text: str) -> str | None:
    wrong = re.match(r"Expected an? (.+?)\. Got value: (.*)", text)
    if not wrong:
        return None
    value = "null" if wrong[2] == "None" else repr(wrong[2])
    choices: list[str] = []
    if wrong[1].startswith("typing.Literal"):
        choices = re.findall(r"'([^']+)'", wrong[1])
    expected = f"one of {', '.join(choices)}" if choices else f"of type {_type_name(wrong[1])}"
    return f"{'.'.join(keys)} must be {expected}, not {value}{nearest(wrong[2], choices) or '.'}"


def _wrong_value_of_union(keys: list[str], inner: str, text: str) -> str | None:
    """The sentence about a value that fits none of several types."""
    start = text.rfind(UNION.pattern, 0, text.index(inner))
    types, _, rest = text[start:].partition(" Given value type: ")
    value = re.search(r"Given value: (\S+)", rest)
    if start < 0 or value is None or not inner.startswith("Expected a"):
        return None
    names = [_type_name(name) for name in re.findall(r"Expected an? (.+?)(?= - Expected|$)", types)]
    choices = re.findall(r"'([^']+)'", " ".join(names))
    suggestion = nearest(value[1], choices) or "."
    return f"{'.'.join(keys)} must be of type {' or '.join(names)}, not {value[1]!r}{suggestion}"


def _type_name(text: str) -> str:
    """A type as a user would call it: ``<class 'collections.abc.Sequence'>`` -> ``Sequence``."""
    if text.startswith("typing.Literal["):
        return text.removeprefix("typing.Literal[").removesuffix("]")
    name = re.match(r"<class '(?:.+\.)?(.+)'>", text)
    if not name:
        return text
    return "null" if name[1] == "NoneType" else name[1]
