"""Sections of the page of a classification."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flows.report.classes import class_color
from flows.report.classification_text import (
    SCORES,
    class_rows,
    interval_text,
    is_scored,
    value_text,
)
from flows.report.document import Cell, Chart, Charts, Gallery, Matrix, Section, Table, Text
from flows.report.intervals import level
from flows.report.numbers import percent, score_number
from flows.report.reliability import reliability_diagram
from flows.report.roc import roc_curve

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flows.report.document import Block
    from flows.report.png import Color, Picture


def totals(result: Mapping[str, Any]) -> Section | None:
    """Return the scores of all samples with their intervals."""
    if not is_scored(result):
        return None
    rows = tuple(
        (
            Cell(name),
            Cell(value_text(result[key]), undefined=result[key]["value"] is None),
            Cell(interval_text(result[key]) or "–"),
            Cell(result[key]["method"] or "none", words=True),
        )
        for key, name in SCORES
        if key in result
    )
    heads = ("Score", "Value", f"{level(result)} interval", "Method")
    return Section("Scores", (Table(heads, rows),))


def class_scores(result: Mapping[str, Any]) -> Section:
    """Return precision, recall and counts of every class, or how often it was predicted."""
    heads, rows = class_rows(result)
    cells = tuple(
        (Cell(name, value=entry["value"]), *map(Cell, others))
        for (name, *others), entry in zip(rows, result["classes"], strict=True)
    )
    named = tuple(head.capitalize() for head in heads)
    return Section("Classes", (Table(named, cells),))


def confusion(result: Mapping[str, Any]) -> Section | None:
    """Return what was taken for what."""
    if not is_scored(result):
        return None
    names = tuple(entry["name"] for entry in result["classes"])
    counts = tuple(tuple(row) for row in result["confusion"])
    wholes = tuple(sum(row) for row in counts)
    remark = Text("Each row adds up to 100 % of a class of the truth; framed: right.", soft=True)
    return Section("What was taken for what", (Matrix(names, counts, wholes), remark))


def probabilities(
    result: Mapping[str, Any], colors: Mapping[int, Color], roc: Sequence[tuple[float, float]]
) -> Section | None:
    """Return how well probabilities rank, and whether they mean what they say."""
    if not is_scored(result):
        return None
    color = class_color(1, colors)
    found = result["calibration"]
    of = result["classes"][1]["name"] if len(found["of"]) == 1 else "every class against the rest"
    drawings = []
    if roc:
        says = f"ROC curve of {of}, area {value_text(result['auroc'])}"
        drawings.append(Chart(roc_curve(roc, says, color=color), caption=f"ROC, {of}"))
    says = f"Reliability diagram of {of}, ECE {score_number(found['ece'])}"
    diagram = reliability_diagram(found["bins"], says, number=0, color=color)
    drawings.append(Chart(diagram, caption=f"Reliability, {of}"))
    lead = Text(
        f"ECE {score_number(found['ece'])}; the largest gap of a bin is "
        f"{score_number(found['largest'])}."
    )
    return Section("Probabilities", (lead, Charts(tuple(drawings)), _bins(found)))


def mistakes(result: Mapping[str, Any], pictures: Sequence[Picture]) -> Section | None:
    """Return the worst mistakes, as rows and as pictures."""
    errors = result.get("errors")
    if not errors:
        return None
    wrong = result["scored"] - sum(row[value] for value, row in enumerate(result["confusion"]))
    names = [entry["name"] for entry in result["classes"]]
    rows = tuple(
        (
            Cell(entry["id"]),
            Cell(names[entry["label"]], words=True),
            Cell(names[entry["prediction"]], words=True),
            Cell(percent(entry["p_true"])),
            Cell(percent(entry["p_prediction"])),
        )
        for entry in errors
    )
    heads = ("Sample", "Truth", "Prediction", "p of the truth", "p of the prediction")
    lead = (
        f"{wrong:,} of {result['scored']:,} samples are wrong; here the {len(rows)} that are "
        "most surely so. Look at them first: some may be wrong in the truth."
    )
    blocks: list[Block] = [Text(lead), Table(heads, rows)]
    if pictures:
        blocks.append(Gallery(tuple(pictures)))
    return Section("Mistakes", tuple(blocks))


def unreadable(result: Mapping[str, Any]) -> Section | None:
    """Return the images that have no prediction, and why."""
    if not result["unreadable"]:
        return None
    rows = tuple((Cell(one["id"]), Cell(one["reason"], words=True)) for one in result["unreadable"])
    return Section("Not read", (Table(("Image", "Reason"), rows),))


def _bins(found: Mapping[str, Any]) -> Table:
    rows = tuple(
        (
            Cell(f"{one['low']:.3f}–{one['high']:.3f}"),
            Cell(percent(one["mean_probability"])),
            Cell(percent(one["observed"])),
            Cell(f"{one['count']:,}"),
        )
        for one in found["bins"]
    )
    heads = ("Probability", "Mean probability", "Observed share", "Samples")
    return Table(heads, rows, "Reliability in numbers", folded=True)
