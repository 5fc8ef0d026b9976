"""The per-class table as Markdown, and as rows, for the artifacts of a run."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from flows.report.words import (
    SCORES,
    has_scores,
    headline_note,
    percent,
    score_text,
    warnings,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def render_markdown(result: Mapping[str, Any], *, report_url: str | None = None) -> str:
    """Return headline, warnings, per-class table and the link to the report as Markdown.

    Parameters
    ----------
    result : the content of result.json
    report_url : str, optional
        Path or URL of the full report.
    """
    parts = _scored(result) if has_scores(result) else _shares(result)
    if report_url is not None:
        address = report_url.replace(" ", "%20").replace("<", "%3C").replace(">", "%3E")
        parts.append(f"[Full report](<{address}>)")
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
            **{heading: _cell(entry, score) for score, heading in SCORES},
            "support": entry["support"],
        }
        for entry in result["classes"]
    ]


def _scored(result: Mapping[str, Any]) -> list[str]:
    headline = (
        f"**Macro-foreground Dice {score_text(result, 'macro_foreground_dice')}** "
        f"({headline_note(result)}); pooled Dice {score_text(result, 'pooled_dice')}."
    )
    rows = [
        [
            str(entry["value"]),
            entry["name"],
            *[score_text(entry, score) for score, _ in SCORES],
            f"{entry['support']:,}",
        ]
        for entry in result["classes"]
    ]
    heads = ["Value", "Class", *[heading for _, heading in SCORES], "Support"]
    notes = [f"> **Warning:** {escape(sentence)}" for sentence in warnings(result)]
    return [headline, *notes, _table(heads, rows)]


def _shares(result: Mapping[str, Any]) -> list[str]:
    rows = [
        [str(entry["value"]), entry["name"], f"{entry['voxels']:,}", percent(entry["share"])]
        for entry in result["shares"]
    ]
    notes = [f"> **Warning:** {escape(sentence)}" for sentence in warnings(result)]
    headline = "**No truth was given:** these are shares of the mask, not scores."
    return [headline, *notes, _table(["Value", "Class", "Voxels", "Share"], rows)]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table: second column left, the others right."""
    rules = ["---" if index == 1 else "---:" for index in range(len(heads))]
    lines = [heads, rules, *[[escape(cell) for cell in row] for row in rows]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def escape(text: str) -> str:
    """Return text in which Markdown and HTML find nothing to interpret, on one line."""
    one_line = " ".join(text.split())
    marked = re.sub(r"([\\`*_\[\]|~#!])", r"\\\1", one_line)
    return marked.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _cell(entry: Mapping[str, Any], score: str) -> str | float:
    value = entry[score]
    return score_text(entry, score) if value is None else round(value, 4)
