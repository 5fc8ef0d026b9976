"""Intervals of scores, looked up and put into words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flows.report.numbers import counted, low_high, named, score_number

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def interval_of(
    result: Mapping[str, Any], score: str, value: int | None = None
) -> Mapping[str, Any] | None:
    """Return the entry of a score, or of a class's score, whether or not it has an interval."""
    for entry in (result.get("intervals") or {}).get("scores", ()):
        if entry["score"] == score and entry["value"] == value:
            return dict(entry)
    return None


def bounds(entry: Mapping[str, Any] | None) -> tuple[float, float] | None:
    """Return both ends of an interval, or None where there is none."""
    if entry is None or entry.get("low") is None or entry.get("high") is None:
        return None
    return float(entry["low"]), float(entry["high"])


def beside(entry: Mapping[str, Any] | None, value: float | None) -> str:
    """Return what stands beside a score: its interval, and its estimate where that differs.

    The score counts voxels over everything; an estimate may be the mean over the specimens.
    """
    ends = bounds(entry)
    if entry is None or ends is None:
        return ""
    estimate = entry.get("estimate")
    if estimate is None or value is None or score_number(estimate) == score_number(value):
        return low_high(*ends)
    return f"{low_high(*ends)} about {score_number(estimate)}"


def by_reason(pairs: Iterable[tuple[str, str | None]]) -> list[str]:
    """Return "name, name: reason." for names with their reasons; those without one are left out."""
    names: dict[str, list[str]] = {}
    for name, reason in pairs:
        if reason:
            names.setdefault(reason.rstrip("."), []).append(name)
    return [f"{named(found)}: {reason}." for reason, found in names.items()]


def headline_interval(result: Mapping[str, Any]) -> str:
    """Return the interval of the macro-foreground Dice in words, or why there is none."""
    intervals = result.get("intervals")
    if not intervals:
        return "no interval: none was computed"
    entry = interval_of(result, "macro_foreground_dice")
    ends = bounds(entry)
    if entry is None or ends is None:
        reason = (entry or {}).get("note") or intervals.get("note") or "none was computed"
        return f"no interval: {_inside(reason)}"
    words = f"{level(intervals)} interval of the macro-foreground Dice {low_high(*ends)}"
    return f"{words}, over {counted(entry['groups'], intervals['unit'])}"


def _inside(sentence: str) -> str:
    """Return a sentence as the part of another that follows "no interval: "."""
    inner = sentence.removeprefix("no interval: ").rstrip(".")
    second = inner[1:2]
    return inner[:1].lower() + inner[1:] if second.islower() or second == " " else inner


def level(holder: Mapping[str, Any]) -> str:
    """Return the confidence level, "95 %"."""
    return f"{100 * holder['level']:g} %"
