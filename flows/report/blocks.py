"""The blocks of a document as HTML; everything from outside is escaped here."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from flows.report.document import Charts, Gallery, Matrix, Note, Section, Table, Text, shorten
from flows.report.numbers import percent
from flows.report.png import data_uri
from flows.report.safe import breakable, html_safe

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from flows.report.document import Block, Cell, Chart
    from flows.report.png import Color, Picture

LONGEST_TABLE = 50  # rows on the page
TEXT = ' class="text"'


def render_section(section: Section, colors: Mapping[int, Color]) -> str:
    """Return a section with its heading, which the contents can point at."""
    blocks = "\n".join(_render(block, colors) for block in section.blocks)
    heading = f'<h2 id="{anchor(section.title)}">{html_safe(section.title)}</h2>'
    return f"<section>{heading}\n{blocks}</section>"


def anchor(title: str) -> str:
    """Return the name by which a heading is linked."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def _render(block: Block, colors: Mapping[int, Color]) -> str:
    if isinstance(block, Text):
        kind = ' class="soft"' if block.soft else ""
        return f"<p{kind}>{html_safe(block.text)}</p>"
    if isinstance(block, Table):
        return _table(block, colors)
    if isinstance(block, Matrix):
        return _matrix(block)
    if isinstance(block, Note):
        return _note(block, colors)
    if isinstance(block, Charts):
        return _charts(block)
    return _gallery(block)


def _table(table: Table, colors: Mapping[int, Color]) -> str:
    """Return a table that becomes a stack of cards on a narrow screen."""
    shown, remark = shorten(table, LONGEST_TABLE)
    first, *others = shown.heads
    head = f'<th scope="col" class="name">{breakable(first)}</th>'
    for place, name in enumerate(others, 1):
        words = any(row[place].words for row in shown.rows)
        head += f'<th scope="col"{TEXT if words else ""}>{breakable(name)}</th>'
    body = "".join(f"<tr>{_row(row, others, colors)}</tr>" for row in shown.rows)
    caption = f"<caption>{html_safe(shown.caption)}</caption>" if shown.caption else ""
    markup = (
        f'<table class="wide stack">{caption}<thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table>"
    )
    if remark:
        markup += f'<p class="soft">{remark}</p>'
    if not table.folded:
        return markup
    return f"<details><summary>{html_safe(table.caption)}</summary>{markup}</details>"


def _row(row: Sequence[Cell], heads: Sequence[str], colors: Mapping[int, Color]) -> str:
    first, *others = row
    note = f"<small>{html_safe(first.note)}</small>" if first.note else ""
    color = None if first.value is None else colors.get(first.value)
    mark = "" if color is None else swatch(color)
    label = f'<div class="label">{mark}<span>{breakable(first.text)}{note}</span></div>'
    cells = "".join(_cell(cell, head) for head, cell in zip(heads, others, strict=True))
    return f'<th class="name" scope="row">{label}</th>{cells}'


def _cell(cell: Cell, head: str) -> str:
    text = html_safe(cell.text)
    if cell.undefined:
        inner = f'<span class="undefined">{text}</span>'
    else:
        note = f"<small>{html_safe(cell.note)}</small>" if cell.note else ""
        inner = f"<span>{text}{'' if cell.share is None else _bar(cell.share)}{note}</span>"
    return f'<td{TEXT if cell.words else ""} data-label="{html_safe(head)}">{inner}</td>'


def _bar(share: float) -> str:
    """Return a thin bar filled to a share between 0 and 1."""
    return f'<span class="bar"><i style="width:{100 * share:.1f}%"></i></span>'


def _matrix(matrix: Matrix) -> str:
    """Return the confusion matrix, each row as shares of its true class."""
    heads = "".join(f'<th scope="col">{breakable(name)}</th>' for name in matrix.names)
    rows = [
        f'<tr><th class="name" scope="row">{breakable(matrix.names[truth])}</th>'
        + "".join(_share(count, whole, truth == index) for index, count in enumerate(row))
        + "</tr>"
        for truth, (row, whole) in enumerate(zip(matrix.counts, matrix.wholes, strict=True))
    ]
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Confusion matrix">'
        '<table class="matrix"><thead><tr><th class="name" scope="col">truth ↓ predicted as →</th>'
        f"{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _share(count: int, whole: int, right: bool) -> str:
    share = count / whole if whole else 0.0
    kind = ' class="right strong"' if right else ' class="strong"' if share > 0.3 else ""
    text = html_safe(percent(share)) if whole else "–"
    return f'<td{kind} style="--share:{share:.3f}">{text}<small>{count:,}</small></td>'


def _note(note: Note, colors: Mapping[int, Color]) -> str:
    kind = "finding" if note.weight == "Note" else "finding warning"
    code = f"<code>{html_safe(note.code)}</code>" if note.code else ""
    advice = f"<p>{_with_code(note.advice)}</p>" if note.advice else ""
    head = f"<p><b>{symbol(note.weight)} {html_safe(note.weight)}.</b> {_with_code(note.statement)}"
    return f'<div class="{kind}">{head} {code}</p>{advice}{_behind(note, colors)}</div>'


def _behind(note: Note, colors: Mapping[int, Color]) -> str:
    """Return what stands behind a finding, to be opened; nothing where nothing is known."""
    named = (("Rule", note.rule), ("What this does not prove", note.proves_not))
    parts = [f"<p><b>{name}.</b> {_with_code(text)}</p>" for name, text in named if text]
    parts += [_render(block, colors) for block in note.evidence]
    state = " open" if note.opened else ""
    return f"<details{state}><summary>Evidence</summary>{''.join(parts)}</details>" if parts else ""


def _with_code(text: str) -> str:
    """Return escaped text in which what stands between backticks is set as code."""
    return re.sub(r"`([^`]+)`", r"<kbd>\1</kbd>", html_safe(text))


def symbol(weight: str) -> str:
    """Return a sign for the weight of a finding, told apart by its shape."""
    return {"Error": "✖", "Warning": "▲", "Note": "●"}.get(weight, "◆")


def _charts(charts: Charts) -> str:
    figures = "".join(_chart(chart) for chart in charts.charts)
    return figures if charts.wide else f'<div class="charts">{figures}</div>'


def _chart(chart: Chart) -> str:
    caption = f"<figcaption>{html_safe(chart.caption)}</figcaption>" if chart.caption else ""
    if not chart.narrow:
        return f'<figure class="chart">{caption}{chart.wide}</figure>'
    return (
        f'<figure class="chart">{caption}<div class="for-wide">{chart.wide}</div>'
        f'<div class="for-narrow">{chart.narrow}</div></figure>'
    )


def _gallery(gallery: Gallery) -> str:
    heading = f"<h3>{html_safe(gallery.title)}</h3>" if gallery.title else ""
    legends = "".join(_legend(items) for items in gallery.legends)
    return heading + legends + "".join(_picture(picture) for picture in gallery.pictures)


def _legend(items: Sequence[tuple[Color, str]]) -> str:
    """Return colours with what they mean, or nothing for none."""
    entries = "".join(f"<li>{swatch(color)}{html_safe(text)}</li>" for color, text in items)
    return f'<ul class="legend">{entries}</ul>' if items else ""


def _picture(picture: Picture) -> str:
    caption = html_safe(picture.caption)
    panels = "".join(
        f'<div><span>{html_safe(name)}</span><img alt="{html_safe(name)}, {caption}" '
        f'src="{data_uri(png)}"></div>'
        for name, png in picture.panels
    )
    return f'<figure><figcaption>{caption}</figcaption><div class="panels">{panels}</div></figure>'


def swatch(color: Color) -> str:
    """Return a small square of a colour."""
    red, green, blue = (int(part) for part in color)
    return f'<span class="swatch" style="background:rgb({red},{green},{blue})"></span>'


def pairs_table(pairs: Sequence[tuple[str, str]]) -> str:
    """Return a table of names and what they stand for."""
    rows = (
        f'<tr><th class="name" scope="row">{breakable(name)}</th>'
        f'<td class="text">{html_safe(text)}</td></tr>'
        for name, text in pairs
    )
    return f"<table>{''.join(rows)}</table>"


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield nested values as dotted names and text."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{name}.")
        elif isinstance(value, list | tuple):
            yield f"{prefix}{name}", ", ".join(map(str, value))
        else:
            yield f"{prefix}{name}", "–" if value is None else str(value)
