"""Sections with the pictures of a training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flows.report.document import Gallery, Section, Text
from flows.report.png import ERRORS
from flows.report.sample_sheet import IGNORED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flows.report.document import Block
    from flows.report.png import Color, Picture
    from flows.report.sample_sheet import Sheet

Legend = tuple[tuple["Color", str], ...]


def samples_section(sheets: Sequence[Sheet], legend: Legend) -> Section | None:
    """Return samples beside what augmentation made of them, with voxels per class."""
    if not sheets:
        return None
    lead = (
        "Every version is drawn between the same black and white as its sample, with its label "
        "over it. Flips and turns keep the voxels of every class; rotation, scale and elastic "
        "warps change them, because borders and things near them move out of the crop and into it."
    )
    blocks: list[Block] = [Text(lead), Gallery((), legends=(legend,))]
    for sheet in sheets:
        blocks += [Gallery((sheet.picture,)), sheet.counts]
    return Section("Augmented samples", tuple(blocks))


def predictions_section(
    pictures: Sequence[Picture], legend: Legend, num_classes: int
) -> Section | None:
    """Return the same slices with the masks of several epochs."""
    if not pictures:
        return None
    lead = "The same slices of the validation part after several epochs, beside their truth."
    kinds = ERRORS if num_classes > 2 else ERRORS[:2]
    errors = any(name.startswith("errors") for p in pictures for name, _ in p.panels)
    legends = (legend, kinds) if errors else (legend,)
    blocks = (Text(lead), Gallery(tuple(pictures), legends=legends))
    return Section("Predictions over the epochs", blocks)


def class_legend(
    names: Sequence[str], colors: Mapping[int, Color], *, ignored: bool = False
) -> Legend:
    """Return what the colours of the classes mean, and the grey of voxels without one."""
    known = tuple((colors[v], name) for v, name in enumerate(names) if v and v in colors)
    return (*known, (IGNORED, "ignored")) if ignored else known
