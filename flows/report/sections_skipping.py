"""The section on blocks that were not computed, and on how far to trust that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flows.report.document import Cell, Section, Table, Text
from flows.report.numbers import counted, percent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from flows.report.png import Color


def skipped(result: Mapping[str, Any], colors: Mapping[int, Color]) -> Section | None:
    """Return what was skipped as empty, and what the sample of it has shown."""
    found = result.get("skipping")
    if not found:
        return None
    size = " × ".join(map(str, found["block"]))
    lead = (
        f"Blocks of {size} voxels were not computed where level {found['level']} of the image "
        f"nowhere exceeds {found['below']:g}, as far around as the network looks; they are "
        f"{found['background']}."
    )
    table = Table(("Blocks", "How many"), tuple(_rows(found)))
    remark = Text(f"{skipping_text(found)}.", soft=True)
    return Section("Skipped as empty", (Text(lead), table, remark), ("false_skip",))


def skipping_text(found: Mapping[str, Any]) -> str:
    """One line: what was skipped, and what is known of it.

    Parameters
    ----------
    found : mapping
        ``skipping`` of result.json.
    """
    share = percent(found["skipped_blocks"] / found["blocks"])
    text = f"{found['skipped_blocks']:,} of {counted(found['blocks'], 'block')} skipped ({share})"
    if found["false_skip_rate"] is None:
        return f"{text}; false-skip rate undefined ({found['undefined']})"
    interval = found["interval"]
    sampled = counted(found["sampled_blocks"], "sampled block")
    return (
        f"{text}; false-skip rate {percent(found['false_skip_rate'])} of the voxels of {sampled}, "
        f"{found['false_blocks']:,} of which hold a class: {percent(interval['low'])} to "
        f"{percent(interval['high'])} of the blocks ({interval['level']:.0%} interval, "
        f"{interval['method']})"
    )


def _rows(found: Mapping[str, Any]) -> Iterator[tuple[Cell, Cell]]:
    for name, key in (
        ("all", "blocks"),
        ("skipped", "skipped_blocks"),
        ("empty, but computed: the sample", "sampled_blocks"),
        ("of these with a class", "false_blocks"),
    ):
        yield Cell(name), Cell(f"{found[key]:,}")
