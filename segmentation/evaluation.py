"""One shard of an evaluation: truth and masks in, integer statistics out.

The statistics of a shard are named arrays; those of many shards are keyed by (volume, shard) and
merged by union and sum, so that neither order, nor retries, nor the number of workers changes a
digit.

=========================== ==================================================================
``planes/M``                counts of mask M against the truth, a row per plane (`count_planes`)
``paired``                  voxels of each class by whether mask 0 and mask 1 are right
``probability``             `ProbabilityHistogram` counts
``strays``                  truth values outside the classes, and their voxels
``surface/…``, ``boundary`` distances between surfaces, and boundaries, of mask 0
``contingency/M/I/…``       (truth object, mask object) pairs of mask M in image I
``components/L/I/…``        connected components of label L (truth or mask) in image I, and their
                            faces, which join the components of neighbouring shards
=========================== ==================================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from segmentation.metrics.boundary import count_boundaries
from segmentation.metrics.components import faces, label_components
from segmentation.metrics.contingency import Contingency
from segmentation.metrics.counting import count_planes
from segmentation.metrics.probability import ProbabilityHistogram
from segmentation.metrics.surface import SurfaceCounts, SurfaceOptions, count_surfaces, surface_halo
from segmentation.region import Region

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    Labels = NDArray[np.integer[Any]]

IDS, COMPONENTS = "ids", "components"
PLANE_CLASSES = 32  # with more classes a shard is one row: a matrix a plane would be too large
STRAYS_KEPT = 10
# Stands for ignored truth among component ids, which are counted from 1, and among 0 and 1.
IGNORED_ID = 2**32 - 1
IGNORED_CLASS = 255


@dataclass(frozen=True, slots=True)
class Measures:
    """What is counted.

    Attributes
    ----------
    num_classes : int
        C; with `binary` 2.
    ignore_label : int or None
        Truth value that does not count.
    binary : bool
        Labels hold object ids: for the voxel scores every id is class 1.
    image_axes : int
        Trailing axes of one image, 2 or 3: what lies along the others is apart from each other.
    objects : tuple of str, optional
        How objects are read from the truth and from each mask, ``ids`` or ``components``.
    surface : SurfaceOptions, optional
        Count distances between surfaces.
    tolerances : tuple of float
        Of the boundaries, in the unit of the voxel size.
    """

    num_classes: int
    ignore_label: int | None = None
    binary: bool = False
    image_axes: int = 3
    objects: tuple[str, ...] = ()
    surface: SurfaceOptions | None = None
    tolerances: tuple[float, ...] = ()

    @property
    def ignored_class(self) -> int | None:
        """The ignore label among the classes that are counted."""
        return IGNORED_CLASS if self.binary and self.ignore_label is not None else self.ignore_label

    @property
    def keeps_planes(self) -> bool:
        """Whether every plane is counted by itself."""
        return self.num_classes <= PLANE_CLASSES

    @property
    def halo(self) -> tuple[int, ...]:
        """Voxels beyond its own that a shard reads, along the axes of an image."""
        if self.surface is None:
            return (0,) * self.image_axes
        return surface_halo(self.surface.cap, self.surface.voxel_size)


@dataclass(frozen=True, slots=True)
class Block:
    """Voxels of one shard of an evaluation.

    Attributes
    ----------
    shape : tuple of int
        Of the region that is evaluated. Beyond it is background, as if it had been cut out.
    core : Region
        What the shard counts, seen from the start of that region.
    read : Region
        What was read: the core grown by the halo, inside that region.
    truth, masks : integer arrays
        Shape ``read.shape``.
    probabilities : numpy.ndarray, optional
        uint8 or uint16, classes first, then ``core.shape``.
    """

    shape: tuple[int, ...]
    core: Region
    read: Region
    truth: Labels
    masks: tuple[Labels, ...]
    probabilities: NDArray[np.unsignedinteger[Any]] | None = None

    def inner(self, labels: Labels) -> Labels:
        """The core of what was read."""
        core: Labels = labels[self.core.relative_to(self.read.start).slices]
        return core


def read_region(core: Region, shape: Sequence[int], measures: Measures) -> Region:
    """What a shard has to read, clipped by the region that is evaluated."""
    halo = (0,) * (len(shape) - measures.image_axes) + measures.halo
    return Region(
        tuple(max(0, a - h) for a, h in zip(core.start, halo, strict=True)),
        tuple(min(n, b + h) for b, h, n in zip(core.stop, halo, shape, strict=True)),
    )


def count_block(block: Block, measures: Measures) -> dict[str, NDArray[Any]]:
    """All statistics of a shard, by name."""
    found = _voxels(block, measures)
    if measures.surface is not None:
        found |= _surfaces(block, measures, measures.surface)
    if measures.objects:
        found |= _objects(block, measures)
    return found


def count_voxels(
    truth: Labels, mask: Labels, num_classes: int, ignore_label: int | None = None
) -> NDArray[np.int64]:
    """Rows of `count_planes`; one row for all planes where there are many classes."""
    planes = count_planes(truth, mask, num_classes, ignore_label)
    return planes if num_classes <= PLANE_CLASSES else planes.sum(axis=0, keepdims=True)


def _voxels(block: Block, measures: Measures) -> dict[str, NDArray[Any]]:
    truth = _classes(block.inner(block.truth), measures, is_truth=True)
    masks = [_classes(block.inner(mask), measures) for mask in block.masks]
    size, ignore = measures.num_classes, measures.ignored_class
    found: dict[str, NDArray[Any]] = {
        f"planes/{number}": count_voxels(truth, mask, size, ignore)
        for number, mask in enumerate(masks)
    }
    if any(planes[:, -1].any() for planes in found.values()):
        found["strays"] = _strays(truth, masks, size, ignore)
    if len(masks) == 2:
        found["paired"] = _paired(truth, masks, size, ignore)
    if block.probabilities is not None:
        levels = block.probabilities
        found["probability"] = ProbabilityHistogram.from_levels(truth, levels, ignore).counts
    return found


def _classes(labels: Labels, measures: Measures, *, is_truth: bool = False) -> Labels:
    """Labels as classes: object ids become class 1, but for the ignore label."""
    if not measures.binary:
        return labels
    if labels.dtype.kind == "i" and int(labels.min(initial=0)) < 0:
        return labels
    classes: Labels = (labels != 0).astype(np.uint8)
    if is_truth and measures.ignore_label is not None:
        classes[labels == measures.ignore_label] = IGNORED_CLASS
    return classes


def _strays(
    truth: Labels, masks: Sequence[Labels], size: int, ignore: int | None
) -> NDArray[np.int64]:
    """Truth values outside the classes, and negative values of masks, with their voxels."""
    found = [
        (int(value), int(count))
        for labels, low, high in ((truth, 0, size), *((mask, 0, 2**63) for mask in masks))
        for value, count in zip(*np.unique(labels, return_counts=True), strict=True)
        if not low <= int(value) < high and int(value) != ignore and int(value) < 2**63
    ]
    return np.array(found[:STRAYS_KEPT], np.int64).reshape(-1, 2)


def _paired(
    truth: Labels, masks: Sequence[Labels], size: int, ignore: int | None
) -> NDArray[np.int64]:
    """Voxels by class of the truth, mask 0 right, mask 1 right; int64 (C, 2, 2)."""
    right = (masks[0] == truth) * np.uint8(2) + (masks[1] == truth)
    counts = [
        np.bincount(right[truth == value], minlength=4)
        if value != ignore
        else np.zeros(4, np.int64)
        for value in range(size)
    ]
    return np.stack(counts).reshape(size, 2, 2)


def _surfaces(block: Block, measures: Measures, options: SurfaceOptions) -> dict[str, NDArray[Any]]:
    """Surfaces and boundaries of mask 0, over all images of the shard."""
    tables = []
    boundary = np.zeros((measures.num_classes, len(measures.tolerances), 3), np.int64)
    for place, _ in _images(block, measures):
        truth = _classes(block.truth[place], measures, is_truth=True)
        mask = _classes(block.masks[0][place], measures)
        boxes = {name: _last(getattr(block, name), measures) for name in ("read", "core")}
        shape = block.shape[-measures.image_axes :]
        tables.append(count_surfaces(truth, mask, **boxes, shape=shape, options=options))
        boundary += count_boundaries(
            truth, mask, **boxes, shape=shape, options=options, widths=measures.tolerances
        )
    merged = SurfaceCounts.merge(tables).to_arrays()
    return {f"surface/{name}": array for name, array in merged.items()} | {"boundary": boundary}


def _objects(block: Block, measures: Measures) -> dict[str, NDArray[Any]]:
    """Objects of every image: pairs of each mask with the truth, components and their faces."""
    found: dict[str, NDArray[Any]] = {}
    labels = (block.inner(block.truth), *map(block.inner, block.masks))
    names = ("truth", *(str(number) for number in range(len(block.masks))))
    for place, image in _images(block, measures):
        ids = []
        for name, values, kind in zip(names, labels, measures.objects, strict=True):
            chosen, stored = _ids(values[place], kind, measures, is_truth=name == "truth")
            ids.append(chosen)
            found |= {f"components/{name}/{image}/{key}": array for key, array in stored.items()}
        ignore = measures.ignore_label if measures.objects[0] == IDS else IGNORED_ID
        for number, mask in enumerate(ids[1:]):
            table = Contingency.from_labels(ids[0], mask, ignore_label=ignore).to_arrays()
            found |= {f"contingency/{number}/{image}/{key}": a for key, a in table.items()}
    return found


def _ids(
    labels: Labels, kind: str, measures: Measures, *, is_truth: bool
) -> tuple[Labels, dict[str, NDArray[Any]]]:
    """Object ids of one image, and what joins them to those of other shards."""
    if kind == IDS:
        return labels, {}
    ignored = labels == measures.ignore_label if is_truth else None
    kept = labels if ignored is None else np.where(ignored, labels.dtype.type(0), labels)
    components = label_components(kept)
    ids = components.ids.astype(np.uint32, copy=False)
    if ignored is not None and ignored.any():
        ids = np.where(ignored, np.uint32(IGNORED_ID), ids)
    return ids, {"values": components.values, **faces(components.ids, components.values)}


def _images(block: Block, measures: Measures) -> Iterator[tuple[tuple[int, ...], int]]:
    """Index of every image along the leading axes of the core, and its number in the region."""
    leading = len(block.shape) - measures.image_axes
    extents = block.core.shape[:leading]
    for place in np.ndindex(*extents):
        absolute = tuple(a + i for a, i in zip(block.core.start, place, strict=False))
        number = np.ravel_multi_index(absolute, block.shape[:leading]) if leading else 0
        yield place, int(number)


def _last(region: Region, measures: Measures) -> Region:
    axes = slice(-measures.image_axes, None)
    return Region(region.start[axes], region.stop[axes])
