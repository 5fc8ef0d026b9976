"""The section on images and specimens: how scores spread over them, and which are worst."""

from __future__ import annotations

from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any

from flows.report.classes import (
    class_cell,
    class_color,
    dice_of,
    drawn,
    foreground,
    image_name,
    marks,
    score_cell,
    title,
)
from flows.report.document import Cell, Charts, Section, Table, Text, chart
from flows.report.intervals import bounds, interval_of
from flows.report.numbers import counted, low_high, score_number
from flows.report.strips import MOST_MARKS, Lane, strip_plot

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flows.report.document import Block
    from flows.report.png import Color

Row = dict[str, Any]
WORST = 5
SELECTION = (
    "These were chosen because they are low: the worst of {n} is expected to lie well below the "
    "middle, whatever the model."
)


def distribution(result: Mapping[str, Any], colors: Mapping[int, Color]) -> Section | None:
    """Return how the Dice of each class spreads over the images, and which images are worst."""
    rows: list[Row] = result.get("images") or []
    if not rows:
        return None
    classes, remark = drawn(result)
    blocks: list[Block] = [Text(sentence) for sentence in _unit(result)]
    if len(rows) == 1:
        blocks.append(Text("There is one image: no spread to show."))
    elif classes:
        blocks += [Text(remark)] if remark else []
        blocks += [_strips(result, rows, classes, colors), _summary(result, rows)]
        blocks += _thinned(rows)
    blocks += _worst_images(result, rows)
    blocks += _specimens(result)
    terms = ("dice", "macro", "median") if len(rows) > 1 else ()
    return Section("Images and specimens", tuple(blocks), terms)


def _unit(result: Mapping[str, Any]) -> list[str]:
    """Say what the unit of resampling is."""
    intervals = result.get("intervals")
    if not intervals:
        return []
    groups = counted(intervals["groups"], intervals["unit"])
    return [f"The independent unit is the {intervals['unit']}: {groups}. {intervals['note']}"]


def _strips(
    result: Mapping[str, Any],
    rows: Sequence[Row],
    classes: Sequence[Row],
    colors: Mapping[int, Color],
) -> Charts:
    lanes = [
        Lane(
            title(entry),
            tuple(_defined(rows, entry["value"])),
            number,
            bounds(interval_of(result, "dice", entry["value"])),
            class_color(entry["value"], colors),
        )
        for number, entry in zip(marks(classes), classes, strict=True)
    ]
    says = f"Dice of each of {len(rows)} images by class: " + "; ".join(
        f"{lane.name}, median {score_number(median(lane.values))}" for lane in lanes if lane.values
    )
    caption = "One mark per image; upright stroke: median; bracket: interval."
    return Charts((chart(partial(strip_plot, lanes, says, "Dice"), caption),), wide=True)


def _thinned(rows: Sequence[Row]) -> list[Block]:
    if len(rows) <= MOST_MARKS:
        return []
    return [
        Text(
            f"Of {len(rows):,} images {MOST_MARKS} evenly spread quantiles are drawn in each "
            "lane, the lowest and the highest among them.",
            soft=True,
        )
    ]


def _defined(rows: Sequence[Row], value: int) -> list[float]:
    return [dice for row in rows if (dice := dice_of(row, value)) is not None]


def _summary(result: Mapping[str, Any], rows: Sequence[Row]) -> Table:
    """Return lowest, middle and highest Dice of each class."""
    cells = []
    for entry in foreground(result):
        values = _defined(rows, entry["value"])
        numbers = [median(values), min(values), max(values)] if values else [None] * 3
        ends = bounds(interval_of(result, "dice", entry["value"]))
        cells.append(
            (
                class_cell(entry),
                *[score_cell(number, "in no image") for number in numbers],
                Cell(low_high(*ends) if ends else "–"),
                Cell(f"{len(values):,}"),
                Cell(f"{len(rows) - len(values):,}"),
            )
        )
    heads = ("Dice per image", "Median", "Lowest", "Highest", "Interval", "Defined", "Undefined")
    return Table(heads, tuple(cells))


def _worst_images(result: Mapping[str, Any], rows: Sequence[Row]) -> list[Block]:
    """Name the images of the lowest macro-foreground Dice."""
    scored = [row for row in rows if row["macro_foreground_dice"] is not None]
    if len(scored) < 2:
        return []
    worst = sorted(scored, key=lambda row: float(row["macro_foreground_dice"]))[:WORST]
    cells = tuple(
        (
            Cell(image_name(row)),
            Cell(str(row["group"]), words=True),
            Cell(score_number(row["macro_foreground_dice"])),
            _lowest_class(result, row),
        )
        for row in worst
    )
    heads = ("Image", "Specimen", "Macro-foreground Dice", "Lowest class")
    table = Table(heads, cells, f"The {len(worst)} lowest of {len(scored):,} images")
    return [table, Text(SELECTION.format(n=f"{len(scored):,}"), soft=True)]


def _lowest_class(result: Mapping[str, Any], row: Row) -> Cell:
    scored = [
        (dice, entry["name"])
        for entry in foreground(result)
        if (dice := dice_of(row, entry["value"])) is not None
    ]
    dice, name = min(scored, default=(0.0, ""))
    return Cell(f"{name}: {score_number(dice)}" if scored else "–", words=True)


def _specimens(result: Mapping[str, Any]) -> list[Block]:
    """Return one row per specimen, where a specimen is more than an image."""
    groups: list[Row] = result.get("groups") or []
    if len(groups) < 2 or all(row["images"] == 1 for row in groups):
        return []
    cells = tuple(
        (
            Cell(str(row["group"])),
            Cell(f"{row['images']:,}"),
            score_cell(row["macro_foreground_dice"], "no foreground"),
            *[score_cell(dice_of(row, e["value"]), "absent") for e in drawn(result)[0]],
        )
        for row in groups
    )
    names = [f"{entry['name']}, Dice" for entry in drawn(result)[0]]
    heads = ("Specimen", "Images", "Macro-foreground Dice", *names)
    worth = tuple(row["macro_foreground_dice"] for row in groups)
    return [Table(heads, cells, "Specimens", worth=worth)]
