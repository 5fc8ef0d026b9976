"""The report as Markdown, and its classes as rows, for the artifacts of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flows.report.contents import sections, terms
from flows.report.document import Matrix, Note, Table, Text, shorten
from flows.report.numbers import percent
from flows.report.safe import markdown_safe as safe
from flows.report.words import SCORES, has_scores, headline_note, score_text, trust

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from flows.report.document import Block, Cell, Section

LONGEST_TABLE = 20  # rows


def render_markdown(result: Mapping[str, Any], *, report_url: str | None = None) -> str:
    """Return what the report says as Markdown: everything but its pictures and drawings.

    Parameters
    ----------
    result : the content of result.json
    report_url : str, optional
        Path or URL of the full report.

    Returns
    -------
    str
        Of long tables the worst 20 rows, with a sentence that says so.
    """
    first, last = sections(result, {})
    parts = [_headline(result)]
    if report_url is not None:
        address = report_url.replace(" ", "%20").replace("<", "%3C").replace(">", "%3E")
        parts.append(f"[Full report](<{address}>)")
    for section in (*first, *last):
        parts += _section(section)
    meanings = terms(result, [*first, *last])
    if meanings:
        parts.append("## What the scores mean")
        parts.append("\n".join(f"- **{safe(a)}**: {safe(b)}" for a, b in meanings))
    return "\n\n".join(parts) + "\n"


def table_rows(result: Mapping[str, Any]) -> list[dict[str, str | int | float]]:
    """Return one row per class, for Prefect's `create_table_artifact`.

    Scores have four decimals; an undefined one is the text "undefined (reason)". Without truth the
    rows hold voxels and share of each class.
    """
    if not has_scores(result):
        return [
            {
                "value": entry["value"],
                "class": entry["name"],
                "voxels": entry["voxels"],
                "share": round(entry["share"], 4),
            }
            for entry in result["shares"]
        ]
    return [
        {
            "value": entry["value"],
            "class": entry["name"],
            **{heading: _number(entry, score) for score, heading in SCORES},
            "support": entry["support"],
        }
        for entry in result["classes"]
    ]


def _headline(result: Mapping[str, Any]) -> str:
    if not has_scores(result):
        return "**No truth was given:** these are shares of the mask, not scores."
    return (
        f"**Macro-foreground Dice {safe(score_text(result, 'macro_foreground_dice'))}** "
        f"({safe(headline_note(result))}); pooled Dice {safe(score_text(result, 'pooled_dice'))}."
        f"\n\n{safe(trust(result))}"
    )


def _section(section: Section) -> Iterator[str]:
    yield f"## {safe(section.title)}"
    for block in section.blocks:
        yield from _block(block)


def _block(block: Block) -> Iterator[str]:
    """Yield what can be said of a block without drawing it."""
    if isinstance(block, Text):
        yield safe(block.text)
    elif isinstance(block, Note):
        code = f" ({safe(block.code)})" if block.code else ""
        advice = f" {safe(block.advice)}" if block.advice else ""
        yield f"> **{safe(block.weight)}:** {safe(block.statement)}{code}{advice}"
    elif isinstance(block, Matrix):
        yield from _matrix(block)
    elif isinstance(block, Table):
        yield from _table(block)


def _matrix(matrix: Matrix) -> Iterator[str]:
    rows = [
        [name, *[percent(count / whole) if whole else "–" for count in counts]]
        for name, counts, whole in zip(matrix.names, matrix.counts, matrix.wholes, strict=True)
    ]
    yield _lines(["truth ↓ predicted as →", *matrix.names], rows, {0})


def _table(table: Table) -> Iterator[str]:
    """Yield caption, rows and what was cut; rows about classes begin with the value."""
    shown, remark = shorten(table, LONGEST_TABLE)
    valued = any(row[0].value is not None for row in shown.rows)
    rows = [[*([_value(row[0])] if valued else []), *map(_text, row)] for row in shown.rows]
    if shown.caption:
        yield safe(shown.caption)
    heads = [*(["Value"] if valued else []), *shown.heads]
    worded = {place for row in shown.rows for place, cell in enumerate(row) if cell.words}
    yield _lines(heads, rows, {place + valued for place in {0} | worded})
    if remark:
        yield remark


def _value(cell: Cell) -> str:
    return "" if cell.value is None else str(cell.value)


def _text(cell: Cell) -> str:
    return f"{cell.text} ({cell.note})" if cell.note else cell.text


def _lines(heads: Sequence[str], rows: Sequence[Sequence[str]], left: set[int]) -> str:
    """Return a Markdown table: columns of words to the left, the others to the right."""
    rules = ["---" if index in left else "---:" for index in range(len(heads))]
    lines = [[safe(head) for head in heads], rules, *[[safe(c) for c in row] for row in rows]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _number(entry: Mapping[str, Any], score: str) -> str | float:
    value = entry[score]
    return score_text(entry, score) if value is None else round(value, 4)
