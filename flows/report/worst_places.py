"""Tables of the places where a mask is worst."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flows.report.classes import dice_of, drawn, score_cell
from flows.report.document import Cell, Table, Text
from flows.report.numbers import score_number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flows.report.document import Block

LOWEST = 5


def worst_places(
    result: Mapping[str, Any],
    places: Sequence[tuple[str, Mapping[str, Any]]],
    head: str,
    noun: str,
) -> list[Block]:
    """Return the named places of the lowest macro-foreground Dice, with the Dice of each class."""
    scored = [(name, row) for name, row in places if row["macro_foreground_dice"] is not None]
    worst = sorted(scored, key=lambda pair: float(pair[1]["macro_foreground_dice"]))[:LOWEST]
    if not worst:
        return [Text(f"Undefined on all {len(places):,} {noun}: no foreground there.")]
    classes = drawn(result)[0]
    cells = tuple(
        (
            Cell(name),
            Cell(score_number(row["macro_foreground_dice"])),
            *[score_cell(dice_of(row, entry["value"])) for entry in classes],
        )
        for name, row in worst
    )
    heads = (head, "Macro-foreground Dice", *[f"{entry['name']}, Dice" for entry in classes])
    undefined = len(places) - len(scored)
    caption = f"The {len(worst)} lowest of {len(scored):,} {noun}"
    if undefined:
        caption += f"; {undefined:,} more without foreground"
    return [Table(heads, cells, caption)]
