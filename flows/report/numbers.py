"""Numbers as a reader should see them: never rounded to perfect, to nothing or to certain."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

SYMBOLS = {
    "angstrom": "Å",
    "nanometer": "nm",
    "micrometer": "µm",
    "millimeter": "mm",
    "centimeter": "cm",
    "meter": "m",
}
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
LARGE, SMALL = 1e6, 1e-3  # beyond these a quantity is written with a power of ten


def score_number(value: float) -> str:
    """Return a score with three decimals, never rounded up to 1 or down to 0."""
    if 0 < value < 0.0005:
        return "<0.001"
    if 0.9995 <= value < 1:
        return ">0.999"
    return f"{value:.3f}"


def percent(share: float) -> str:
    """Return a share as a percentage, never rounded up to 100 or down to 0."""
    if 0 < share < 0.0005:
        return "<0.1 %"
    if 0.9995 <= share < 1:
        return ">99.9 %"
    return f"{100 * share:.1f} %"


def signed(value: float) -> str:
    """Return a difference with its sign and three decimals; one that rounds to 0 says so."""
    if 0 < abs(value) < 0.0005:
        return f"{'+' if value > 0 else '−'}<0.001"
    return f"{value:+.3f}".replace("-", "−") if value else "0.000"


def probability(value: float) -> str:
    """Return a p value with three decimals, never 0."""
    return "<0.001" if value < 0.0005 else f"{value:.3f}"


def low_high(low: float, high: float) -> str:
    """Return an interval of a score."""
    return f"{score_number(low)}–{score_number(high)}"


def counted(count: int, noun: str) -> str:
    """Return "1 voxel", "2,000 voxels", "3 foreground classes"."""
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{count:,} {noun if count == 1 else plural}"


def quantity(value: float) -> str:
    """Return a length, area or volume with four digits."""
    if value == 0 or SMALL <= abs(value) < LARGE:
        decimals = 0 if value == 0 else max(0, 3 - math.floor(math.log10(abs(value))))
        text = f"{value:,.{decimals}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    mantissa, exponent = f"{value:.3e}".split("e")
    return f"{mantissa} × 10{str(int(exponent)).translate(RAISED)}"


def unit_symbol(unit: str | None, power: int = 1) -> str:
    """Return "nm", "nm²", "nm³"; nothing where no unit is known."""
    if unit is None:
        return ""
    symbol = SYMBOLS.get(unit, unit)
    return symbol if power == 1 else f"{symbol}{str(power).translate(RAISED)}"


def with_unit(name: str, symbol: str) -> str:
    """Return "HD95 (nm)", or the name alone where no unit is known."""
    return f"{name} ({symbol})" if symbol else name


def measured(value: float, symbol: str) -> str:
    """Return "500 nm", or the number alone where no unit is known."""
    return f"{quantity(value)} {symbol}".rstrip()


def named(names: Sequence[str], limit: int = 5) -> str:
    """Return "a, b and c"; of more than `limit` names the first, and how many others there are."""
    if len(names) > limit:
        return f"{', '.join(names[:limit])} and {counted(len(names) - limit, 'other')}"
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
