"""ROC curves: true over false positives at every threshold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flows.report.charts import Frame, axes, ink, px, rule, svg

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flows.report.png import Color

SIDE = 300  # pixels
MOST_POINTS = 400


def roc_curve(
    points: Sequence[tuple[float, float]], says: str, *, color: Color | None = None
) -> str:
    """Draw a curve from (0, 0) to (1, 1); on the diagonal a classifier only guesses.

    Parameters
    ----------
    points : sequence of (float, float)
        False and true positive rate; of very many every n-th is drawn, and the last.
    says : str
        What the drawing shows, in words.
    """
    frame = Frame(38, SIDE - 10, 28, SIDE - 46, (0, 1), (0, 1))
    parts = axes(frame, "false positive rate", "true positive rate")
    parts.append(rule((frame.left, frame.right), (frame.bottom, frame.top), "leader"))
    step = -(-len(points) // MOST_POINTS)
    drawn = [*points[:-1:step], points[-1]]
    path = "M" + "L".join(f"{px(frame.across(x))} {px(frame.up(y))}" for x, y in drawn)
    parts.append(f'<path class="line" {ink(color)} d="{path}"/>')
    return svg(SIDE, SIDE, says, parts)
