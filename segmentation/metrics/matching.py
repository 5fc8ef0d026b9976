"""Which object of the mask is which object of the truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from segmentation.metrics.contingency import distinct

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from segmentation.metrics.contingency import Contingency

    Counts = NDArray[np.int64]
    Positions = NDArray[np.intp]
    Classes = NDArray[np.integer[Any]] | Mapping[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Objects:
    """The objects of one label, in all images, at the positions 1..n; 0 stands for no object.

    Attributes
    ----------
    areas, classes : int64, shape (n + 1,)
        Voxels that are not ignored, and class; ``areas[0]`` and ``classes[0]`` are 0.
    """

    areas: Counts
    classes: Counts


@dataclass(frozen=True, slots=True, eq=False)
class Overlaps:
    """All objects of both labels, and the voxels that two objects of one class share.

    Attributes
    ----------
    truth, mask : Objects
        Objects by their ids in `distinct(tables)`.
    pairs : int64, shape (P, 2)
        Positions (truth, mask) of objects of the same class that overlap.
    voxels : int64, shape (P,)
        What they share.
    """

    truth: Objects
    mask: Objects
    pairs: Counts
    voxels: Counts

    @property
    def iou(self) -> NDArray[np.float64]:
        """Intersection over union of each pair."""
        truth, mask = self.truth.areas[self.pairs[:, 0]], self.mask.areas[self.pairs[:, 1]]
        return np.asarray(self.voxels / (truth + mask - self.voxels))


def overlaps(
    tables: Sequence[Contingency],
    truth_classes: Sequence[Classes] | None = None,
    mask_classes: Sequence[Classes] | None = None,
) -> Overlaps:
    """Read the objects and their overlaps off the tables, one table an image.

    The area of an object is all of its voxels that are not ignored: those on nothing and on objects
    of other classes are among them.

    Parameters
    ----------
    tables : sequence of Contingency
        One per image; the same id in two images is two objects.
    truth_classes, mask_classes : sequence of (integer array or mapping), optional
        Class by object id, per image; class 0 is no object. Without them all objects are class 1.

    Raises
    ------
    ValueError
        If only one of the two is given, there is not one per image, or an id has no class.
    """
    if (truth_classes is None) != (mask_classes is None):
        raise ValueError("only one label has classes; give truth_classes and mask_classes, or none")
    table = distinct(tables)
    truth, mask = table.truth.astype(np.int64), table.mask.astype(np.int64)
    truths = Objects(
        _areas(truth, table.counts), _classes([part.truth for part in tables], truth_classes)
    )
    masks = Objects(
        _areas(mask, table.counts), _classes([part.mask for part in tables], mask_classes)
    )
    class_of = truths.classes[truth]
    shared = (class_of == masks.classes[mask]) & (class_of != 0)
    return Overlaps(truths, masks, np.stack([truth, mask], 1)[shared], table.counts[shared])


def matches(overlap: Overlaps, threshold: float) -> Positions:
    """Return which pairs are a match: IoU strictly above the threshold, every object used once.

    From 0.5 on at most one partner is possible (Kirillov et al., Panoptic Segmentation, CVPR 2019).
    Below, the matching with the most pairs is taken, and of those one with the greatest sum of IoU.

    Parameters
    ----------
    overlap : Overlaps
        Objects and the voxels they share.
    threshold : float
        From 0 to below 1.

    Returns
    -------
    int64, shape (m,)
        Positions in `overlap.pairs`, ascending.

    Raises
    ------
    ValueError
        If the threshold is not in [0, 1).
    """
    if not 0 <= threshold < 1:
        raise ValueError(
            f"the IoU threshold is {threshold}; a match lies above it: give 0 <= threshold < 1"
        )
    candidates = np.flatnonzero(overlap.iou > threshold)
    if threshold >= 0.5:
        return candidates
    groups = _connected(overlap.pairs[candidates])
    chosen = [
        group[_assigned(overlap.pairs[group], overlap.iou[group])] if group.size > 1 else group
        for group in (candidates[positions] for positions in groups)
    ]
    return np.sort(np.concatenate([candidates[:0], *chosen]))


def _areas(ids: Counts, counts: Counts) -> Counts:
    """Return the voxels of each object; none for 0, which is no object."""
    areas = np.zeros(int(ids.max(initial=0)) + 1, np.int64)
    np.add.at(areas, ids[ids > 0], counts[ids > 0])
    return areas


def _classes(ids: Sequence[NDArray[np.uint64]], classes: Sequence[Classes] | None) -> Counts:
    """Return the class of each object, in the order in which `distinct` numbers them."""
    objects = [np.unique(values[values != 0]) for values in ids]
    if classes is None:
        return np.concatenate([[0], *(np.ones(values.size, np.int64) for values in objects)])
    found = [_looked_up(*pair) for pair in zip(objects, classes, strict=True)]
    return np.concatenate([np.zeros(1, np.int64), *found])


def _looked_up(ids: NDArray[np.uint64], classes: Classes) -> Counts:
    """Return the class of each id."""
    try:
        if isinstance(classes, Mapping):
            return np.array([classes[object_id] for object_id in ids.tolist()], np.int64)
        return classes[ids.astype(np.int64)].astype(np.int64)
    except (KeyError, IndexError) as error:
        raise ValueError(
            f"the class of an object is not known ({error}); give the class of every id that "
            "occurs in the table"
        ) from error


def _connected(pairs: Counts) -> list[Positions]:
    """Return the positions of pairs by the connected part of the overlap graph they lie in."""
    size = pairs.max(axis=0, initial=0) + 1
    nodes = pairs[:, 0], pairs[:, 1] + size[0]
    graph = coo_array((np.ones(len(pairs), bool), nodes), shape=(size.sum(), size.sum()))
    part = connected_components(graph, directed=False)[1][pairs[:, 0]]
    order = np.argsort(part, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(part[order])) + 1)


def _assigned(pairs: Counts, iou: NDArray[np.float64]) -> Positions:
    """Return the positions of the pairs of the best assignment, the number of pairs first."""
    rows, row = np.unique(pairs[:, 0], return_inverse=True)
    columns, column = np.unique(pairs[:, 1], return_inverse=True)
    gain = np.zeros((rows.size, columns.size))
    # All of IoU together weighs less than one pair.
    gain[row, column] = 1 + iou / (2 * min(gain.shape))
    position = np.full(gain.shape, -1)
    position[row, column] = np.arange(iou.size)
    best = position[linear_sum_assignment(gain, maximize=True)]
    return np.asarray(best[best >= 0])
