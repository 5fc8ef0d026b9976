"""What a report holds, in its order; the page and the artifact show the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flows.report.definitions import definitions
from flows.report.document import Cell, Table
from flows.report.sections_axis import along_axis
from flows.report.sections_comparison import comparison
from flows.report.sections_images import distribution
from flows.report.sections_left_out import left_out, sample_sizes
from flows.report.sections_map import on_map
from flows.report.sections_objects import components, instances
from flows.report.sections_precision import precision
from flows.report.sections_probability import probabilities
from flows.report.sections_scores import class_scores, confusion, findings, shares
from flows.report.sections_skipping import skipped
from flows.report.sections_surface import surfaces
from flows.report.words import has_scores

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from flows.report.document import Section
    from flows.report.png import Color

#: Before the pictures, and after them.
FIRST = (findings, class_scores, shares, confusion, comparison, distribution, along_axis, on_map)
LAST = (instances, components, surfaces, probabilities, sample_sizes, precision, skipped, left_out)


def sections(
    result: Mapping[str, Any], colors: Mapping[int, Color]
) -> tuple[list[Section], list[Section]]:
    """Return the sections a result has something for: those before the pictures, and after."""
    parts = []
    for builders in (FIRST, LAST):
        built = [build(result, colors) for build in builders]
        parts.append([section for section in built if section is not None])
    return parts[0], parts[1]


def terms(result: Mapping[str, Any], shown: Sequence[Section]) -> list[tuple[str, str]]:
    """Return the definitions of everything that the sections show, and the verdict above them."""
    keys = [term for section in shown for term in section.terms]
    if has_scores(result):
        keys += ["macro", "pooled", "iou"]
        reasons = result.get("undefined") or any(cell.undefined for cell in _cells(shown))
        keys += ["undefined"] if reasons else []
    return definitions(keys)


def result_definitions(result: Mapping[str, Any]) -> dict[str, str]:
    """Return the definitions of all that a result holds, for the result itself."""
    if not has_scores(result):
        return {}
    before, after = sections(result, {})
    return dict(terms(result, [*before, *after]))


def _cells(shown: Sequence[Section]) -> Iterator[Cell]:
    for section in shown:
        for block in section.blocks:
            if isinstance(block, Table):
                yield from (cell for row in block.rows for cell in row)
