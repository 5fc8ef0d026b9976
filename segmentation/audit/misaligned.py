"""Findings on labels that lie beside their images, with a picture of both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from segmentation.audit.alignment import QUARTERS, borders
from segmentation.audit.finding import Finding, Picture, Table, listed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from segmentation.audit.alignment import Shift
    from segmentation.audit.thresholds import DataThresholds

SIDE = 128
RED, GREEN = (230, 60, 60), (60, 220, 90)


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the label of an image lies.

    Attributes
    ----------
    name : str
        Of the image.
    shift : Shift
        That would bring it onto the image.
    image : float64, shape (y, x)
        A section, to look at.
    label : array, shape (y, x)
        Its label.
    """

    name: str
    shift: Shift
    image: NDArray[np.float64]
    label: NDArray[np.generic]


def misaligned(shift: Shift, thresholds: DataThresholds) -> bool:
    """Whether a shift is large, and believed: all quarters agree, and edges do meet borders."""
    return (
        shift.voxels > thresholds.shift_voxels
        and shift.agreeing == QUARTERS
        and shift.correlation >= thresholds.edge_correlation
    )


def alignment_findings(
    placements: Sequence[Placement], thresholds: DataThresholds
) -> list[Finding]:
    """Images beside which their labels lie; silent where the evidence is weak.

    Parameters
    ----------
    placements : sequence of Placement
        Of the images in which edges and borders were found.
    thresholds : DataThresholds
        What distance counts, and what correlation is believed.
    """
    wrong = [one for one in placements if misaligned(one.shift, thresholds)]
    if not wrong:
        return []
    worst = max(wrong, key=lambda one: one.shift.voxels)
    shift = worst.shift
    rows = tuple(
        (one.name, one.shift.y, one.shift.x, one.shift.unmoved, one.shift.correlation)
        for one in wrong[:8]
    )
    heads = ("image", "voxels along y", "voxels along x", "correlation as it is", "and moved")
    return [
        Finding(
            "DATA-MISALIGNED",
            "warning",
            f"The labels of {listed([one.name for one in wrong])} lie beside their images: in "
            f"{worst.name} borders meet edges best after a shift of {shift.y} voxels along y and "
            f"{shift.x} along x.",
            f"found if the correlation of image edges and label borders is greatest at a shift of "
            f"more than {thresholds.shift_voxels:g} voxels (measured {shift.voxels:.1f}), is "
            f"{thresholds.edge_correlation:g} or more there (measured {shift.correlation:.2f}), "
            f"and all {QUARTERS} quarters of the image agree within a voxel",
            "Look at the picture. If the green line fits and the red one does not, move the label "
            "by these voxels (or find the step that cropped or registered one of the two), and "
            "import it again with `maskmill import-labels`.",
            "That the label is wrong: where one side of a structure is far brighter than the "
            "other, edges lie beside correct borders.",
            (Table("Shift that brings the label onto the image", heads, rows), _picture(worst)),
        )
    ]


def _picture(placement: Placement) -> Picture:
    """The section with the borders as they are in red, and after the shift in green."""
    shift, found = placement.shift, borders(placement.label)
    box = _busiest(found)
    moved = np.roll(found, (shift.y, shift.x), (0, 1))
    grey = grey_levels(placement.image[box])
    pixels = np.repeat(grey[..., np.newaxis], 3, axis=-1)
    pixels[found[box]] = RED
    pixels[moved[box]] = GREEN
    return Picture(f"{placement.name}: borders as they are (red) and moved (green)", pixels)


def _busiest(found: NDArray[np.bool_]) -> tuple[slice, slice]:
    """A box of at most 128 voxels a side around the middle of the borders."""
    middle = [int(np.median(where)) for where in np.nonzero(found)]
    starts = [
        min(max(0, m - SIDE // 2), max(0, n - SIDE))
        for m, n in zip(middle, found.shape, strict=True)
    ]
    return slice(starts[0], starts[0] + SIDE), slice(starts[1], starts[1] + SIDE)


def grey_levels(image: NDArray[np.floating]) -> NDArray[np.uint8]:
    """A section as grey, from its percentile 1 to its percentile 99."""
    low, high = np.percentile(image, (1, 99))
    scaled = (np.asarray(image, np.float64) - low) / max(float(high - low), 1e-12)
    levels: NDArray[np.uint8] = np.clip(np.round(255 * scaled), 0, 255).astype(np.uint8)
    return levels
