"""LabelBlock: truth and mask of one shard, with the halo that distances need."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from segmentation.metrics.neighbourhood import voxels_within
from segmentation.region import Region

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Labels = NDArray[np.unsignedinteger[Any]]


@dataclass(frozen=True, slots=True)
class SurfaceOptions:
    """What surfaces are measured with; the same for all shards of an evaluation.

    Attributes
    ----------
    num_classes : int
        C; the classes are 0..C-1, the background first.
    voxel_size : tuple of float
        Size of a voxel along each axis of the images, 2 or 3.
    cap : float
        Distances up to this are exact, farther ones are not told apart; unit of the voxel size.
    ignore_label : int, optional
        Truth with this value is left out, whatever the mask says there.

    Raises
    ------
    ValueError
        If a number is not positive and finite, or there are not 2 or 3 sizes.
    """

    num_classes: int
    voxel_size: tuple[float, ...]
    cap: float
    ignore_label: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "voxel_size", tuple(map(float, self.voxel_size)))
        object.__setattr__(self, "cap", float(self.cap))
        if self.num_classes < 1:
            raise ValueError(f"num_classes is {self.num_classes}; expected at least 1")
        if len(self.voxel_size) not in (2, 3):
            raise ValueError(
                f"voxel_size {self.voxel_size} has {len(self.voxel_size)} axes; "
                "expected the 2 or 3 axes of an image"
            )
        for name, number in [("cap", self.cap), *(("voxel_size", s) for s in self.voxel_size)]:
            if not (math.isfinite(number) and number > 0):
                raise ValueError(f"{name} holds {number}; expected a positive, finite number")


@dataclass(frozen=True, slots=True, eq=False)
class LabelBlock:
    """Truth and mask of a shard as class indices, and one voxel of nothing beyond the image.

    ```
    voxel          0   1   2   3   4   5         ■ core   □ halo   · padding beyond the image
    shard 0    · │ ■ │ ■ │ ■ │ □ │ □ │           owns the corners 0, 1, 2
    shard 1            │ □ │ □ │ ■ │ ■ │ ■ │ ·   owns the corners 3, 4, 5 and the last one, 6
    ```

    Attributes
    ----------
    truth, mask : unsigned int
        Classes 0..C-1; C is any other label and the padding; C + 1 is ignored, in the truth.
    voxels : tuple of slice
        The core in these arrays.
    corners : tuple of slice
        The corners of the shard, where element 0 is the corner between voxels 0 and 1.
    """

    truth: Labels
    mask: Labels
    voxels: tuple[slice, ...]
    corners: tuple[slice, ...]


def surface_halo(cap: float, voxel_size: Sequence[float]) -> tuple[int, ...]:
    """Voxels to read on every side of a shard so that distances up to a cap are exact.

    Per axis floor(cap / size) + 1: a corner that far away is the edge of a voxel one farther. A
    quotient that rounding left just under a whole number, such as 0.3 / 0.1, counts as whole.

    Parameters
    ----------
    cap : float
        Largest distance that is told apart, in the unit of the voxel size.
    voxel_size : sequence of float
        Size of a voxel along each axis.
    """
    return tuple(voxels_within(cap, size) + 1 for size in voxel_size)


def label_block(
    labels: tuple[NDArray[np.integer[Any]], NDArray[np.integer[Any]]],
    *,
    read: Region,
    core: Region,
    shape: Sequence[int],
    options: SurfaceOptions,
    cap: float,
) -> LabelBlock:
    """Return the truth and the mask that were read, checked and ready for distances up to a cap.

    Parameters
    ----------
    labels : pair of integer arrays
        Truth and mask in the box `read`, 2D or 3D, of any integer dtype.
    read, core : Region
        The box that was read, and the box that the shard owns, in voxels of the image.
    shape : sequence of int
        Shape of the whole image.
    options : SurfaceOptions
        Classes, voxel size and ignore label.
    cap : float
        Largest distance that will be asked for, which sets the halo.

    Raises
    ------
    ValueError
        If the arrays and the boxes do not fit together, a dtype is not integer, or `read` does
        not reach the halo round `core`.
    """
    _check_boxes(read, core, shape, surface_halo(cap, options.voxel_size))
    for name, array in zip(("truth", "mask"), labels, strict=True):
        _check_labels(name, array, read)
    sides = list(zip(read.start, read.stop, shape, strict=True))
    padding = [(int(start == 0), int(stop == size)) for start, stop, size in sides]
    inner = core.relative_to(
        [start - before for start, (before, _) in zip(read.start, padding, strict=True)]
    )
    last = [int(stop == size) for stop, size in zip(core.stop, shape, strict=True)]
    num_classes = options.num_classes
    truth, mask = (
        np.pad(_indices(array, num_classes, ignore), padding, constant_values=num_classes)
        for array, ignore in zip(labels, (options.ignore_label, None), strict=True)
    )
    corners = zip(inner.start, inner.stop, last, strict=True)
    return LabelBlock(
        truth, mask, inner.slices, tuple(slice(a - 1, b - 1 + end) for a, b, end in corners)
    )


def _indices(
    labels: NDArray[np.integer[Any]], num_classes: int, ignore_label: int | None
) -> Labels:
    """Return 0..C-1 as they are, C for other labels, C + 1 for ignored ones."""
    indices = np.full(labels.shape, num_classes, np.min_scalar_type(num_classes + 1))
    np.copyto(indices, labels, where=(labels >= 0) & (labels < num_classes), casting="unsafe")
    if ignore_label is not None:
        indices[labels == ignore_label] = num_classes + 1
    return indices


def _check_labels(name: str, labels: NDArray[np.integer[Any]], read: Region) -> None:
    if labels.dtype.kind not in "iu":
        raise ValueError(
            f"{name} has dtype {labels.dtype}; expected integer labels, convert it with "
            ".astype('uint8') or take the argmax of probabilities"
        )
    if labels.shape != read.shape:
        raise ValueError(
            f"{name} has shape {labels.shape}, but the box read has {read.shape}; "
            "pass the voxels of that box"
        )


def _check_boxes(read: Region, core: Region, shape: Sequence[int], halo: Sequence[int]) -> None:
    if not len(shape) == len(halo) == len(read.start) == len(core.start):
        raise ValueError(
            f"shape {tuple(shape)}, read {read}, core {core} and a voxel size of {len(halo)} axes "
            "do not go together; expected one number of axes"
        )
    whole = Region.whole(shape)
    if not (whole.contains(read) and read.contains(core)):
        raise ValueError(
            f"core {core} must lie in the box read, {read}, and that in an image of shape "
            f"{tuple(shape)}; cut the boxes at the image border"
        )
    needed = Region(
        tuple(start - far for start, far in zip(core.start, halo, strict=True)),
        tuple(stop + far for stop, far in zip(core.stop, halo, strict=True)),
    ).intersection(whole)
    if needed is None or not read.contains(needed):
        raise ValueError(
            f"the box read, {read}, does not reach the halo {tuple(halo)} round the core {core}; "
            f"read {needed}"
        )
