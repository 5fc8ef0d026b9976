"""Line charts: a score of several classes along an axis, told apart without colour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flows.report.charts import (
    DASHES,
    LETTER,
    Frame,
    axes,
    ink,
    mark,
    px,
    rule,
    score_span,
    spread,
    svg,
    text,
)
from flows.report.safe import shortened

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flows.report.png import Color

HEIGHT = 270
MARK_SPACING = 55  # pixels between the marks on a line, at least on average


@dataclass(frozen=True, slots=True)
class Point:
    """A score at a place; None where it is undefined. A point of many has a range."""

    x: float
    y: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Series:
    """One line: its name, its points in order, and the number that gives dash and mark."""

    name: str
    points: tuple[Point, ...]
    number: int
    color: Color | None = None


def line_chart(
    series: Sequence[Series],
    says: str,
    axis_names: tuple[str, str],
    width: float,
    *,
    whole: bool,
    letters: int = 0,
) -> str:
    """Draw lines with their names at their ends; undefined points are gaps.

    Parameters
    ----------
    series : sequence of Series
        Those without a defined point are left out.
    says : str
        What the drawing shows, in words.
    axis_names : tuple of str
        Of x and of y.
    width : float
        In pixels.
    whole : bool
        Whether x counts something.
    letters : int
        Of the longest name in the drawings that stand below each other, so that they align.
    """
    drawn = [line for line in series if any(point.y is not None for point in line.points)]
    letters = max([letters, *(len(line.name) for line in drawn)])
    frame = _frame(drawn, width, letters)
    parts = axes(frame, *axis_names, whole=whole)
    for line in drawn:
        parts += draw_line(frame, line)
    parts += end_names(frame, drawn, width)
    return svg(width, HEIGHT, says, parts)


def _frame(series: Sequence[Series], width: float, letters: int) -> Frame:
    points = [point for line in series for point in line.points]
    places = [point.x for point in points] or [0.0]
    values = [v for point in points for v in (point.y, point.low, point.high) if v is not None]
    low, high = min(places), max(places)
    if low == high:
        low, high = low - 0.5, high + 0.5
    room = 28 + LETTER * min(letters, longest_name(width))
    return Frame(38, width - room, 28, HEIGHT - 42, (low, high), score_span(values))


def longest_name(width: float) -> int:
    """Return how many letters of a name at the end of a line there is room for."""
    return 24 if width > 500 else 11


def draw_line(frame: Frame, line: Series) -> Iterator[str]:
    """Yield the ranges of points of many, the stretches of a line, and marks on it."""
    yield _band(frame, line)
    stretches = list(_stretches(line.points))
    path = "".join(
        "M" + "L".join(f"{px(frame.across(x))} {px(frame.up(y))}" for x, y in stretch)
        for stretch in stretches
        if len(stretch) > 1
    )
    dash = DASHES[line.number % len(DASHES)]
    if path:
        yield (
            f'<path class="line" {ink(line.color)} stroke-dasharray="{dash or "none"}" d="{path}"/>'
        )
    room = max(4, int((frame.right - frame.left) / MARK_SPACING))
    step = -(-sum(map(len, stretches)) // room)
    for stretch in stretches:
        for x, y in stretch[:: step if len(stretch) > 1 else 1]:
            yield mark(line.number, frame.across(x), frame.up(y), color=line.color)


def _stretches(points: Sequence[Point]) -> Iterator[list[tuple[float, float]]]:
    """Yield runs of defined points."""
    run: list[tuple[float, float]] = []
    for point in points:
        if point.y is not None:
            run.append((point.x, point.y))
        elif run:
            yield run
            run = []
    if run:
        yield run


def _band(frame: Frame, line: Series) -> str:
    """Return the range of every point that stands for many, as thin upright strokes."""
    path = "".join(
        f"M{px(frame.across(p.x))} {px(frame.up(p.low))}V{px(frame.up(p.high))}"
        for p in line.points
        if p.low is not None and p.high is not None
    )
    return f'<path class="band" {ink(line.color)} d="{path}"/>' if path else ""


def end_names(frame: Frame, series: Sequence[Series], width: float) -> Iterator[str]:
    """Yield the names at the ends of the lines, moved apart, with their marks.

    Every line has a defined point.
    """
    ends = [[p for p in line.points if p.y is not None][-1] for line in series]
    wanted = [frame.up(end.y or 0.0) for end in ends]
    places = spread(wanted, 16, frame.top, frame.bottom)
    for line, end, start, y in zip(series, ends, wanted, places, strict=True):
        x = frame.right + 14
        yield rule((frame.across(end.x) + 5, x - 3), (start, y), "leader")
        yield mark(line.number, x + 3, y, color=line.color)
        yield text(x + 11, y + 4, shortened(line.name, longest_name(width)))
