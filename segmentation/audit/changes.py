"""What was changed between two trainings, in words."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def changed_settings(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[str, ...]:
    """Every setting that differs, with the factor where both are numbers.

    Parameters
    ----------
    before, after : mapping
        Settings of two trainings, by name.

    Returns
    -------
    tuple of str
        Such as ``learning_rate 1e-4 → 1e-3 (×10)``, in the order of the names.
    """
    names = sorted({*before, *after})
    return tuple(
        f"{name} {_change(before.get(name), after.get(name))}"
        for name in names
        if before.get(name) != after.get(name)
    )


def _change(old: Any, new: Any) -> str:
    factor = f" ({_factor(new / old)})" if _is_number(old) and _is_number(new) and old else ""
    return f"{_text(old)} → {_text(new)}{factor}"


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value)


def _factor(ratio: float) -> str:
    """A factor above 1 as it is, one below as a division."""
    if ratio <= 0:
        return f"×{ratio:.3g}"
    return f"×{ratio:.3g}" if ratio >= 1 else f"÷{1 / ratio:.3g}"


def _text(value: Any) -> str:
    """A number as it would be written by hand: powers of ten for small ones."""
    if value is None:
        return "not given"
    if not isinstance(value, float) or not value or 0.01 <= abs(value) < 1e4:
        return str(value)
    digits, power = f"{value:.3e}".split("e")
    return f"{digits.rstrip('0').rstrip('.')}e{int(power)}"
