"""Pieces of HTML the report page is made of; they escape what they are given."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from flows.report.words import percent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from flows.report.png import Color


def table(heads: Sequence[str], rows: Sequence[str]) -> str:
    """Return a table that becomes a stack of cards on a narrow screen; rows hold cells as HTML."""
    first, *others = heads
    head = f'<th scope="col" class="name">{escape(first)}</th>'
    head += "".join(f'<th scope="col">{escape(name)}</th>' for name in others)
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f'<table class="wide stack"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def confusion_table(names: Sequence[str], confusion: Sequence[Sequence[int]]) -> str:
    """Return the confusion matrix, each row as shares of its true class."""
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    rows = [
        f'<tr><th class="name" scope="row">{escape(names[truth])}</th>'
        + "".join(_share_cell(count, sum(row), truth == index) for index, count in enumerate(row))
        + "</tr>"
        for truth, row in enumerate(confusion)
    ]
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Confusion matrix">'
        '<table class="matrix"><thead><tr><th class="name">truth ↓ predicted as →</th>'
        f"{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _share_cell(count: int, whole: int, right: bool) -> str:
    share = count / whole if whole else 0.0
    kind = ' class="right strong"' if right else ' class="strong"' if share > 0.3 else ""
    text = escape(percent(share)) if whole else "–"
    return f'<td{kind} style="--share:{share:.3f}">{text}<small>{count:,}</small></td>'


def pairs_table(pairs: Sequence[tuple[str, str]]) -> str:
    """Return a table of names and what they stand for."""
    rows = (
        f'<tr><th class="name" scope="row">{escape(name)}</th>'
        f'<td class="text">{escape(text)}</td></tr>'
        for name, text in pairs
    )
    return f"<table>{''.join(rows)}</table>"


def class_name(entry: Mapping[str, Any], colors: Mapping[int, Color]) -> str:
    """Return the heading of a class's row: its colour, where it has one, and its name."""
    swatch = _swatch(colors[entry["value"]]) if entry["value"] in colors else ""
    label = f'<div class="label">{swatch}<span>{escape(entry["name"])}</span></div>'
    return f'<th class="name" scope="row">{label}</th>'


def legend(items: Sequence[tuple[Color, str]]) -> str:
    """Return colours with what they mean, or nothing for none."""
    entries = "".join(f"<li>{_swatch(color)}{escape(text)}</li>" for color, text in items)
    return f'<ul class="legend">{entries}</ul>' if items else ""


def _swatch(color: Color) -> str:
    red, green, blue = (int(part) for part in color)
    return f'<span class="swatch" style="background:rgb({red},{green},{blue})"></span>'


def bar(share: float) -> str:
    """Return a thin bar filled to a share between 0 and 1."""
    return f'<span class="bar"><i style="width:{100 * share:.1f}%"></i></span>'


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield nested values as dotted names and text."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{name}.")
        elif isinstance(value, list | tuple):
            yield f"{prefix}{name}", ", ".join(map(str, value))
        else:
            yield f"{prefix}{name}", "–" if value is None else str(value)
