"""The section on the grid of shards: where in the plane the masks are wrong."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from flows.report.binning import coarsen
from flows.report.classes import dice_of, drawn, title
from flows.report.document import Chart, Charts, Section, Text
from flows.report.heat_map import color_scale, heat_map
from flows.report.numbers import score_number
from flows.report.worst_places import worst_places

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flows.report.document import Block
    from flows.report.png import Color

Grid = list[list[float | None]]
HEADING = "Scores on the grid of shards"
LONGEST_SIDE = 32  # cells of a map


def on_map(result: Mapping[str, Any], colors: Mapping[int, Color]) -> Section | None:
    """Return the Dice on the grid of shards, summed over the axis across it."""
    places = result.get("map")
    if not places or not places["rows"]:
        return None
    if math.prod(places["shape"]) == 1:
        return Section(HEADING, (Text("One shard covers the plane: there is no map to draw."),))
    classes, remark = drawn(result)
    grids = {"All foreground classes": _grid(places, None)}
    grids |= {title(entry): _grid(places, entry["value"]) for entry in classes}
    blocks: list[Block] = [Text(remark)] if remark else []
    blocks += _maps(grids, places["axes"])
    y_axis, x_axis = places["axes"][-2:]
    named = [(f"{y_axis} {r['place'][0]}, {x_axis} {r['place'][1]}", r) for r in places["rows"]]
    lowest = worst_places(result, named, "Place", "places")
    return Section(HEADING, (*blocks, *lowest), ("dice", "macro"))


def _grid(places: Mapping[str, Any], value: int | None) -> Grid:
    """Return the Dice of a class, or the macro-foreground Dice, by row and column."""
    height, width = places["shape"]
    grid: Grid = [[None] * width for _ in range(height)]
    for row in places["rows"]:
        y, x = row["place"]
        grid[y][x] = row["macro_foreground_dice"] if value is None else dice_of(row, value)
    return grid


def _maps(grids: Mapping[str, Grid], axes: str) -> list[Block]:
    """Draw every grid with the same colours, and say how to read them."""
    known = [value for grid in grids.values() for value in _known(grid)]
    if not known:
        return []
    scale = _scale(known)
    charts, step = [], 1
    for name, grid in grids.items():
        cells, step = coarsen(grid, LONGEST_SIDE)
        drawing = heat_map(cells, scale, _says(name, grid, axes), step)
        charts.append(Chart(drawing, caption=name))
    lead = f"Rows count shards along {axes[-2]}, columns along {axes[-1]}. Struck through: no Dice."
    if step > 1:
        lead += f" Each cell stands for {step} × {step} places and shows the lowest of them."
    return [Text(lead), Charts((Chart(color_scale(scale)),)), Charts(tuple(charts))]


def _known(grid: Grid) -> list[float]:
    return [value for row in grid for value in row if value is not None]


def _scale(values: Sequence[float]) -> tuple[float, float]:
    """Return the whole tenths around the values."""
    low, high = math.floor(10 * min(values)), math.ceil(10 * max(values))
    if low == high:
        low = max(0, low - 1)
    return low / 10, max(high, low + 1) / 10


def _says(name: str, grid: Grid, axes: str) -> str:
    size = f"{len(grid)} rows and {len(grid[0])} columns"
    known = [(v, y, x) for y, row in enumerate(grid) for x, v in enumerate(row) if v is not None]
    if not known:
        return f"Map of the Dice, {name}, {size}: undefined everywhere"
    value, y, x = min(known)
    return (
        f"Map of the Dice, {name}, {size}: from {score_number(value)} at {axes[-2]} {y}, "
        f"{axes[-1]} {x} to {score_number(max(known)[0])}"
    )
