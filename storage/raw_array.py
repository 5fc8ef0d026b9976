"""An array in files, as its reader finds it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np

Region: TypeAlias = tuple[slice, ...]


@dataclass(frozen=True, slots=True)
class RawArray:
    """An array in files as its reader finds it.

    Attributes
    ----------
    axes : str or None
        Letters of ``tczyx``, ``s`` for colour samples and ``q`` for an axis that the file does
        not name; None if it names none.
    shape : tuple of int
        Voxels per axis.
    dtype : numpy.dtype
        In the file.
    read : callable
        Voxels of a tuple of slices; memory stays in proportion to them.
    voxel_size : mapping of str to float
        By spatial axis, where the file tells.
    unit : str or None
        UDUNITS name of the unit of `voxel_size`.
    """

    axes: str | None
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    read: Callable[[Region], np.ndarray]
    voxel_size: Mapping[str, float] = field(default_factory=dict)
    unit: str | None = None
