"""Curves over the epochs of a training, with the epoch that was kept."""

from __future__ import annotations

import math
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
    svg,
    text,
    ticks,
)
from flows.report.lines import HEIGHT, draw_line, end_names, longest_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flows.report.lines import Series

LOW_HEIGHT = 210  # pixels of a drawing without names
SAMPLE, LINE = 38, 22  # pixels: length of a line in a legend, height of its rows


@dataclass(frozen=True, slots=True)
class CurvePlot:
    """Lines over epochs.

    Parameters
    ----------
    series : tuple of Series
        Those without a defined point are not drawn.
    label : str
        Of the upright axis.
    span : tuple of float
        Lowest and highest value of the upright axis.
    best : int, optional
        Epoch that is marked.
    across : str
        Of the lower axis.
    whole : bool
        Whether that counts something.
    """

    series: tuple[Series, ...]
    label: str
    span: tuple[float, float]
    best: int | None = None
    across: str = "epoch"
    whole: bool = True


def curve_plot(plot: CurvePlot, says: str, width: float, *, named: bool = True) -> str:
    """Draw lines over the epochs; `named` puts their names at their ends and makes it higher."""
    drawn = [line for line in plot.series if any(p.y is not None for p in line.points)]
    height = HEIGHT if named else LOW_HEIGHT
    letters = max((len(line.name) for line in drawn), default=0) if named else 0
    room = 28 + LETTER * min(letters, longest_name(width)) if named else 12
    frame = Frame(_left(plot.span), width - room, 28, height - 42, _epochs(drawn), plot.span)
    parts = [*axes(frame, plot.across, plot.label, whole=plot.whole), *_best(frame, plot)]
    for line in drawn:
        parts += draw_line(frame, line)
    parts += end_names(frame, drawn, width) if named else []
    return svg(width, height, says, parts)


def curve_legend(series: Sequence[Series], width: float) -> str:
    """Draw dash, mark and name of every line, for drawings that do not name them."""
    parts: list[str] = []
    x, row = 0.0, 0
    for line in series:
        needed = SAMPLE + 30 + LETTER * len(line.name)
        if x and x + needed > width:
            x, row = 0.0, row + 1
        parts += _sample(line, x, LINE * row + LINE / 2)
        x += needed
    says = f"Lines: {', '.join(line.name for line in series)}"
    return svg(width, LINE * (row + 1), says, parts)


def span_from_zero(values: Sequence[float]) -> tuple[float, float]:
    """Return 0 and a round number that no value exceeds."""
    highest = max(values, default=0.0)
    if not math.isfinite(highest) or highest <= 0:
        return 0.0, 1.0
    power = 10.0 ** math.floor(math.log10(highest))
    return 0.0, next(f * power for f in (1, 1.5, 2, 3, 4, 5, 6, 8, 10, 15) if f * power >= highest)


def _left(span: tuple[float, float]) -> float:
    """Return where the frame begins, so that the numbers beside it have room."""
    return max(38.0, 12 + LETTER * max(len(f"{value:g}") for value in ticks(*span, 5)))


def _epochs(series: Sequence[Series]) -> tuple[float, float]:
    places = [point.x for line in series for point in line.points] or [1.0]
    low, high = min(places), max(places)
    return (low, high) if low < high else (low - 0.5, high + 0.5)


def _best(frame: Frame, plot: CurvePlot) -> Iterator[str]:
    """Yield an upright line at the epoch that was kept, and its number above it."""
    if plot.best is None or not frame.x[0] <= plot.best <= frame.x[1]:
        return
    x = frame.across(plot.best)
    words = f"kept: {plot.best}"
    half = LETTER * len(words) / 2
    middle = max(x, 12 + LETTER * len(plot.label) + half)
    yield rule((x, x), (frame.top - 6, frame.bottom), "axis")
    yield text(min(middle, frame.right - half + 8), frame.top - 11, words, anchor="middle")


def _sample(line: Series, x: float, y: float) -> Iterator[str]:
    dash = DASHES[line.number % len(DASHES)] or "none"
    yield (
        f'<path class="line" {ink(line.color)} stroke-dasharray="{dash}" '
        f'd="M{px(x + 2)} {px(y)}h{SAMPLE - 4}"/>'
    )
    yield mark(line.number, x + SAMPLE / 2, y, color=line.color)
    yield text(x + SAMPLE + 6, y + 4, line.name)
