"""Which classes a drawing or a table shows, and what is said of those it leaves out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flows.report.document import Cell
from flows.report.numbers import score_number
from flows.report.png import PALETTE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flows.report.png import Color

Entry = dict[str, Any]
MOST_DRAWN = 6  # classes in one drawing; there are as many dashes and marks


def foreground(result: Mapping[str, Any]) -> list[Entry]:
    """Return every class but the background."""
    return [entry for entry in result["classes"] if entry["value"] != 0]


def drawn(result: Mapping[str, Any]) -> tuple[list[Entry], str]:
    """Return the foreground classes to draw, and a sentence if there are others.

    Classes without a Dice have nothing to draw; of many the worst are drawn.
    """
    scored = [entry for entry in foreground(result) if entry.get("dice") is not None]
    if len(scored) <= MOST_DRAWN:
        return scored, ""
    worst = sorted(scored, key=lambda entry: float(entry["dice"]))[:MOST_DRAWN]
    chosen = [entry for entry in scored if entry in worst]
    return chosen, f"Of {len(scored)} classes the {MOST_DRAWN} with the lowest Dice are drawn."


def marks(entries: Sequence[Mapping[str, Any]]) -> list[int]:
    """Return the numbers of dash and mark of classes in one drawing, the same in every drawing.

    Of many classes two may have the same one; then they are numbered as they come.
    """
    numbers = [((entry["value"] or 1) - 1) % MOST_DRAWN for entry in entries]
    return numbers if len(set(numbers)) == len(numbers) else list(range(len(numbers)))


def class_color(value: int, colors: Mapping[int, Color]) -> Color:
    """Return the colour of a class, or one of the palette."""
    return colors.get(value, PALETTE[(value - 1) % len(PALETTE)])


def title(entry: Mapping[str, Any]) -> str:
    """Return value and name of a class, which tell it from others however it is cut."""
    return f"{entry['value']} {entry['name']}"


def class_cell(entry: Mapping[str, Any]) -> Cell:
    """Return the first cell of a class's row."""
    return Cell(entry["name"], value=entry["value"])


def dice_of(row: Mapping[str, Any], value: int) -> float | None:
    """Return the Dice of a class in a row of scores; None where it is undefined or not there."""
    dice: float | None = part_of(row, "dice", value)
    return dice


def part_of(row: Mapping[str, Any], key: str, value: int) -> Any:
    """Return what a row holds of a class under a key; None where it is not there."""
    found: Sequence[Any] = row.get(key) or ()
    return found[value] if 0 <= value < len(found) else None


def image_name(row: Mapping[str, Any]) -> str:
    """Return the name of an image; of one in a stack of images with its number."""
    index = row.get("index")
    return str(row["image"]) if index is None else f"{row['image']} [{index}]"


def image_axes(result: Mapping[str, Any]) -> str:
    """Return the axes of one image; the axis that numbers the images of a stack is not among them.

    A segmentation has one image, with all axes.
    """
    return str(result.get("image_axes") or result.get("axes") or "zyx")


def volume_names(result: Mapping[str, Any]) -> list[str]:
    """Return the names of the volumes that the images were cut from, in their order."""
    names: list[str] = []
    last: tuple[str, int] | None = None
    for row in result.get("images") or ():
        name, index = str(row["image"]), row.get("index")
        if index is None or last is None or last[0] != name or index <= last[1]:
            names.append(name)
        last = None if index is None else (name, index)
    return names


def score_cell(value: float | None, reason: str = "", *, share: bool = False) -> Cell:
    """Return a score, or why it is undefined."""
    if value is None:
        return Cell(f"undefined ({reason})" if reason else "undefined", undefined=True)
    return Cell(score_number(value), share=value if share else None)


def named_score(entry: Mapping[str, Any], name: str) -> Cell:
    """Return a score of an entry that keeps the reasons of undefined ones under "undefined"."""
    return score_cell(entry.get(name), entry.get("undefined", {}).get(name, "not computed"))
