"""Scores of one evaluation at every level, side by side: pooled, specimen, image, plane, shard."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from segmentation.metrics.confusion import ConfusionMatrix
from segmentation.metrics.scores import scores
from segmentation.metrics.statistics import group_intervals

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class VolumeCounts:
    """Counts of one volume, plane by plane.

    Attributes
    ----------
    name : str
        Of the volume.
    group : str
        Specimen it comes from.
    planes : numpy.ndarray
        int64, shape (planes, C·C + 2), rows of `count_planes` added up over the shards; or one
        row for the whole volume, where planes were not kept apart.
    axis : str
        What the planes are counted along, such as ``z``; empty if they were not kept apart.
    first : int
        Index of the first plane.
    image_planes : int or None
        Planes that make an image of their own; None: the volume is one image.
    """

    name: str
    group: str
    planes: NDArray[np.int64]
    axis: str = ""
    first: int = 0
    image_planes: int | None = None

    @property
    def total(self) -> NDArray[np.int64]:
        """Counts of the whole volume, shape (C·C + 2,)."""
        return np.asarray(self.planes.sum(axis=0))

    @property
    def images(self) -> NDArray[np.int64]:
        """Counts image by image, shape (images, C·C + 2)."""
        if self.image_planes is None:
            return self.total[np.newaxis]
        grouped = self.planes.reshape(-1, self.image_planes, self.planes.shape[1])
        return np.asarray(grouped.sum(axis=1))


def summarise(volumes: Sequence[VolumeCounts], class_names: Sequence[str]) -> dict[str, Any]:
    """Every score that depends on the voxels alone, in the shape of result.json.

    Pooled scores come from the sum over all voxels; those of specimens, images and planes from
    their own sums, never from means of means. Intervals resample specimens where there are
    several, else images, never planes of one image.

    Raises
    ------
    ValueError
        If the volumes were counted over different classes.
    """
    images = [row for volume in volumes for row in _image_rows(volume)]
    totals = np.sum([volume.total for volume in volumes], axis=0)
    unit, matrices = resampling_units(volumes)
    return {
        **scores(ConfusionMatrix.from_plane(totals), class_names),
        "intervals": group_intervals(matrices, class_names, unit=unit),
        "groups": list(_group_rows(volumes)),
        "images": images,
        "slices": _slices(volumes),
    }


def resampling_units(volumes: Sequence[VolumeCounts]) -> tuple[str, NDArray[np.int64]]:
    """What may be resampled, and its matrices, int64 (units, C, C), in the order of the volumes.

    Specimens where there are two or more of them or every volume is one image; images otherwise.
    """
    names = list(dict.fromkeys(volume.group for volume in volumes))
    images = np.concatenate([volume.images for volume in volumes])
    if len(names) > 1 or len(images) == 1:
        groups = [
            np.sum([volume.total for volume in volumes if volume.group == name], axis=0)
            for name in names
        ]
        return "specimen", _matrices(np.stack(groups))
    return "image", _matrices(images)


def unit_names(volumes: Sequence[VolumeCounts]) -> list[str]:
    """Name of every unit of `resampling_units`."""
    names = list(dict.fromkeys(volume.group for volume in volumes))
    if len(names) > 1 or sum(len(volume.images) for volume in volumes) == 1:
        return names
    return [
        row["image"] if row["index"] is None else f"{row['image']} {row['index']}"
        for volume in volumes
        for row in _image_rows(volume)
    ]


def score_row(counts: NDArray[np.int64]) -> dict[str, Any]:
    """Scores of one row of counts, short: Dice, voxels in truth and prediction of each class."""
    matrix = _matrices(counts[np.newaxis])[0]
    hits, support, predicted = np.diagonal(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    dice = [
        2 * hit / (true + given) if true + given else None
        for hit, true, given in zip(
            hits.tolist(), support.tolist(), predicted.tolist(), strict=True
        )
    ]
    foreground = [value for value in dice[1:] if value is not None]
    counted = int(matrix.sum())
    return {
        "voxels": int(counts.sum()),
        "ignored": int(counts[-2]),
        "macro_foreground_dice": math.fsum(foreground) / len(foreground) if foreground else None,
        "pooled_dice": int(hits.sum()) / counted if counted else None,
        "dice": dice,
        "support": support.tolist(),
        "predicted": predicted.tolist(),
    }


def shard_map(
    axes: str, places: Iterable[tuple[tuple[int, ...], NDArray[np.int64]]]
) -> dict[str, Any]:
    """Scores on the grid of shards, added up along every axis but the last two.

    Parameters
    ----------
    axes : str
        The last two axes.
    places : iterable
        Place of a shard in the grid, along the last two axes, and its counts.
    """
    total: dict[tuple[int, ...], NDArray[np.int64]] = {}
    for place, counts in places:
        total[place] = total[place] + counts if place in total else counts
    shape = [1 + max(place[axis] for place in total) for axis in range(2)]
    rows = [{"place": list(place), **score_row(total[place])} for place in sorted(total)]
    return {"axes": axes, "shape": shape, "rows": rows}


def _matrices(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    num_classes = math.isqrt(rows.shape[1] - 2)
    return rows[:, :-2].reshape(-1, num_classes, num_classes)


def _image_rows(volume: VolumeCounts) -> Iterator[dict[str, Any]]:
    for index, counts in enumerate(volume.images):
        place = None if volume.image_planes is None else volume.first + index
        yield {"image": volume.name, "group": volume.group, "index": place, **score_row(counts)}


def _group_rows(volumes: Sequence[VolumeCounts]) -> Iterator[dict[str, Any]]:
    for name in dict.fromkeys(volume.group for volume in volumes):
        members = [volume for volume in volumes if volume.group == name]
        counts = np.sum([volume.total for volume in members], axis=0)
        images = sum(len(volume.images) for volume in members)
        yield {"group": name, "images": images, **score_row(counts)}


def _slices(volumes: Sequence[VolumeCounts]) -> dict[str, Any] | None:
    """Scores of every plane; None where planes were not kept apart."""
    rows = [
        {"image": number, "index": volume.first + index, **score_row(counts)}
        for number, volume in enumerate(volumes)
        if volume.axis
        for index, counts in enumerate(volume.planes)
    ]
    axis = next((volume.axis for volume in volumes if volume.axis), "")
    return {"axis": axis, "rows": rows} if rows else None
