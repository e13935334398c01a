"""The page of a leaderboard: one HTML file that needs neither network nor server."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import cv2

from commands.leaderboard import Board, Entry, Number

PICTURE_WIDTH = 900  # pixels

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1100px; color: #222 }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .35rem .6rem; border-bottom: 1px solid #ddd; vertical-align: top }
th { cursor: pointer; white-space: nowrap } th:hover { text-decoration: underline }
.about, .gain, .rules, .origin { color: #777; font-size: 12px }
.baseline td { background: #f6f6f4 }
.bar { position: relative; height: 8px; width: 130px; background: #eee; margin: .2rem 0 }
.bar i { position: absolute; top: 0; height: 8px; background: #3b7dd8 }
.bar b { position: absolute; top: 3px; height: 2px; background: #123 }
img { max-width: 100%; border: 1px solid #ddd }
"""

# Sorts a table by the column whose head is clicked; a second click turns the order around.
SCRIPT = """
document.querySelectorAll("th").forEach(head => head.addEventListener("click", () => {
  const body = head.closest("table").tBodies[0];
  const column = [...head.parentNode.children].indexOf(head);
  const sign = head.dataset.sign = head.dataset.sign === "-1" ? 1 : -1;
  const value = row => row.children[column].dataset.value ?? row.children[column].textContent;
  const order = (a, b) => isNaN(value(a) - value(b)) ? value(a).localeCompare(value(b)) : value(a) - value(b);
  [...body.rows].sort((a, b) => sign * order(a, b)).forEach(row => body.append(row));
}));
"""


def write_page(path: Path, title: str, boards: Sequence[Board]) -> None:
    """Writes the page.

    Args:
        path: of the file.
        title: its heading.
        boards: a part each.
    """
    parts = "".join(_part(board) for board in boards)
    path.write_text(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{STYLE}</style><h1>{escape(title)}</h1>"
        "<p>Numbers in per cent with 95 % intervals over queries. Below them, in grey: the gain over the row "
        "that a method starts from, on the same queries, with an interval by a bootstrap over images. A "
        "click on a heading sorts."
        f"</p>{parts}<script>{SCRIPT}</script></html>",
        encoding="utf-8",
    )


def _part(board: Board) -> str:
    heads = ["method", *(metric.replace("_", " ") for metric in board.metrics), "n", "origin"]
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    body = "".join(_row(entry, board.metrics) for entry in board.entries)
    rules = ", ".join(f"{name}: {value}" for name, value in board.rules.items() if name != "name")
    return (
        f"<h2>{escape(board.dataset)} <small>({escape(board.protocol)})</small></h2>"
        f'<p class="rules">{escape(rules)}</p>'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{_pictures(board)}"
    )


def _row(entry: Entry, metrics: Sequence[str]) -> str:
    name = f'{escape(entry.name)}<div class="about">{escape(entry.about)}</div>'
    cells = "".join(_cell(entry, metric) for metric in metrics)
    samples = max((number.samples for number in entry.numbers.values()), default=0)
    origin = f"seed {entry.seed}, {entry.commit[:10]}" if entry.commit else ""
    kind = "" if entry.commit else ' class="baseline"'
    return (
        f'<tr{kind}><td>{name}</td>{cells}<td data-value="{samples}">{samples:,}</td>'
        f'<td class="origin">{escape(origin)}</td></tr>'
    )


def _cell(entry: Entry, metric: str) -> str:
    number = entry.numbers.get(metric)
    if number is None:
        return f'<td data-value="-1">{"-" if entry.numbers else "not measured"}</td>'
    gain = entry.gains.get(metric)
    below = ""
    if gain is not None:
        below = f'<div class="gain">{gain.value:+.1f}{gain.interval}</div>'
    return (
        f'<td data-value="{number.value}"><strong>{number.value:.1f}</strong>'
        f"{number.interval}{_bar(number)}{below}</td>"
    )


def _bar(number: Number) -> str:
    """The number as a bar from 0 to 100, and its interval as a line on it."""
    line = ""
    if number.low is not None and number.high is not None:
        line = f'<b style="left:{number.low:.1f}%;width:{number.high - number.low:.1f}%"></b>'
    return f'<div class="bar"><i style="width:{number.value:.1f}%"></i>{line}</div>'


def _pictures(board: Board) -> str:
    """What each method found, folded away."""
    parts = []
    for entry in board.entries:
        if entry.pictures is not None:
            parts.append(
                f"<details><summary>What {escape(entry.name)} finds</summary>"
                f'<img alt="{escape(entry.name)}" src="{_embedded(entry.pictures)}"></details>'
            )
    return "".join(parts)


def _embedded(path: Path) -> str:
    """A picture as a data address, no wider than `PICTURE_WIDTH`."""
    image: Any = cv2.imread(str(path))
    height, width = image.shape[:2]
    if width > PICTURE_WIDTH:
        size = (PICTURE_WIDTH, round(height * PICTURE_WIDTH / width))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    _, content = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 85])
    return f"data:image/jpeg;base64,{base64.b64encode(content.tobytes()).decode()}"
