"""Reliability diagrams: how often a class is there when a probability says so."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from flows.report.charts import Frame, axes, ink, mark, px, rule, svg

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flows.report.png import Color

SIDE = 300  # pixels
LARGEST, SMALLEST = 6.5, 2.2  # pixels of the mark of the fullest bin, and of any


def reliability_diagram(
    bins: Sequence[Mapping[str, Any]], says: str, *, number: int, color: Color | None = None
) -> str:
    """Draw observed share over mean probability; on the diagonal the two agree.

    Parameters
    ----------
    bins : sequence of mapping
        "mean_probability", "observed", "count"; bins without a voxel are left out. The area of a
        mark grows with its count.
    says : str
        What the drawing shows, in words.
    number : int
        Of the class: its mark.
    """
    frame = Frame(38, SIDE - 10, 28, SIDE - 46, (0, 1), (0, 1))
    parts = axes(frame, "mean probability", "observed share")
    parts.append(rule((frame.left, frame.right), (frame.bottom, frame.top), "leader"))
    shown = [entry for entry in bins if entry["observed"] is not None]
    places = [(frame.across(b["mean_probability"]), frame.up(b["observed"])) for b in shown]
    if len(places) > 1:
        path = "M" + "L".join(f"{px(x)} {px(y)}" for x, y in places)
        parts.append(f'<path class="line" {ink(color)} d="{path}"/>')
    most = max((entry["count"] for entry in shown), default=1)
    for entry, (x, y) in zip(shown, places, strict=True):
        size = max(SMALLEST, LARGEST * math.sqrt(entry["count"] / most))
        parts.append(mark(number, x, y, color=color, size=size))
    return svg(SIDE, SIDE, says, parts)
