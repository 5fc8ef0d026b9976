"""The section on surfaces: how far those of the mask are from those of the truth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flows.report.classes import class_cell, image_axes, part_of, score_cell
from flows.report.document import Cell, Section, Table, Text
from flows.report.numbers import measured, percent, quantity, unit_symbol, with_unit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flows.report.png import Color

Entry = dict[str, Any]
KINDS = (("nsd", "NSD"), ("boundary_iou", "Boundary IoU"))
DISTANCES = (("hd50", "HD50"), ("hd95", "HD95"))


def surfaces(result: Mapping[str, Any], colors: Mapping[int, Color]) -> Section | None:
    """Return surface agreement within tolerances, and distances up to the cap."""
    found = result.get("surface")
    if not found:
        return None
    unit = unit_symbol(found.get("unit"))
    where = f"are in {unit}" if unit else "are in the unit of the voxel size"
    lead = (
        f"Distances {where} and measured up to {measured(found['cap'], unit)}; what is farther "
        "away counts as farther than any distance shown."
    )
    blocks = (Text(lead), _agreement(found, unit), _distances(found, unit, _power(result)))
    return Section("Surfaces", blocks, ("nsd", "boundary_iou", "hd", "censored"))


def _power(result: Mapping[str, Any]) -> int:
    """Return the power of the unit in which surface is measured: 1 for outlines in a plane."""
    return 2 if "z" in image_axes(result) else 1


def _agreement(found: Mapping[str, Any], unit: str) -> Table:
    tolerances = found["tolerances"]
    rows = tuple(
        (
            class_cell(entry),
            *[
                _scored(entry, kind, part_of(entry, kind, place))
                for kind, _ in KINDS
                for place in range(len(tolerances))
            ],
        )
        for entry in found["classes"]
    )
    heads = [
        f"{heading} within {measured(tolerance, unit)}"
        for _, heading in KINDS
        for tolerance in tolerances
    ]
    worth = tuple(part_of(entry, "nsd", 0) for entry in found["classes"])
    return Table(("Class", *heads), rows, worth=worth)


def _scored(entry: Entry, kind: str, value: float | None) -> Cell:
    return score_cell(value, entry.get("undefined", {}).get(kind, "no border there"))


def _distances(found: Mapping[str, Any], unit: str, power: int) -> Table:
    size = "Area" if power == 2 else "Length"
    measure = unit_symbol(found.get("unit"), power)
    rows = tuple(
        (
            class_cell(entry),
            *[_distance(entry, name) for name, _ in DISTANCES],
            _censored(entry),
            Cell(quantity(entry["truth_area"])),
            Cell(quantity(entry["mask_area"])),
            Cell(f"{entry['excluded']:,}"),
        )
        for entry in found["classes"]
    )
    heads = (
        "Class",
        *[with_unit(heading, unit) for _, heading in DISTANCES],
        "Surface beyond the cap",
        with_unit(f"{size}, truth", measure),
        with_unit(f"{size}, mask", measure),
        "Surfels left out",
    )
    return Table(heads, rows)


def _distance(entry: Entry, name: str) -> Cell:
    if entry[name] is None:
        return score_cell(None, entry.get("undefined", {}).get(name, "not computed"))
    return Cell(quantity(entry[name]))


def _censored(entry: Entry) -> Cell:
    share = entry["censored_share"]
    if share is None:
        return score_cell(None, entry.get("undefined", {}).get("censored_share", "no surface"))
    return Cell(percent(share))
