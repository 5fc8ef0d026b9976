"""The section on the scores plane by plane: where along an axis the masks are wrong."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

from flows.report.binning import bin_width, thin
from flows.report.classes import (
    class_color,
    dice_of,
    drawn,
    image_axes,
    marks,
    title,
    volume_names,
)
from flows.report.document import Chart, Charts, Section, Text, chart
from flows.report.lines import Series, line_chart
from flows.report.numbers import score_number
from flows.report.worst_places import worst_places

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flows.report.document import Block
    from flows.report.png import Color

Row = dict[str, Any]
MOST_POINTS = 120  # along a line
MOST_VOLUMES = 6


def along_axis(result: Mapping[str, Any], colors: Mapping[int, Color]) -> Section | None:
    """Return the Dice of each class plane by plane, and the lowest planes."""
    slices = result.get("slices")
    if not slices or not slices["rows"] or set(slices["axis"]).isdisjoint(image_axes(result)):
        return None  # planes that are images stand among the images, and no line joins them
    axis, heading = slices["axis"], f"Scores along {slices['axis']}"
    volumes = _by_volume(slices["rows"], volume_names(result))
    if all(len(rows) == 1 for rows in volumes.values()):
        return Section(heading, (Text("Every volume is a single plane: no line to draw."),))
    classes, remark = drawn(result)
    shown = _lowest_volumes(volumes)
    blocks: list[Block] = [Text(remark)] if remark else []
    if len(shown) < len(volumes):
        blocks.append(Text(f"Of {len(volumes):,} volumes the {len(shown)} lowest are drawn."))
    width = max(bin_width([row["index"] for row in volumes[name]], MOST_POINTS) for name in shown)
    blocks += [_binned(width, axis)] if width > 1 else []
    for name in shown:
        series = _series(volumes[name], classes, colors, width)
        blocks.append(_charts(series, name if len(volumes) > 1 else "", axis, apart=width > 1))
    places = [
        (f"{name}, {axis} {row['index']}" if len(volumes) > 1 else f"{axis} {row['index']}", row)
        for name, rows in volumes.items()
        for row in rows
    ]
    lowest = worst_places(result, places, "Plane", "planes")
    return Section(heading, (*blocks, *lowest), ("dice", "macro"))


def _by_volume(rows: Sequence[Row], names: Sequence[str]) -> dict[str, list[Row]]:
    """Return the planes of each volume, by its name, or by its number where that is not unique."""
    by_number: dict[int, list[Row]] = {}
    for row in rows:
        by_number.setdefault(row["image"], []).append(row)
    unique = len(set(names)) == len(names)
    return {
        names[number] if unique and number < len(names) else f"volume {number}": planes
        for number, planes in by_number.items()
    }


def _binned(width: int, axis: str) -> Text:
    return Text(
        f"Each point stands for {width} neighbouring planes along {axis}: their mean; the upright "
        "strokes run from the lowest to the highest of them."
    )


def _lowest_volumes(volumes: Mapping[str, Sequence[Row]]) -> list[str]:
    """Return the volumes to draw: of many those of the lowest mean, in their order."""

    def mean(name: str) -> float:
        scores = [row["macro_foreground_dice"] for row in volumes[name]]
        known = [score for score in scores if score is not None]
        return sum(known) / len(known) if known else math.inf

    chosen = set(sorted(volumes, key=mean)[:MOST_VOLUMES])
    return [name for name in volumes if name in chosen]


def _series(
    rows: Sequence[Row], classes: Sequence[Row], colors: Mapping[int, Color], width: int
) -> list[Series]:
    return [
        Series(
            title(entry),
            thin({row["index"]: dice_of(row, entry["value"]) for row in rows}, width),
            number,
            class_color(entry["value"], colors),
        )
        for number, entry in zip(marks(classes), classes, strict=True)
    ]


def _charts(series: Sequence[Series], name: str, axis: str, *, apart: bool) -> Charts:
    """Draw all classes in one chart, or one each where their points have ranges."""
    groups = [[line] for line in series] if apart else [series]
    letters = max((len(line.name) for line in series), default=0)
    return Charts(tuple(_chart(group, name, axis, letters) for group in groups), wide=True)


def _chart(series: Sequence[Series], name: str, axis: str, letters: int) -> Chart:
    of = f" of {name}" if name else ""
    says = f"Dice along {axis}{of}: {'; '.join(map(_range, series))}"
    draw = partial(line_chart, series, says, (axis, "Dice"), whole=True, letters=letters)
    return chart(draw, name)


def _range(line: Series) -> str:
    """Say from where to where a line runs."""
    lows = [p.y if p.low is None else p.low for p in line.points if p.y is not None]
    highs = [p.y if p.high is None else p.high for p in line.points if p.y is not None]
    if not lows:
        return f"{line.name}, undefined"
    return f"{line.name} from {score_number(min(lows))} to {score_number(max(highs))}"
