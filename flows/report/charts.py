"""What every drawing is made of: a picture, a frame with axes, marks and words, as SVG."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flows.report.safe import html_safe

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from flows.report.png import Color

LETTER = 7.4  # pixels of a letter of the usual size, on average with some to spare
DASHES = ("", "7 3", "2 3", "9 3 2 3", "4 2", "12 4")
MARKS = 6  # shapes that `mark` knows


@dataclass(frozen=True, slots=True)
class Frame:
    """The area of a drawing that holds data, and how values become pixels in it.

    Parameters
    ----------
    left, right, top, bottom : float
        Edges in pixels.
    x, y : tuple of float
        Lowest and highest value along each axis; y grows upwards.
    """

    left: float
    right: float
    top: float
    bottom: float
    x: tuple[float, float]
    y: tuple[float, float]

    def across(self, value: float) -> float:
        """Pixel of a value along x."""
        low, high = self.x
        return self.left + (value - low) / (high - low) * (self.right - self.left)

    def up(self, value: float) -> float:
        """Pixel of a value along y."""
        low, high = self.y
        return self.bottom - (value - low) / (high - low) * (self.bottom - self.top)


def svg(width: float, height: float, says: str, parts: Iterable[str]) -> str:
    """Return a drawing that says in words what it shows."""
    label = html_safe(says)
    return (
        f'<svg viewBox="0 0 {px(width)} {px(height)}" width="{px(width)}" height="{px(height)}" '
        f'role="img" aria-label="{label}"><title>{label}</title>{"".join(parts)}</svg>'
    )


def text(
    x: float, y: float, content: str, *, anchor: str = "start", size: int = 12, kind: str = ""
) -> str:
    """Return words in the colour of the page's text."""
    named = f' class="{kind}"' if kind else ""
    return (
        f'<text x="{px(x)}" y="{px(y)}" text-anchor="{anchor}" font-size="{size}" '
        f'fill="currentColor"{named}>{html_safe(content)}</text>'
    )


def rule(x: tuple[float, float], y: tuple[float, float], kind: str) -> str:
    """Return a straight line from (x[0], y[0]) to (x[1], y[1])."""
    return f'<path class="{kind}" d="M{px(x[0])} {px(y[0])}L{px(x[1])} {px(y[1])}"/>'


def ink(color: Color | None, use: str = "stroke") -> str:
    """Return the style of a class's colour, mixed with the text's so that it stands out."""
    if color is None:
        return f'{use}="currentColor"'
    red, green, blue = (int(part) for part in color)
    return f'style="{use}:color-mix(in srgb, rgb({red},{green},{blue}) 68%, currentColor)"'


def mark(number: int, x: float, y: float, *, color: Color | None = None, size: float = 3.6) -> str:
    """Return a mark whose shape tells one class from another."""
    r, d = size, size * 1.25
    shapes = (
        f"M{px(x - r)} {px(y)}a{r:.1f} {r:.1f} 0 1 0 {2 * r:.1f} 0a{r:.1f} {r:.1f} 0 1 0 "
        f"{-2 * r:.1f} 0z",
        f"M{px(x - r)} {px(y - r)}h{2 * r:.1f}v{2 * r:.1f}h{-2 * r:.1f}z",
        f"M{px(x)} {px(y - d)}L{px(x + d)} {px(y + r)}H{px(x - d)}z",
        f"M{px(x)} {px(y - d)}L{px(x + d)} {px(y)}L{px(x)} {px(y + d)}L{px(x - d)} {px(y)}z",
        f"M{px(x - d)} {px(y - r)}H{px(x + d)}L{px(x)} {px(y + d)}z",
        f"M{px(x - d)} {px(y - 1.2)}H{px(x - 1.2)}V{px(y - d)}h2.4V{px(y - 1.2)}H{px(x + d)}v2.4"
        f"H{px(x + 1.2)}V{px(y + d)}h-2.4V{px(y + 1.2)}H{px(x - d)}z",
    )
    return f'<path {ink(color, "fill")} d="{shapes[number % MARKS]}"/>'


def axes(frame: Frame, x_label: str, y_label: str, *, whole: bool = False) -> list[str]:
    """Return grid, numbers and names of both axes; `whole` keeps x to whole numbers."""
    parts = [text(2, frame.top - 11, y_label, kind="quiet"), *x_axis(frame, x_label, whole=whole)]
    for value in ticks(*frame.y, 5):
        y = frame.up(value)
        parts.append(rule((frame.left, frame.right), (y, y), "grid"))
        parts.append(text(frame.left - 6, y + 4, f"{value:g}", anchor="end", kind="quiet"))
    return parts


def x_axis(frame: Frame, label: str, *, whole: bool = False, upright: bool = False) -> list[str]:
    """Return the lower axis with numbers and name, and with upright lines of a grid."""
    room = max(2, int((frame.right - frame.left) / 70))
    parts = []
    for value in ticks(*frame.x, room, least=1.0 if whole else 0.0):
        x = frame.across(value)
        if upright:
            parts.append(rule((x, x), (frame.top, frame.bottom), "grid"))
        parts.append(rule((x, x), (frame.bottom, frame.bottom + 4), "axis"))
        number = f"{value:,.0f}" if whole else f"{value:g}"
        parts.append(text(x, frame.bottom + 17, number, anchor="middle", kind="quiet"))
    middle = (frame.left + frame.right) / 2
    parts.append(text(middle, frame.bottom + 34, label, anchor="middle", kind="quiet"))
    parts.append(rule((frame.left, frame.right), (frame.bottom, frame.bottom), "axis"))
    return parts


def ticks(low: float, high: float, count: int, *, least: float = 0.0) -> list[float]:
    """Return round numbers from low to high, about `count` of them, `least` apart or more."""
    rough = max((high - low) / count, least, 1e-9)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * f for f in (1, 2, 5, 10) if power * f >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(step * number, 9) for number in range(first, last + 1)]


def score_span(values: Sequence[float]) -> tuple[float, float]:
    """Return the part of 0 to 1 that holds the scores, in whole tenths, three at least."""
    low = math.floor(10 * min(values, default=0) - 0.2)
    high = math.ceil(10 * max(values, default=1) + 0.2)
    low, high = max(0, low), min(10, high)
    low = max(0, min(low, high - 3))
    return low / 10, max(high, low + 3) / 10


def spread(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move places apart until they are `gap` from each other, in their order, in the range."""
    order = sorted(range(len(places)), key=lambda index: places[index])
    moved = [0.0] * len(places)
    last = low - gap
    for index in order:
        last = moved[index] = max(places[index], last + gap)
    limit = high
    for index in reversed(order):
        moved[index] = min(moved[index], limit)
        limit = moved[index] - gap
    return moved


def px(value: float) -> str:
    """Return pixels with one decimal, or without where it is 0."""
    number = f"{value:.1f}".removesuffix(".0")
    return "0" if number == "-0" else number
