"""Fields of a card as they stand in its file: judged one by one, before a `Card` is made of them.

A card is small, and everything after it trusts it: shapes decide how much memory is asked for,
names stand in masks and reports.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Check = Callable[[Any], bool]

LONGEST_NAME = 100
# More classes than a uint16 mask can hold.
MOST_CLASSES = 2**16
# A tile of a larger extent is no tile; a wrong one would ask for all memory there is.
LARGEST_EXTENT = 2**20
SHOWN = 60
# Arithmetic of a network; the first is what it is trained and stored in.
PRECISIONS = ("float32", "bfloat16", "float16")


def card_problem(data: Mapping[str, Any]) -> str | None:
    """What is wrong with the fields of a card in their JSON form, in words; None if nothing is.

    Whether fields are missing or unknown, and whether they fit each other, is not looked at.
    """
    for name, value in data.items():
        expected, check = CHECKS.get(name, ("anything", lambda _value: True))
        if not check(value):
            return f"has the {name} {repr(value)[:SHOWN]}; expected {expected}"
    problem = _classes_problem(data.get("classes"))
    return problem or _axes_problem(data)


def name_problem(name: object) -> str | None:
    """What is wrong with the name of a class, in words; None if nothing is."""
    if not isinstance(name, str) or not name.strip():
        return f"class name {repr(name)[:SHOWN]} is empty or no text"
    if len(name) > LONGEST_NAME:
        return f"class name {name[:20]!r}… has {len(name)} letters; use up to {LONGEST_NAME}"
    if not name.isprintable():
        return f"class name {name!r} holds control characters; use letters, digits and signs"
    return None


def _is_whole(value: Any, least: int, most: float = math.inf) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    # False for NaN, infinities, and whole numbers that no float holds.
    return is_number and abs(value) < 1e300


def _wholes(least: int) -> Check:
    return lambda value: (
        isinstance(value, list)
        and 0 < len(value) <= 3
        and all(_is_whole(item, least, LARGEST_EXTENT) for item in value)
    )


def _or_none(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) < LONGEST_NAME and value.isprintable()


def _is_sizes(value: Any) -> bool:
    return (
        isinstance(value, list)
        and 0 < len(value) <= 3
        and all(_is_number(item) and item > 0 for item in value)
    )


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_mapping(value: Any) -> bool:
    return isinstance(value, dict)


def _is_intensity(value: Any) -> bool:
    """Numbers, or lists of numbers; whether they make sense is for the card to say."""
    if not isinstance(value, dict):
        return False
    given = [value.get(key) for key in ("low", "high")]
    flat = [n for part in given for n in (part if isinstance(part, list) else [part])]
    return all(n is None or _is_number(n) for n in flat)


CHECKS: dict[str, tuple[str, Check]] = {
    "classes": ("a list of classes", lambda value: isinstance(value, list)),
    "axes": ("a text", _is_text),
    "channels": ("a whole number from 1", lambda value: _is_whole(value, 1, LARGEST_EXTENT)),
    "head": ("a text", _is_text),
    "intensity": ("a rule with numbers", _is_intensity),
    "stride": ("whole numbers from 1", _wholes(1)),
    "halo": ("whole numbers from 0", _wholes(0)),
    "exact": ("true or false", lambda value: isinstance(value, bool)),
    "inexact_reasons": ("a list of texts", _is_texts),
    "mismatch": ("a mapping", _is_mapping),
    "tile": ("whole numbers from 1", _or_none(_wholes(1))),
    "activation_bytes": ("a whole number", lambda value: _is_whole(value, 0, 2**62)),
    "voxel_size": ("numbers above 0", _or_none(_is_sizes)),
    "unit": ("a text", _or_none(_is_text)),
    "model_sha256": ("a digest", _is_text),
    "training": ("a mapping", _is_mapping),
    "versions": ("a mapping", _is_mapping),
    "task": ("a text", _is_text),
    "image_size": ("whole numbers from 1", _or_none(_wholes(1))),
    "resize": ("a text", _or_none(_is_text)),
    "precision": (", ".join(PRECISIONS), lambda value: value in PRECISIONS),
}


def _classes_problem(classes: Any) -> str | None:
    if len(classes or ()) > MOST_CLASSES:
        return f"has {len(classes)} classes; expected at most {MOST_CLASSES}"
    for number, entry in enumerate(classes or ()):
        if not isinstance(entry, dict) or entry.keys() != {"value", "name", "color"}:
            return f"has the class {repr(entry)[:SHOWN]}; expected value, name and color"
        color = entry["color"]
        whole = _is_whole(entry["value"], 0) and isinstance(color, list) and len(color) == 4
        if not whole or not all(_is_whole(part, 0, 255) for part in color):
            return f"has the class {number} with a wrong value or color; expected 4 of 0 to 255"
        if problem := name_problem(entry["name"]):
            return f"is not usable: {problem}"
    return None


def _axes_problem(data: Mapping[str, Any]) -> str | None:
    """Fields with one entry an axis, of another number than the axes."""
    axes = data.get("axes", "")
    for name in ("stride", "halo", "tile", "voxel_size"):
        value = data.get(name)
        if value is not None and len(value) != len(axes):
            return f"has {len(value)} numbers of {name} for the axes {axes!r}"
    return None


def intensity_problem(intensity: Mapping[str, Any], channels: int) -> str | None:
    """What is wrong with the intensity transform of a network, in words; None if nothing is."""
    rule, low, high = (intensity.get(key) for key in ("rule", "low", "high"))
    if rule == "percentiles":
        if not (isinstance(low, int | float) and isinstance(high, int | float)):
            return f"intensity percentiles are {low!r} and {high!r}; expected numbers"
        if not 0 <= low < high <= 100:
            return f"intensity percentiles {low}, {high} are not 0 <= low < high <= 100"
        return None
    if rule != "fixed":
        return f"intensity rule is {repr(rule)[:SHOWN]}; expected 'percentiles' or 'fixed'"
    if not (isinstance(low, list) and isinstance(high, list)):
        return "fixed intensities are not lists; give one low and high a channel"
    if not len(low) == len(high) == channels:
        return (
            f"fixed intensities name {len(low)} and {len(high)} channels; "
            f"the network has {channels}"
        )
    pairs = list(zip(low, high, strict=True))
    if not all(_is_number(a) and _is_number(b) and a < b for a, b in pairs):
        return f"fixed intensities are {repr(pairs)[:SHOWN]}; expected a low below its high"
    return None
