"""Scores that are a division, and what stands for them where they are undefined."""

from __future__ import annotations

from typing import Any


def ratio(part: float, whole: float) -> float | None:
    """Divide; None where the whole is 0. Python ints neither overflow nor round before it."""
    return part / whole if whole else None


def values_and_reasons(**scores: tuple[float | None, str]) -> dict[str, Any]:
    """Return every score by name, and under "undefined" the reasons of those that are None."""
    return {
        **{name: value for name, (value, _) in scores.items()},
        "undefined": {name: reason for name, (value, reason) in scores.items() if value is None},
    }
