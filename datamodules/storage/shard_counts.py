"""How many records a shard should hold, and what is lost where it holds fewer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from datamodules.storage.text_files import json_object


def expected_records(shards: Sequence[Path]) -> dict[str, int]:
    """How many records each shard should hold, where its writer says so.

    img2dataset says so in ``<shard>_stats.json``, the mirrors in ``_info.json``.

    Args:
        shards: paths of the tar files.

    Returns:
        Number of records by name of the shard, for those of which it is known.
    """
    expected: dict[str, int] = {}
    for folder in sorted({shard.parent for shard in shards}):
        try:
            for split in _read_object(folder / "_info.json").get("splits", {}).values():
                counts = zip(split.get("filenames", ()), split.get("shard_lengths", ()), strict=False)
                expected |= {name: count for name, count in counts if isinstance(count, int)}
        except (AttributeError, TypeError):
            continue  # a file of another kind
    for shard in shards:
        successes = _read_object(shard.with_name(f"{shard.stem}_stats.json")).get("successes")
        if isinstance(successes, int):
            expected[shard.name] = successes
    return expected


def _read_object(path: Path) -> dict:
    """The object that a JSON file holds; empty where there is none."""
    try:
        return json_object(path.read_bytes())
    except OSError:
        return {}


def lost_records(shard: str, present: int, cut: str | None, expected: int | None, usual: int) -> list[str]:
    """A line for each record that a shard should hold and does not.

    Args:
        shard: name of the shard.
        present: records that it holds, broken ones among them.
        cut: why its end cannot be read, or None.
        expected: how many records it should hold; None where nobody says.
        usual: how many records a sound shard holds; what a cut shard is expected to hold where nobody says.

    Returns:
        Lines (name, tab, reason).

    Example:
        >>> lost_records("00000.tar", 4, None, 5, usual=5)
        ['00000.tar/lost-0\\tthe rest of the shard is lost: 4 records, not the 5 that its writer counted']
    """
    if expected is None and cut is None:
        return []
    count = (usual if expected is None else expected) - present
    if cut is not None:
        count = max(1, count)
    reason = cut or f"{present:,} records, not the {expected:,} that its writer counted"
    return [f"{shard}/lost-{number}\tthe rest of the shard is lost: {reason}" for number in range(count)]
