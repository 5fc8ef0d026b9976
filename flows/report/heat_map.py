"""Heat maps of a score on a grid: one hue, evenly darker as the score grows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from flows.report.charts import px, svg, text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

WIDTH = 320  # pixels
MARGIN = 30
LARGEST_CELL, LETTERED_CELL = 56, 32  # pixels; values stand in cells of the second size and more
HUE = math.radians(245)
LIGHTEST, DARKEST = 0.95, 0.36  # OKLab lightness of the lowest and of the highest score

Scale = tuple[float, float]


def heat_map(grid: Sequence[Sequence[float | None]], scale: Scale, says: str, step: int) -> str:
    """Draw a cell per place; places without a defined score are struck through.

    Parameters
    ----------
    grid : rows of scores, None where undefined
    scale : lowest and highest score of the colours
    says : str
        What the drawing shows, in words.
    step : int
        Places that a cell stands for along each side; the numbers at the sides count places.
    """
    rows, columns = len(grid), len(grid[0])
    size = min(LARGEST_CELL, (WIDTH - MARGIN - 2) / max(rows, columns))
    parts = list(_sides(rows, columns, size, step))
    for y, row in enumerate(grid):
        for x, value in enumerate(row):
            parts += _cell(MARGIN + x * size, MARGIN + y * size, size, value, scale)
    width, height = MARGIN + columns * size + 2, MARGIN + rows * size + 2
    return svg(max(width, 150), height, says, parts)


def _cell(left: float, top: float, size: float, value: float | None, scale: Scale) -> Iterator[str]:
    x, y, side = px(left), px(top), px(size)
    middle, line = left + size / 2, top + size / 2 + 4
    if value is None:
        yield f'<path class="void" d="M{x} {y}h{side}v{side}h-{side}zl{side} {side}"/>'
        if size >= LETTERED_CELL:
            yield text(middle + size / 4, line - size / 5, "–", anchor="middle")
        return
    share = (value - scale[0]) / (scale[1] - scale[0])
    yield f'<rect class="place" x="{x}" y="{y}" width="{side}" height="{side}" '
    yield f'fill="{shade(share)}"/>'
    if size >= LETTERED_CELL:
        kind = "on-dark" if is_dark(share) else "on-light"
        yield text(middle, line, f"{value:.2f}", anchor="middle", kind=kind)


def _sides(rows: int, columns: int, size: float, step: int) -> Iterator[str]:
    """Yield numbers of rows and columns, as many as there is room for."""
    every = max(1, math.ceil(26 / size))
    for x in range(0, columns, every):
        yield text(MARGIN + (x + 0.5) * size, MARGIN - 7, f"{x * step}", anchor="middle")
    for y in range(0, rows, every):
        yield text(MARGIN - 6, MARGIN + (y + 0.5) * size + 4, f"{y * step}", anchor="end")


def color_scale(scale: Scale) -> str:
    """Draw the colours with the scores they stand for."""
    width, bars = WIDTH, 24
    side = (width - 40) / bars
    parts = [
        f'<rect x="{px(20 + i * side)}" y="4" width="{px(side + 0.5)}" height="12" '
        f'fill="{shade((i + 0.5) / bars)}"/>'
        for i in range(bars)
    ]
    for share in (0.0, 0.5, 1.0):
        value = scale[0] + share * (scale[1] - scale[0])
        parts.append(text(20 + share * (width - 40), 31, f"{value:.2f}", anchor="middle"))
    says = f"Colours from Dice {scale[0]:.1f}, light, to {scale[1]:.1f}, dark"
    return svg(width, 38, says, parts)


def shade(share: float) -> str:
    """Return the colour of a share from 0 to 1 as ``#rrggbb``.

    Lightness falls evenly in OKLab (Ottosson 2020), in which equal steps look equal; the hue
    stays.
    """
    return "#" + "".join(f"{round(255 * _gamma(part)):02x}" for part in linear_rgb(share))


def linear_rgb(share: float) -> tuple[float, float, float]:
    """Return the colour of a share as linear sRGB, each part from 0 to 1."""
    share = min(1.0, max(0.0, share))
    light = LIGHTEST + share * (DARKEST - LIGHTEST)
    chroma = 0.013 + 0.1 * math.sin(math.pi * (0.04 + 0.76 * share))
    a, b = chroma * math.cos(HUE), chroma * math.sin(HUE)
    long = (light + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (light - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (light - 0.0894841775 * a - 1.2914855480 * b) ** 3
    return (
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    )


def is_dark(share: float) -> bool:
    """Return whether white letters stand out better than black ones on the colour of a share.

    They do up to a relative luminance of 0.179, where both have a contrast of 4.58 (WCAG 2.2).
    """
    red, green, blue = linear_rgb(share)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.179


def _gamma(linear: float) -> float:
    """Return a linear sRGB value as it is stored."""
    part = min(1.0, max(0.0, linear))
    return 12.92 * part if part <= 0.0031308 else 1.055 * part ** (1 / 2.4) - 0.055
