"""The per-class table for a terminal, and as plain text where there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from flows.report.intervals import headline_interval
from flows.report.numbers import measured, percent, probability, score_number, signed, unit_symbol
from flows.report.safe import one_line
from flows.report.sections_precision import precision_text
from flows.report.sections_skipping import skipping_text
from flows.report.words import SCORES, has_scores, headline_note, score_text, warnings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def score_table(result: Mapping[str, Any]) -> Table:
    """Return the classes of a result as a table that rich can print.

    Undefined scores are a dash; the reasons stand in the caption, with headline and warnings.
    """
    heads, rows = _cells(result)
    table = Table(caption=Text("\n".join(_notes(result))), caption_justify="left")
    for index, head in enumerate(heads):
        table.add_column(head, justify="left" if index == 1 else "right", no_wrap=index != 1)
    for row in rows:
        table.add_row(*[Text(cell) for cell in row])
    return table


def plain_text(result: Mapping[str, Any]) -> str:
    """Return the same table as aligned lines of plain text, ending in a newline."""
    heads, rows = _cells(result)
    columns = list(zip(heads, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    lines = [
        "  ".join(
            cell.ljust(width) if index == 1 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in [heads, *rows]
    ]
    return "\n".join([*lines, *_notes(result)]) + "\n"


def _cells(result: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return headings and rows as text."""
    if not has_scores(result):
        rows = [
            [
                str(entry["value"]),
                one_line(entry["name"]),
                f"{entry['voxels']:,}",
                percent(entry["share"]),
            ]
            for entry in result["shares"]
        ]
        return ["value", "class", "voxels", "share"], rows
    rows = [
        [
            str(entry["value"]),
            one_line(entry["name"]),
            *["–" if entry[name] is None else score_number(entry[name]) for name, _ in SCORES],
            f"{entry['support']:,}",
        ]
        for entry in result["classes"]
    ]
    return ["value", "class", *[heading for _, heading in SCORES], "support"], rows


def _notes(result: Mapping[str, Any]) -> list[str]:
    """Return headline, reasons of undefined scores and warnings, a line each."""
    if not has_scores(result):
        first = ["No truth was given: these are shares of the mask, not scores."]
        first += filter(None, [precision_text(result)])
        first += map(one_line, _skipping(result))
        return first + [f"Warning: {sentence}" for sentence in warnings(result)]
    headline = (
        f"macro-foreground Dice {score_text(result, 'macro_foreground_dice')} "
        f"({headline_note(result)}); pooled Dice {score_text(result, 'pooled_dice')}"
    )
    reasons = [
        f"– {one_line(entry['name'])}, {score}: {reason}"
        for entry in result["classes"]
        for reason, score in _by_reason(entry).items()
    ]
    more = [_interval(result), *_instances(result), *_surface(result), *_comparison(result)]
    more.append(precision_text(result))
    more += _skipping(result)
    notes = [*filter(None, more), *[f"Warning: {text}" for text in warnings(result)]]
    return [headline, *reasons, *map(one_line, notes)]


def _interval(result: Mapping[str, Any]) -> str:
    return headline_interval(result) if result.get("intervals") else ""


def _instances(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield AP at an IoU of 0.5 and PQ, class by class, in a line."""
    parts = []
    for entry in (result.get("instances") or {}).get("classes", ()):
        half = [m["average_precision"] for m in entry["matches"] if m["threshold"] == 0.5]
        found = _score(half[0] if half else None)
        parts.append(f"{entry['name']} AP@0.5 {found}, PQ {_score(entry['pq'])}")
    if parts:
        yield f"objects: {'; '.join(parts)}"


def _surface(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield the surface Dice at the first tolerance, class by class, in a line."""
    found = result.get("surface")
    if found and found["tolerances"]:
        within = measured(found["tolerances"][0], unit_symbol(found.get("unit")))
        parts = [f"{e['name']} {_score(e['nsd'][0])}" for e in found["classes"]]
        yield f"surface: NSD within {within}: {'; '.join(parts)}"


def _skipping(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield what was not computed, in a line."""
    if result.get("skipping"):
        yield f"empty blocks: {skipping_text(result['skipping'])}"


def _comparison(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield the difference of the headline of two masks, and its p."""
    found = result.get("comparison")
    entry = next(iter((found or {}).get("scores", ())), None)
    if found and entry:
        names = f"{found['first']} − {found['second']}"
        difference, p = entry["difference"], entry["p"]
        size = "undefined" if difference is None else signed(difference)
        chance = "no test" if p is None else f"p {probability(p)}"
        yield f"comparison: {entry['name']}, {names}: {size}, {chance}"


def _score(value: float | None) -> str:
    return "–" if value is None else score_number(value)


def _by_reason(entry: Mapping[str, Any]) -> dict[str, str]:
    """Return the headings of a class's undefined scores, joined, by their reason."""
    grouped: dict[str, list[str]] = {}
    for name, heading in SCORES:
        if entry[name] is None:
            grouped.setdefault(entry["undefined"].get(name, "not computed"), []).append(heading)
    return {reason: " and ".join(headings) for reason, headings in grouped.items()}
