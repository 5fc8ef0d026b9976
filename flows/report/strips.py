"""Strip plots: one mark per image, a lane per class, with median and interval."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from flows.report.binning import quantiles
from flows.report.charts import Frame, ink, mark, px, rule, score_span, svg, text, x_axis
from flows.report.safe import shortened

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flows.report.png import Color

LANE, TOP, FOOT = 62, 16, 44  # pixels
MOST_MARKS = 240  # per lane; more values are drawn as their quantiles
ROWS = 5  # heights among which neighbouring marks are spread


@dataclass(frozen=True, slots=True)
class Lane:
    """The scores of one class, and their interval."""

    name: str
    values: tuple[float, ...]
    number: int
    interval: tuple[float, float] | None = None
    color: Color | None = None


def strip_plot(lanes: Sequence[Lane], says: str, x_label: str, width: float) -> str:
    """Draw every score as a mark; the median as a stroke, the interval as a bracket beneath.

    Parameters
    ----------
    lanes : sequence of Lane
    says : str
        What the drawing shows, in words.
    x_label : str
    width : float
        In pixels.
    """
    known = [v for lane in lanes for v in (*lane.values, *(lane.interval or ()))]
    height = TOP + LANE * len(lanes) + FOOT
    frame = Frame(14, width - 14, TOP, height - FOOT, score_span(known), (0, 1))
    parts = x_axis(frame, x_label, upright=True)
    for index, lane in enumerate(lanes):
        parts += _lane(frame, lane, TOP + LANE * index, width)
    return svg(width, height, says, parts)


def _lane(frame: Frame, lane: Lane, top: float, width: float) -> Iterator[str]:
    values = quantiles(lane.values, MOST_MARKS)
    name = shortened(lane.name, 40 if width > 500 else 18)
    if not values:
        yield text(frame.left - 10, top + 14, f"{name}: defined in no image")
        return
    middle = median(lane.values)
    yield text(frame.left - 10, top + 14, f"{name}: median {middle:.3f}")
    for rank, value in enumerate(values):
        height = top + 23 + (rank * 2 % ROWS) * 5
        yield mark(lane.number, frame.across(value), height, color=lane.color, size=2.6)
    x = frame.across(middle)
    yield rule((x, x), (top + 18, top + 49), "median")
    if lane.interval is not None:
        low, high = (frame.across(bound) for bound in lane.interval)
        y = top + 53
        yield (
            f'<path class="bracket" {ink(None)} d="M{px(low)} {px(y - 4)}V{px(y + 4)}'
            f'M{px(low)} {px(y)}H{px(high)}M{px(high)} {px(y - 4)}V{px(y + 4)}"/>'
        )
