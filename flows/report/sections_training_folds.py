"""Sections on folds: the scores of every network, and how far they lie apart."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from flows.report.classes import class_color, drawn, marks, score_cell, title
from flows.report.document import Cell, Charts, Section, Table, Text, chart
from flows.report.intervals import bounds, headline_interval, interval_of
from flows.report.numbers import counted, quantity, score_number
from flows.report.strips import Lane, strip_plot

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flows.report.document import Block
    from flows.report.png import Color

Row = dict[str, Any]


def fold_scores(result: Mapping[str, Any], colors: Mapping[int, Color]) -> Section:
    """Return the scores of every fold, their mean, their spread and the interval over groups."""
    classes, remark = drawn(result["out_of_fold"])
    blocks: list[Block] = [Text(sentence) for sentence in _summary(result)]
    blocks.append(_table(result["folds"], classes))
    blocks += [Text(remark, soft=True)] if remark else []
    blocks += _strips(result, classes, colors)
    return Section("Folds", tuple(blocks), ("dice", "macro", "median", "out_of_fold"))


def _summary(result: Mapping[str, Any]) -> list[str]:
    """Say mean, spread and interval, and which of them is for what."""
    spread, pooled = result.get("spread") or {}, result["out_of_fold"]
    known = [value for value in spread.get("per_fold") or () if value is not None]
    sentences = ["Every group was tested once, by the network of the fold that did not see it."]
    if known and spread.get("mean") is not None:
        words = f"Mean of the {counted(len(known), 'fold')}: {score_number(spread['mean'])}"
        if spread.get("sd") is not None:
            words += f", standard deviation {score_number(spread['sd'])}"
        lowest, highest = score_number(min(known)), score_number(max(known))
        sentences.append(f"{words}, from {lowest} to {highest}.")
    words = "The folds share training data, so their spread is no interval."
    sentences.append(f"{words} Over the groups: {headline_interval(pooled)}.")
    return sentences


def _table(folds: Sequence[Row], classes: Sequence[Row]) -> Table:
    rows = tuple(
        (
            Cell(f"fold {number}"),
            Cell(_epoch(fold)),
            score_cell(_macro(fold.get("validation"))),
            score_cell(_macro(fold.get("test"))),
            *[score_cell(_dice(fold, entry["value"]), "absent") for entry in classes],
            Cell(_seconds(fold)),
        )
        for number, fold in enumerate(folds)
    )
    names = [entry["name"] for entry in classes]
    heads = ("Fold", "Epoch kept", "Validation", "Test", *names, "Seconds")
    caption = "Macro-foreground Dice on both parts; Dice of every class on the test part"
    return Table(heads, rows, caption)


def _strips(
    result: Mapping[str, Any], classes: Sequence[Row], colors: Mapping[int, Color]
) -> list[Block]:
    pooled, folds = result["out_of_fold"], result["folds"]
    lanes = [
        Lane(
            title(entry),
            tuple(v for fold in folds if (v := _dice(fold, entry["value"])) is not None),
            number,
            bounds(interval_of(pooled, "dice", entry["value"])),
            class_color(entry["value"], colors),
        )
        for number, entry in zip(marks(classes), classes, strict=True)
    ]
    shown = [lane for lane in lanes if lane.values]
    if not shown:
        return []
    says = f"Test Dice of {counted(len(folds), 'fold')} by class: " + "; ".join(
        f"{lane.name} from {score_number(min(lane.values))} to {score_number(max(lane.values))}"
        for lane in shown
    )
    caption = "One mark per fold; upright stroke: median; bracket: interval over the groups."
    return [Charts((chart(partial(strip_plot, shown, says, "Dice"), caption),), wide=True)]


def _macro(scores: Row | None) -> float | None:
    value: float | None = (scores or {}).get("macro_foreground_dice")
    return value


def _dice(fold: Row, value: int) -> float | None:
    """Return the Dice of a class on the test part of a fold."""
    for entry in (fold.get("test") or {}).get("classes", ()):
        if entry["value"] == value:
            dice: float | None = entry["dice"]
            return dice
    return None


def _epoch(fold: Row) -> str:
    best = fold.get("best_epoch")
    return "–" if best is None else f"{best:,} of {len(fold.get('epochs') or ()):,}"


def _seconds(fold: Row) -> str:
    spent = (fold.get("seconds") or {}).get("train")
    return "–" if spent is None else quantity(spent)
