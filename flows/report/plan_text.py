"""The stages of a dry run for a terminal, and as plain text where there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PARTS = {
    "cluster": "cluster",
    "workers": "workers ready",
    "read_per_shard": "read",
    "compute_per_shard": "compute",
    "write_per_shard": "write",
}


def stage_table(result: Mapping[str, Any]) -> Table:
    """Return the stages of a dry run with their seconds as a table that rich can print."""
    caption = "\n".join([_total(result), *_cost(result)])
    table = Table(caption=Text(caption), caption_justify="left")
    for head in ("stage", "time", "share", "of which"):
        table.add_column(head, justify="right" if head in ("time", "share") else "left")
    total = max(result["estimated_seconds"], 1e-9)
    for name, stage in result["stages"].items():
        share = f"{100 * stage['seconds'] / total:.0f} %"
        table.add_row(name, duration(stage["seconds"]), share, _parts(stage))
    return table


def stage_lines(result: Mapping[str, Any]) -> str:
    """Return the same as lines of plain text, ending in a newline."""
    lines = [
        f"stage {name}: {duration(stage['seconds'])}{'; ' * bool(_parts(stage))}{_parts(stage)}"
        for name, stage in result["stages"].items()
    ]
    return "\n".join([*lines, _total(result), *_cost(result)]) + "\n"


def _parts(stage: Mapping[str, float]) -> str:
    """Seconds of the parts of a stage; those of a shard are named so."""
    found = [f"{word} {duration(stage[key])}" for key, word in PARTS.items() if key in stage]
    return ", ".join(found) + " a shard" * ("read_per_shard" in stage)


def _total(result: Mapping[str, Any]) -> str:
    workers = f"{result['workers']} worker{'s' * (result['workers'] != 1)}"
    return f"total: {duration(result['estimated_seconds'])} with {workers}"


def _cost(result: Mapping[str, Any]) -> Iterator[str]:
    cost = result["cost"]
    if cost is not None:
        hours, price = cost["worker_hours"], cost["price_per_hour"]
        yield f"cost: {cost['total']:,.2f} = {hours:,.3g} worker hours at {price:g}"


def duration(seconds: float) -> str:
    """Return seconds in words a reader takes in at once.

    Examples
    --------
    >>> duration(0.0312), duration(75), duration(7320), duration(200_000)
    ('0.031 s', '1 min 15 s', '2 h 2 min', '2 d 8 h')
    """
    if seconds < 9.95:
        return f"{seconds:.2g} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(seconds / 60)
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    hours = round(seconds / 3600)
    return f"{hours // 24} d {hours % 24} h"
