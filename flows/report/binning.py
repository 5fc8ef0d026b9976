"""Long rows of scores thinned out to what can be drawn, without hiding the worst."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flows.report.lines import Point

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def bin_width(indices: Sequence[int], limit: int) -> int:
    """Return how many neighbouring indices have to share a point for at most `limit` points."""
    return -(-(max(indices) - min(indices) + 1) // limit) if indices else 1


def thin(values: Mapping[int, float | None], width: int) -> tuple[Point, ...]:
    """Return a point per `width` neighbouring indices: mean, lowest and highest defined value.

    Points without a defined value, and indices that are not there, are undefined; so that a line
    through the points has a gap. Of a width of 1 a point is the value itself, without a range.
    """
    if not values:
        return ()
    first, last = min(values), max(values)
    if width == 1:
        return tuple(Point(i, values.get(i)) for i in range(first, last + 1))
    groups: list[list[float]] = [[] for _ in range((last - first) // width + 1)]
    for index, value in values.items():
        if value is not None:
            groups[(index - first) // width].append(value)
    return tuple(
        _point(first + number * width, min(last, first + (number + 1) * width - 1), group)
        for number, group in enumerate(groups)
    )


def _point(first: int, last: int, values: list[float]) -> Point:
    middle = (first + last) / 2
    if not values:
        return Point(middle, None)
    return Point(middle, sum(values) / len(values), min(values), max(values))


def coarsen(
    grid: Sequence[Sequence[float | None]], limit: int
) -> tuple[list[list[float | None]], int]:
    """Return a grid of at most `limit` cells along each side, and how many cells one stands for.

    Each cell holds the lowest defined value of the square of cells that it stands for.
    """
    longest = max([len(grid), *map(len, grid)], default=0)
    step = max(1, -(-longest // limit))
    if step == 1:
        return [list(row) for row in grid], 1
    return [
        [
            min(
                (v for row in grid[y : y + step] for v in row[x : x + step] if v is not None),
                default=None,
            )
            for x in range(0, len(grid[0]), step)
        ]
        for y in range(0, len(grid), step)
    ], step


def quantiles(values: Sequence[float], limit: int) -> list[float]:
    """Return the values, sorted; of more than `limit` evenly spread ones with both ends."""
    ordered = sorted(values)
    if len(ordered) <= limit:
        return ordered
    return [ordered[round(i * (len(ordered) - 1) / (limit - 1))] for i in range(limit)]
