"""Region: a half-open box of voxels."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_AXIS_RANGE = re.compile(r"([a-z])=(\d*):(\d*)")


@dataclass(frozen=True, slots=True)
class Region:
    """Half-open box ``[start, stop)``, in voxels, in axis order.

    Attributes
    ----------
    start, stop : tuple of int
        First voxel inside and first voxel outside, along each axis.
    """

    start: tuple[int, ...]
    stop: tuple[int, ...]

    def __post_init__(self) -> None:
        if any(a >= b for a, b in zip(self.start, self.stop, strict=True)):
            raise ValueError(
                f"region from {self.start} to {self.stop} is empty; "
                "every stop must be greater than its start"
            )

    @classmethod
    def whole(cls, shape: Sequence[int]) -> Region:
        """The region that covers an array of this shape."""
        return cls((0,) * len(shape), tuple(shape))

    @property
    def shape(self) -> tuple[int, ...]:
        """Extent along each axis, in voxels."""
        return tuple(b - a for a, b in zip(self.start, self.stop, strict=True))

    @property
    def voxels(self) -> int:
        """Number of voxels."""
        return math.prod(self.shape)

    @property
    def slices(self) -> tuple[slice, ...]:
        """Slices that cut the region out of an array."""
        return tuple(slice(a, b) for a, b in zip(self.start, self.stop, strict=True))

    def intersection(self, other: Region) -> Region | None:
        """The box in both, or None."""
        start = tuple(map(max, self.start, other.start))
        stop = tuple(map(min, self.stop, other.stop))
        if any(a >= b for a, b in zip(start, stop, strict=True)):
            return None
        return Region(start, stop)

    def relative_to(self, origin: Sequence[int]) -> Region:
        """The same box seen from an origin."""
        return Region(
            tuple(a - o for a, o in zip(self.start, origin, strict=True)),
            tuple(b - o for b, o in zip(self.stop, origin, strict=True)),
        )

    def contains(self, other: Region) -> bool:
        """Whether another region lies inside this one."""
        return self.intersection(other) == other


def parse_region(text: str | None, axes: str, shape: Sequence[int]) -> Region:
    """Region from ``z=0:12,y=100:612``; axes left out are whole.

    Parameters
    ----------
    text : str or None
        Ranges in voxels of level 0, half open; None is the whole volume.
    axes : str
        Axis names of the volume, such as ``zyx``.
    shape : sequence of int
        Shape of the volume.

    Raises
    ------
    ValueError
        If the text is malformed, names an axis twice or an unknown one, is empty or leaves the
        volume.
    """
    start, stop = [0] * len(axes), list(shape)
    named: set[str] = set()
    for part in filter(None, (text or "").replace(" ", "").split(",")):
        match = _AXIS_RANGE.fullmatch(part)
        if match is None:
            raise ValueError(f"region part {part!r} is not AXIS=START:STOP; write z=0:12,y=100:612")
        if match[1] not in axes:
            raise ValueError(
                f"region names the axis {match[1]!r}; the volume has {', '.join(axes)}"
            )
        if match[1] in named:
            raise ValueError(f"region names the axis {match[1]!r} twice; give it one range")
        named.add(match[1])
        axis = axes.index(match[1])
        start[axis] = int(match[2] or 0)
        stop[axis] = int(match[3] or shape[axis])
        _check_range(part, start[axis], stop[axis], shape[axis])
    return Region(tuple(start), tuple(stop))


def _check_range(part: str, start: int, stop: int, size: int) -> None:
    if stop > size:
        raise ValueError(f"region {part} leaves the volume; that axis ends at {size}")
    if start >= stop:
        raise ValueError(f"region {part} is empty; the stop must be greater than the start")
