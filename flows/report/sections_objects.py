"""Sections on objects: connected components, and instances that were found or not."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from flows.report.classes import (
    MOST_DRAWN,
    class_cell,
    class_color,
    image_axes,
    marks,
    named_score,
    title,
)
from flows.report.document import Cell, Charts, Section, Table, Text, chart
from flows.report.intervals import bounds
from flows.report.lines import Point, Series, line_chart
from flows.report.numbers import counted, low_high, quantity, score_number, unit_symbol, with_unit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flows.report.document import Block
    from flows.report.png import Color

Entry = dict[str, Any]
PARTITIONS = (
    ("voi_split", "VOI, split (bits)"),
    ("voi_merge", "VOI, merge (bits)"),
    ("voi", "VOI (bits)"),
    ("adapted_rand_error", "Adapted Rand error"),
    ("rand_precision", "Rand precision"),
    ("rand_recall", "Rand recall"),
)
ERRORS = ("missed", "invented", "splits", "merges")


def components(result: Mapping[str, Any], colors: Mapping[int, Color]) -> Section | None:
    """Return number and volume of the connected components of each class."""
    found: Sequence[Entry] = result.get("components") or ()
    if not found:
        return None
    power = 3 if "z" in image_axes(result) else 2
    unit = unit_symbol(result.get("unit"), power)
    size = "volume" if power == 3 else "area"
    rows = tuple(
        (
            class_cell(entry),
            *[_count(entry[f"{label}_components"]) for label in ("truth", "mask")],
            *[_count(entry[f"{label}_voxels"]) for label in ("truth", "mask")],
            *[_volume(entry[f"{label}_volume"]) for label in ("truth", "mask")],
        )
        for entry in found
    )
    heads = ["Class"]
    for name in ("Components", "Voxels", with_unit(size.capitalize(), unit)):
        heads += [f"{name}, truth", f"{name}, mask"]
    return Section("Components", (Table(tuple(heads), rows),), ("components",))


def _count(count: int | None) -> Cell:
    return Cell("–" if count is None else f"{count:,}")


def _volume(volume: float | None) -> Cell:
    if volume is None:
        return Cell("undefined (no voxel size is known)", undefined=True)
    return Cell(quantity(volume))


def instances(result: Mapping[str, Any], colors: Mapping[int, Color]) -> Section | None:
    """Return how many objects were found, how well, and what became of the others."""
    found = result.get("instances")
    if not found:
        return None
    classes: list[Entry] = found["classes"]
    lead = f"Objects of {counted(found['images'], 'image')} counted together; voxels that touch by "
    lead += f"{found['connectivity']} are one object where the label holds classes."
    notes = [i.get("note") for e in classes if (i := e.get("recall_interval"))]
    remarks = [Text(f"{note}.", soft=True) for note in dict.fromkeys(filter(None, notes))]
    blocks: list[Block] = [Text(lead), _quality(classes), *remarks, _errors(classes)]
    blocks += _thresholds(classes, colors)
    blocks.append(_partition(found))
    terms = ("pq", "errors", "ap_at", "voi", "rand")
    return Section("Objects", tuple(blocks), terms)


def _quality(classes: Sequence[Entry]) -> Table:
    names = ("pq", "sq", "rq")
    rows = tuple(
        (
            _name(entry),
            Cell(f"{entry['truth_objects']:,}"),
            Cell(f"{entry['mask_objects']:,}"),
            *[named_score(entry, name) for name in names],
            *[_found(entry, name) for name in ("recall", "precision")],
        )
        for entry in classes
    )
    heads = ("Class", "Objects, truth", "Objects, mask", "PQ", "SQ", "RQ", "Recall", "Precision")
    worth = tuple(entry["pq"] for entry in classes)
    return Table(heads, rows, "Objects matched at an IoU above 0.5", worth)


def _name(entry: Entry) -> Cell:
    return Cell(entry["name"]) if entry["value"] is None else class_cell(entry)


def _found(entry: Entry, name: str) -> Cell:
    """Return recall or precision at 0.5 with its interval."""
    match = next((m for m in entry["matches"] if m["threshold"] == 0.5), None)
    if match is None:
        return Cell("–")
    cell = named_score(match, name)
    ends = bounds(entry.get(f"{name}_interval"))
    return Cell(cell.text, low_high(*ends)) if ends and not cell.undefined else cell


def _errors(classes: Sequence[Entry]) -> Table:
    rows = tuple((_name(e), *[Cell(f"{e[name]:,}") for name in ERRORS]) for e in classes)
    heads = ("Class", *[name.capitalize() for name in ERRORS])
    return Table(heads, rows, "Objects that went wrong")


def _thresholds(classes: Sequence[Entry], colors: Mapping[int, Color]) -> list[Block]:
    """Draw and list the average precision over the IoU thresholds."""
    drawn = _drawn(classes)
    series = [
        Series(
            e["name"] if e["value"] is None else title(e),
            tuple(Point(m["threshold"], m["average_precision"]) for m in e["matches"]),
            number,
            class_color(e["value"] or 1, colors),
        )
        for number, e in zip(marks(drawn), drawn, strict=True)
    ]
    blocks: list[Block] = []
    if any(len(line.points) > 1 for line in series):
        says = "AP over the IoU threshold: " + "; ".join(map(_fall, series))
        names = ("IoU threshold", "AP")
        draw = partial(line_chart, series, says, names, whole=False)
        blocks.append(Charts((chart(draw, "AP over the IoU that a match takes"),), wide=True))
    return [*blocks, *([_table(classes)] if classes else [])]


def _drawn(classes: Sequence[Entry]) -> list[Entry]:
    """Return the classes to draw: of many those of the lowest PQ."""
    worst = sorted(classes, key=lambda entry: (entry["pq"] is None, entry["pq"]))[:MOST_DRAWN]
    return [entry for entry in classes if entry in worst]


def _fall(line: Series) -> str:
    known = [(point.x, point.y) for point in line.points if point.y is not None]
    if not known:
        return f"{line.name}, undefined"
    (first, start), (last, end) = known[0], known[-1]
    return f"{line.name} from {score_number(start)} at {first:g} to {score_number(end)} at {last:g}"


def _table(classes: Sequence[Entry]) -> Table:
    thresholds = [match["threshold"] for match in classes[0]["matches"]]
    rows = tuple(
        (
            Cell(f"{threshold:g}"),
            *[named_score(entry["matches"][place], "average_precision") for entry in classes],
        )
        for place, threshold in enumerate(thresholds)
    )
    heads = ("IoU above", *[f"AP, {entry['name']}" for entry in classes])
    return Table(heads, rows, "AP at every threshold", folded=True)


def _partition(found: Mapping[str, Any]) -> Table:
    row = (Cell("All objects"), *[named_score(found, name) for name, _ in PARTITIONS])
    heads = ("Grouping of voxels", *[heading for _, heading in PARTITIONS])
    return Table(heads, (row,))
