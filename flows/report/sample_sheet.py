"""Sheets of pictures for a training: augmented samples, and predictions beside truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from flows.report.document import Cell, Table
from flows.report.numbers import percent, score_number
from flows.report.png import Color, Picture, error_map, overlay, stretch, to_webp
from segmentation.metrics.confusion import ConfusionMatrix
from segmentation.metrics.scores import scores

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

LONGEST_SIDE = 512  # pixels of a panel; larger planes are thinned out
COVER = 0.35  # how much of the image a label hides: changes of intensity must show through
IGNORED: Color = (128, 128, 128)


@dataclass(frozen=True, slots=True)
class Version:
    """A sample, or what augmentation made of it; or a slice with its truth.

    Attributes
    ----------
    name : str
        What was done to it; or where it lies.
    image : shape (y, x)
    labels : integer, shape (y, x)
    """

    name: str
    image: NDArray[np.floating[Any]]
    labels: NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True)
class Sheet:
    """The versions of a sample as pictures, and the voxels of every class in each of them."""

    picture: Picture
    counts: Table


def sample_sheet(
    title: str, versions: Sequence[Version], names: Sequence[str], colors: Mapping[int, Color]
) -> Sheet:
    """Draw a sample and its augmented versions, and count their voxels.

    Parameters
    ----------
    title : str
        Of the sample.
    versions : sequence of Version
        The sample first. All are drawn between the intensities of the first, so that changes of
        brightness and contrast can be seen.
    names : sequence of str
        Of the classes; a label of another value is ignored.
    colors : label value to red, green, blue
    """
    limits = stretch(versions[0].image)
    panels = tuple((v.name, _draw(v.image, v.labels, len(names), colors, limits)) for v in versions)
    return Sheet(Picture(title, panels), _count_table(title, versions, names))


def prediction_picture(
    plane: Version,
    masks: Sequence[tuple[str, NDArray[np.integer[Any]]]],
    *,
    num_classes: int,
    colors: Mapping[int, Color],
    judged: int = -1,
) -> Picture:
    """Draw image, truth, every named mask with its score, and the errors of one of them.

    Parameters
    ----------
    plane : Version
        An image with its truth; a truth that is none of 0 .. C − 1 does not count.
    masks : sequence of (name, integers of shape (y, x))
    num_classes : int
        C, the background included.
    colors : label value to red, green, blue
    judged : int
        Position of the mask whose errors are drawn; the last by default.
    """
    image, truth = plane.image, plane.labels
    panels = [
        ("image", _draw(image, np.zeros_like(truth), num_classes, colors)),
        ("truth", _draw(image, truth, num_classes, colors)),
    ]
    for name, mask in masks:
        score = _macro_dice(truth, mask, num_classes)
        shown = "undefined" if score is None else score_number(score)
        panels.append((f"{name}: Dice {shown}", _draw(image, mask, num_classes, colors)))
    if masks:
        name, mask = masks[judged]
        wrong = error_map(
            _thin(image), _thin(truth), _thin(np.where(truth < num_classes, mask, truth))
        )
        panels.append((f"errors, {name}", to_webp(wrong, lossless=True)))
    return Picture(plane.name, tuple(panels))


def ignores(labels: NDArray[np.integer[Any]], num_classes: int) -> bool:
    """Return whether some voxels hold no class."""
    return bool(labels.size) and int(labels.max()) >= num_classes


def _macro_dice(
    truth: NDArray[np.integer[Any]], mask: NDArray[np.integer[Any]], num_classes: int
) -> float | None:
    matrix = ConfusionMatrix.from_labels(truth, mask, num_classes)
    found = scores(matrix, [str(value) for value in range(num_classes)])
    value: float | None = found["macro_foreground_dice"]
    return value


def _draw(
    image: NDArray[Any],
    labels: NDArray[np.integer[Any]],
    num_classes: int,
    colors: Mapping[int, Color],
    limits: tuple[float, float] | None = None,
) -> bytes:
    """Return a plane under its labels, the ignored in grey."""
    labels = _thin(labels)
    grey = {value: IGNORED for value in np.unique(labels).tolist() if value >= num_classes}
    return to_webp(overlay(_thin(image), labels, {**colors, **grey}, COVER, limits))


def _thin(plane: NDArray[Any]) -> NDArray[Any]:
    step = max(1, -(-max(plane.shape[:2]) // LONGEST_SIDE))
    return plane[::step, ::step]


def _count_table(title: str, versions: Sequence[Version], names: Sequence[str]) -> Table:
    """Return the voxels of every class before and after, and by how much they changed."""
    counts = [_counts(version.labels, len(names)) for version in versions]
    rows = tuple(
        (Cell(name, value=value), Cell(f"{first:,}"), *[_changed(first, n) for n in others])
        for value, (name, first, *others) in enumerate(zip(names, *counts, strict=False))
    )
    if any(column[-1] for column in counts):
        first, *others = [column[-1] for column in counts]
        ignored = (Cell("ignored"), Cell(f"{first:,}"), *[_changed(first, n) for n in others])
        rows = (*rows, ignored)
    heads = ("Class", *[version.name for version in versions])
    return Table(heads, rows, f"Voxels of every class, {title}", folded=True)


def _counts(labels: NDArray[np.integer[Any]], num_classes: int) -> list[int]:
    """Return the voxels of every class, and of those that hold none."""
    values = np.minimum(labels, num_classes).ravel()
    return [int(count) for count in np.bincount(values, minlength=num_classes + 1)]


def _changed(first: int, count: int) -> Cell:
    if count == first:
        return Cell(f"{count:,}", note="the same")
    change = f"{'+' if count > first else '−'}{percent(abs(count / first - 1))}" if first else ""
    return Cell(f"{count:,}", note=change)
