"""Checks on a stack that is to become a label: shape, values, classes, data type."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from storage.errors import StorageError
from storage.label_values import count_values
from storage.levels import SLAB_BYTES, slabs
from storage.ome_labels import LabelClass, label_classes
from storage.write_grid import WriteGrid

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from storage.sources import Stack
    from storage.volume import Image

MAX_CLASSES = 256
SHOWN_VALUES = 8


def check_label_shape(stack: Stack, image: Image) -> tuple[tuple[int, ...], ...]:
    """Shape of every level of a label: the image's without channels.

    Raises
    ------
    StorageError
        If the stack has other axes or another shape than the image's finest level.
    """
    axes = "".join(axis for axis in image.volumes[0].axes if axis != "c")
    shapes = tuple(
        tuple(n for axis, n in zip(volume.axes, volume.shape, strict=True) if axis != "c")
        for volume in image.volumes
    )
    if (stack.axes, stack.shape) != (axes, shapes[0]):
        raise StorageError(
            f"the labels have the shape {stack.shape} ({stack.axes}), but the image without "
            f"channels has {shapes[0]} ({axes}); give labels of this image, or their --axes"
        )
    return shapes


def scan_labels(stack: Stack, *, instances: bool) -> dict[int, int]:
    """Voxels per value of a whole stack; for instances of the largest value alone.

    Raises
    ------
    StorageError
        If a value is not a whole number, is negative, or there are too many for classes.
    """
    if stack.raw.dtype.kind == "f":
        _refuse_floats(stack)
    total: Counter[int] = Counter()
    for block in _blocks(stack):
        if block.dtype.kind == "i" and block.min() < 0:
            raise StorageError(
                f"the labels hold the negative value {block.min()}; labels are 0 for background "
                "and positive integers"
            )
        total.update({int(block.max()): 1} if instances else count_values(block))
        if not instances and len(total) > MAX_CLASSES:
            raise StorageError(
                f"the labels hold more than {MAX_CLASSES} different values; if they are ids of "
                "objects, say so with --instances"
            )
    return {max(total): 0} if instances else dict(sorted(total.items()))


def import_classes(
    values: Mapping[int, int], names: Sequence[str] | None
) -> tuple[LabelClass, ...]:
    """Classes of the values found, in default colours.

    Raises
    ------
    StorageError
        If a value has no name among those given.
    """
    if names is None:
        found = {value: f"class_{value}" for value in values}
        return label_classes(found | {0: "background"})
    if len(set(names)) != len(names) or "" in names or len(names) < 2:
        raise StorageError(
            f"classes {', '.join(names)!r} are not usable; expected at least two different names, "
            "that of the background first"
        )
    outside = {value: count for value, count in values.items() if value >= len(names)}
    if outside:
        listed = ", ".join(
            f"{value} ({count} voxels)" for value, count in list(outside.items())[:SHOWN_VALUES]
        )
        more = f" and {len(outside) - SHOWN_VALUES} more" * (len(outside) > SHOWN_VALUES)
        raise StorageError(
            f"the labels hold the values {listed}{more} outside the classes 0 to "
            f"{len(names) - 1} ({', '.join(names)}); name every class with --classes"
        )
    return label_classes(dict(enumerate(names)))


def label_dtype(values: Mapping[int, int]) -> str:
    """Smallest unsigned integer type that holds the values."""
    return np.min_scalar_type(max(values)).name


def _blocks(stack: Stack) -> Iterator[np.ndarray]:
    """The stack in the order of its files."""
    order = [stack.axes.index(axis) for axis in stack.file_axes]
    cell = tuple(n if axis in "yx" else 1 for axis, n in zip(stack.axes, stack.shape, strict=True))
    for start, stop in slabs(
        WriteGrid(stack.shape, cell), order, stack.raw.dtype.itemsize, SLAB_BYTES // 4
    ):
        block = stack.read(start, stop)
        yield block.astype(np.uint8) if block.dtype.kind == "b" else block


def _refuse_floats(stack: Stack) -> None:
    for block in _blocks(stack):
        fractional = block[block != np.floor(block)]
        if fractional.size:
            raise StorageError(
                f"the labels are {stack.raw.dtype} with fractional values such as "
                f"{fractional[0]:g}; expected integers: classes or ids, not probabilities"
            )
    raise StorageError(
        f"the labels are {stack.raw.dtype}, although all their values are whole numbers; "
        "save them as integers, such as array.astype('uint16')"
    )
