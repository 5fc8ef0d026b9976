"""Intensities of images in a few numbers, and what a network makes of such a range."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from segmentation.audit.finding import Finding, Table, listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from segmentation.audit.thresholds import DataThresholds

SHOWN = 8
HEADS = ("image", "smallest", "1 % below", "mean", "SD", "99 % below", "largest")


@dataclass(frozen=True, slots=True)
class Intensities:
    """Intensities of one image, or of a few sections of it.

    Attributes
    ----------
    mean, sd : float
        Of all voxels looked at.
    smallest, low, high, largest : float
        The extremes, and between them the percentiles 1 and 99.
    """

    mean: float
    sd: float
    smallest: float
    low: float
    high: float
    largest: float

    @classmethod
    def of(cls, voxels: Iterable[NDArray[np.float64]]) -> Intensities:
        """Those of some arrays together; NaN where a voxel is not finite."""
        flat = np.concatenate([np.asarray(block, np.float64).ravel() for block in voxels])
        if not np.isfinite(flat).all():
            return cls(*[float("nan")] * 6)
        low, high = np.percentile(flat, (1, 99))
        numbers = (flat.mean(), flat.std(), flat.min(), low, high, flat.max())
        return cls(*(float(number) for number in numbers))

    def row(self, name: str) -> tuple[str | float, ...]:
        """Cells of a table with the heads ``HEADS``."""
        return (name, self.smallest, self.low, self.mean, self.sd, self.high, self.largest)


def intensity_findings(
    names: Sequence[str],
    intensities: Sequence[Intensities],
    thresholds: DataThresholds,
    *,
    normalised: bool,
) -> list[Finding]:
    """Whether images come to a network in a range in which it can work.

    Parameters
    ----------
    names : sequence of str
        Of the images.
    intensities : sequence of Intensities
        As the network gets them, or, if `normalised`, before that.
    thresholds : DataThresholds
        When a range is said to be unscaled.
    normalised : bool
        Whether every image is brought to its percentiles 1 and 99 first, as ``maskmill train``
        does. A network without a normalising layer in front gets the numbers as they are.
    """
    found = list(zip(names, intensities, strict=True))
    flat = [(name, one) for name, one in found if not one.high > one.low]
    usable = [(name, one) for name, one in found if one.high > one.low]
    bright = [(name, one) for name, one in usable if _unscaled(one, thresholds, normalised)]
    return [*_flat(flat), *_bright(bright, thresholds, normalised)]


def _unscaled(one: Intensities, thresholds: DataThresholds, normalised: bool) -> bool:
    return (
        _largest(one, normalised) > thresholds.unscaled_most
        or _offset(one, normalised) > thresholds.unscaled_ratio
    )


def _largest(one: Intensities, normalised: bool) -> float:
    """Largest size of an intensity that the network gets."""
    if not normalised:
        return max(abs(one.smallest), abs(one.largest))
    return max(one.largest - one.low, one.low - one.smallest) / (one.high - one.low)


def _offset(one: Intensities, normalised: bool) -> float:
    """Mean in standard deviations; about the middle of the range where it is normalised."""
    return 0.0 if normalised or not one.sd else abs(one.mean) / one.sd


def _table(found: Sequence[tuple[str, Intensities]]) -> Table:
    rows = tuple(one.row(name) for name, one in found[:SHOWN])
    return Table("Intensities of the sections looked at", HEADS, rows)


def _flat(found: Sequence[tuple[str, Intensities]]) -> Iterator[Finding]:
    if found:
        names = listed([name for name, _ in found])
        yield Finding(
            "DATA-UNSCALED",
            "error",
            f"The images {names} have no contrast, or hold values that are no numbers.",
            "found if the percentiles 1 and 99 of an image are equal or not finite; "
            f"{len(found)} images are so",
            "Look at the images with another program; export them again, and import them with "
            "`maskmill import`.",
            "That the whole volume is empty: only a few sections were looked at.",
            (_table(found),),
        )


def _bright(
    found: Sequence[tuple[str, Intensities]], thresholds: DataThresholds, normalised: bool
) -> Iterator[Finding]:
    if not found:
        return
    name, one = max(found, key=lambda item: _largest(item[1], normalised))
    most, offset = _largest(one, normalised), _offset(one, normalised)
    after = "after its percentiles 1 and 99 became 0 and 1" if normalised else "as they are"
    yield Finding(
        "DATA-UNSCALED",
        "warning",
        f"{len(found)} images reach the network with intensities far from 0 to 1: in {name} "
        f"the largest is {most:.4g}, {after}.",
        f"found if an intensity exceeds {thresholds.unscaled_most:g} (measured {most:.4g}) or the "
        f"mean exceeds {thresholds.unscaled_ratio:g} standard deviations (measured {offset:.3g})",
        _advice(normalised),
        "That the network fails: one that begins with a normalisation of its own can bear it.",
        (_table(found),),
    )


def _advice(normalised: bool) -> str:
    if normalised:
        return (
            "A few voxels are much brighter than all others, such as dead or hot pixels: remove "
            "them, or train with wider percentiles, such as `maskmill train "
            "--intensity-percentiles 0,99.99`."
        )
    return (
        "Bring intensities to about 0 to 1 before training and before every prediction, by the "
        "same rule: `maskmill train` and `maskmill pack --intensity-percentiles 1,99` do so."
    )
