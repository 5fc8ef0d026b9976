"""One intensity transform for the whole volume: never per tile, so tiles cannot disagree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class IntensityTransform:
    """Maps ``low`` to 0 and ``high`` to 1, linearly, per channel.

    Attributes
    ----------
    low, high : tuple of float
        Intensities, one pair a channel.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]

    def __post_init__(self) -> None:
        flat = [c for c, (a, b) in enumerate(zip(self.low, self.high, strict=True)) if not a < b]
        if flat:
            raise ValueError(
                f"channel {flat[0]} has no contrast: intensities {self.low[flat[0]]} to "
                f"{self.high[flat[0]]}; expected low < high. Is the image constant?"
            )

    def __call__(self, block: np.ndarray) -> np.ndarray:
        """Normalised block.

        Parameters
        ----------
        block : numpy.ndarray
            Intensities, shape (..., channels), any real dtype.

        Returns
        -------
        numpy.ndarray
            float32, the same shape.

        Raises
        ------
        ValueError
            If a voxel is NaN or infinite, or too large for float32.
        """
        low = np.asarray(self.low, np.float32)
        scale = np.asarray(1.0 / (np.asarray(self.high) - np.asarray(self.low)), np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            result = block.astype(np.float32)
            result -= low
            result *= scale
        if block.dtype.kind == "f" and not np.isfinite(result).all():
            raise ValueError(non_finite_message(result))
        return result

    def to_dict(self) -> dict[str, Any]:
        """Plain form, for records."""
        return {"low": list(self.low), "high": list(self.high)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> IntensityTransform:
        """Inverse of `to_dict`."""
        return cls(tuple(data["low"]), tuple(data["high"]))


def non_finite_message(block: np.ndarray) -> str:
    """Message for a block that holds NaN or infinite voxels."""
    bad = int(np.count_nonzero(~np.isfinite(block)))
    return (
        f"{bad} voxels are NaN or infinite; the network expects finite intensities. "
        "Replace them (0, or the median) and import the image again"
    )
