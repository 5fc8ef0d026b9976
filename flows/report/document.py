"""What a report says before it is a page or an artifact: sections of text, tables and charts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from flows.report.png import Color, Picture

WIDE, NARROW = 820, 330  # pixels of a drawing that fills a page, and a telephone


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a table.

    Parameters
    ----------
    text : str
    note : str
        A second, smaller line.
    share : float, optional
        Drawn as a bar filled to this share.
    undefined : bool
        The text is a reason, not a value.
    value : int, optional
        The class a row is about, in its first cell.
    words : bool
        Text, which is set to the left.
    """

    text: str
    note: str = ""
    share: float | None = None
    undefined: bool = False
    value: int | None = None
    words: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells under headings; the first cell of a row names it.

    `worth` holds a number per row, None for unknown: of a table that is too long the rows of
    least worth are shown. `folded` tables stand behind a heading to open, where there is room.
    """

    heads: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str = ""
    worth: tuple[float | None, ...] = ()
    folded: bool = False


@dataclass(frozen=True, slots=True)
class Matrix:
    """Counts with truth in rows and prediction in columns; a whole is the count of a full row."""

    names: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    wholes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph; a soft one is a remark."""

    text: str
    soft: bool = False


@dataclass(frozen=True, slots=True)
class Note:
    """A finding: its weight in words, what it is about, what was found, what to do.

    What stands behind it can be opened, or is from the beginning: the rule, what it does not
    prove, and what shows it.
    """

    weight: str
    code: str
    statement: str
    advice: str = ""
    rule: str = ""
    proves_not: str = ""
    evidence: tuple[Block, ...] = ()
    opened: bool = False


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawing as SVG for a wide page and, where it differs, for a narrow one."""

    wide: str
    narrow: str = ""
    caption: str = ""


def chart(draw: Callable[[float], str], caption: str = "") -> Chart:
    """Draw for a wide page and for a narrow one; `draw` is given the width in pixels."""
    return Chart(draw(WIDE), draw(NARROW), caption)


@dataclass(frozen=True, slots=True)
class Charts:
    """Drawings in a grid; wide ones below each other."""

    charts: tuple[Chart, ...]
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Gallery:
    """Pictures under a heading of their own, with what their colours mean."""

    pictures: tuple[Picture, ...]
    title: str = ""
    legends: tuple[tuple[tuple[Color, str], ...], ...] = ()


Block: TypeAlias = "Text | Table | Matrix | Note | Charts | Gallery"


@dataclass(frozen=True, slots=True)
class Section:
    """One heading with what stands under it, and the terms that it uses."""

    title: str
    blocks: tuple[Block, ...]
    terms: tuple[str, ...] = ()


def shorten(table: Table, limit: int) -> tuple[Table, str]:
    """Cut a table to the rows of least worth, and say so; a short one stays as it is."""
    if len(table.rows) <= limit:
        return table, ""
    if not table.worth:
        kept = replace(table, rows=table.rows[:limit])
        return kept, f"The first {limit:,} of {len(table.rows):,} rows are shown."
    paired = sorted(zip(table.worth, table.rows, strict=True), key=lambda pair: _rank(pair[0]))
    kept = replace(table, rows=tuple(row for _, row in paired[:limit]), worth=())
    return kept, f"The worst {limit:,} of {len(table.rows):,} rows are shown, worst first."


def _rank(worth: float | None) -> tuple[bool, float]:
    """Put the unknown last."""
    return worth is None, worth or 0.0
