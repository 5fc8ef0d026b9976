"""Sections on findings, the scores of each class, and what was taken for what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flows.report.classes import class_cell, named_score
from flows.report.document import Cell, Matrix, Note, Section, Table, Text
from flows.report.finding_notes import finding_note
from flows.report.intervals import beside, bounds, by_reason, interval_of, level
from flows.report.numbers import percent
from flows.report.words import SCORES, has_scores, score_text, top_confusions, unfinished, warnings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flows.report.document import Block
    from flows.report.png import Color

METHODS = {"t": "interval_t", "bootstrap": "interval_bootstrap"}
LARGEST_MATRIX = 16  # classes


def findings(result: Mapping[str, Any], colors: Mapping[int, Color]) -> Section | None:
    """Return what was found wrong, or the warnings of the result, or that there is nothing."""
    found = result.get("findings")
    notes = [finding_note(entry) for entry in found or ()]
    sentences = [unfinished(result)] if notes else warnings(result)
    notes = [Note("Warning", "", sentence) for sentence in sentences if sentence] + notes
    if notes:
        return Section("Findings", tuple(notes))
    if found is None:
        return None
    return Section("Findings", (Text("No finding."),))


def class_scores(result: Mapping[str, Any], colors: Mapping[int, Color]) -> Section | None:
    """Return every score of every class, with the intervals of the Dice."""
    if not has_scores(result):
        return None
    rows = [
        (
            class_cell(entry),
            _dice(result, entry),
            *[named_score(entry, name) for name, _ in SCORES[1:]],
            Cell(f"{entry['support']:,}"),
        )
        for entry in result["classes"]
    ]
    worth = tuple(entry["dice"] for entry in result["classes"])
    heads = ("Class", *[heading for _, heading in SCORES], "Support")
    remarks = [Text("The background is not part of the macro-foreground mean.", soft=True)]
    return Section(
        "Scores per class",
        (Table(heads, tuple(rows), worth=worth), *remarks, *_interval_remarks(result)),
        (*[name for name, _ in SCORES], "support", *_interval_terms(result)),
    )


def _dice(result: Mapping[str, Any], entry: Mapping[str, Any]) -> Cell:
    value = entry["dice"]
    if value is None:
        return Cell(score_text(entry, "dice"), undefined=True)
    note = beside(interval_of(result, "dice", entry["value"]), value)
    return Cell(score_text(entry, "dice"), note=note, share=value)


def _interval_remarks(result: Mapping[str, Any]) -> list[Block]:
    """Say how the intervals were made, and of which scores there is none."""
    intervals = result.get("intervals")
    if not intervals:
        return []
    scores = intervals.get("scores", ())
    lead = ""
    if any(bounds(entry) for entry in scores):
        lead = f"Under a Dice: its {level(intervals)} interval. "
    notes = by_reason((entry["name"], entry.get("note")) for entry in scores)
    return [Text(lead + intervals["note"], soft=True), *[Text(note, soft=True) for note in notes]]


def _interval_terms(result: Mapping[str, Any]) -> tuple[str, ...]:
    method = (result.get("intervals") or {}).get("method")
    return (METHODS[method],) if method in METHODS else ()


def shares(result: Mapping[str, Any], colors: Mapping[int, Color]) -> Section | None:
    """Return how much of the mask each class is, where there is no truth."""
    if has_scores(result):
        return None
    rows = tuple(
        (
            class_cell(entry),
            Cell(f"{entry['voxels']:,}"),
            Cell(percent(entry["share"]), share=entry["share"]),
        )
        for entry in result["shares"]
    )
    return Section("Shares per class", (Table(("Class", "Voxels", "Share"), rows),))


def confusion(result: Mapping[str, Any], colors: Mapping[int, Color]) -> Section | None:
    """Return the confusion matrix by rows, and its largest entries in words."""
    if not has_scores(result):
        return None
    blocks: list[Block] = [Text(sentence) for sentence in top_confusions(result)]
    counts, classes = result["confusion"], result["classes"]
    shown = _matrix_classes(classes)
    whole = "Each row adds up to 100 % of a class of the truth"
    if len(shown) < len(classes):
        left = len(classes) - len(shown)
        whole = f"Left out are {left} classes, absent or of a higher Dice; shares are of full rows"
    blocks.append(
        Matrix(
            tuple(classes[value]["name"] for value in shown),
            tuple(tuple(counts[truth][value] for value in shown) for truth in shown),
            tuple(sum(counts[truth]) for truth in shown),
        )
    )
    last = Text(f"{whole}; framed: right.", soft=True)
    return Section("What was taken for what", (*blocks, last))


def _matrix_classes(classes: Sequence[Mapping[str, Any]]) -> list[int]:
    """Return the classes of the table; of many those that are there and have the lowest Dice."""
    if len(classes) <= LARGEST_MATRIX:
        return list(range(len(classes)))
    known = [place for place, entry in enumerate(classes) if entry["dice"] is not None]
    worst = sorted(known, key=lambda place: float(classes[place]["dice"]))
    return sorted(worst[:LARGEST_MATRIX])
