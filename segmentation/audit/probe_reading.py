"""What the answers to the probes of one layout say."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from math import isfinite, nan
from typing import TYPE_CHECKING

import numpy as np

from segmentation.audit.probe_fixtures import (
    BAD,
    FRACTIONS,
    GOOD,
    HALF,
    HARD,
    INVERTED,
    PERFECT,
    SURE,
    Probe,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from segmentation.audit.probe_layouts import Layout

# Relative difference of float32 sums that count as equal.
ROUNDING = 1e-5
# How much further from the ideal a layout may be than the best one.
AS_GOOD = 0.01
SCORES = {
    "accuracy": "the accuracy of the voxels",
    "dice": "the mean Dice of the classes",
    "iou": "the mean IoU of the classes",
    "mean_iou": "the mean IoU with background",
}


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """An answer.

    Attributes
    ----------
    probe : Probe
        The question.
    value : float, optional
        What was given; it may be NaN. None if it raised or was no single number.
    error : str, optional
        Type and message of what was raised.
    shape : tuple of int
        Of the answer, where that was no single number.
    """

    probe: Probe
    value: float | None
    error: str | None
    shape: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """All answers in one layout.

    Attributes
    ----------
    results : tuple of ProbeResult
        The answers; at least one.
    """

    results: tuple[ProbeResult, ...]

    @classmethod
    def of(cls, results: Sequence[ProbeResult]) -> Reading:
        """Read answers of one layout."""
        return cls(tuple(results))

    @property
    def layout(self) -> Layout:
        """How masks and outputs were handed over."""
        return self.results[0].probe.layout

    def value(self, name: str) -> float:
        """Answer to a probe; NaN where there is none."""
        found = (one.value for one in self.results if one.probe.name == name)
        value = next(found, None)
        return nan if value is None else value

    def expected(self, name: str, score: str) -> float:
        """What a score of that probe is; NaN where there is none."""
        found = (one.probe.expected for one in self.results if one.probe.name == name)
        return next(found, {}).get(score, nan)

    def asked(self, name: str) -> bool:
        """Whether the probe was put in this layout."""
        return any(one.probe.name == name for one in self.results)

    def same(self, first: str, second: str, tolerance: float) -> bool:
        """Whether two probes have the same answer, which is a number."""
        return abs(self.value(first) - self.value(second)) <= tolerance

    @property
    def share(self) -> float:
        """Mean of the masks of the perfect prediction: the share of the class in a plane."""
        return next(float(np.mean(r.probe.truth)) for r in self.results if r.probe.name == PERFECT)

    @property
    def rises(self) -> bool | None:
        """Whether more is better; None if it does not tell right from wrong."""
        for right, wrong in ((PERFECT, INVERTED), (GOOD, BAD)):
            gain = self.value(right) - self.value(wrong)
            if isfinite(gain) and abs(gain) > self._rounding:
                return gain > 0
        return None

    @property
    def best(self) -> float:
        """What a right prediction gets."""
        perfect = self.value(PERFECT)
        return perfect if isfinite(perfect) else self.value(SURE)

    @property
    def fits(self) -> bool:
        """Whether nothing is scored better than what is right."""
        rises = self.rises
        if rises is None or not isfinite(self.best):
            return False
        sign = 1 if rises else -1
        others = [self.value(name) for name in HARD if isfinite(self.value(name))]
        return all(sign * (other - self.best) <= self._rounding for other in others)

    @property
    def deviation(self) -> float:
        """Distance of a right prediction from 1 for a score, from 0 for a loss."""
        return abs(self.best - (1.0 if self.rises else 0.0))

    @property
    def taken(self) -> bool:
        """Whether it raised nothing here."""
        return all(one.value is not None for one in self.results)

    @property
    def reads_integers(self) -> bool:
        """Whether one-hot masks are cut off to integers, as labels voxel by voxel would be."""
        values = [self.value(name) for name in FRACTIONS.values()]
        lost = abs(values[0] - values[1]) <= self._rounding
        return lost and abs(values[0] - self.value(HALF)) > self._rounding

    @property
    def _rounding(self) -> float:
        return ROUNDING * max(1.0, abs(self.best) if isfinite(self.best) else 1.0)

    def cost(self, name: str) -> float:
        """How much worse than a right prediction a probe is."""
        return (1 if self.rises else -1) * (self.best - self.value(name))

    def likeness(self, tolerance: float) -> str | None:
        """Score with which all answers on predictions without doubt agree, in words."""
        names = [name for name in HARD if self.asked(name)]
        for score, words in SCORES.items():
            expected = [self.expected(name, score) for name in names]
            wanted = expected if self.rises else [1 - value for value in expected]
            pairs = zip(names, wanted, strict=True)
            if all(abs(self.value(name) - value) <= tolerance for name, value in pairs):
                return words if self.rises else f"one minus {words}"
        return None


def readings(results: Iterable[ProbeResult]) -> list[Reading]:
    """Answers by layout, in the order of the probes."""
    return [Reading.of(list(part)) for _, part in groupby(results, key=lambda r: r.probe.layout)]


def fitting(found: Iterable[Reading], *, loss: bool = False) -> list[Reading]:
    """Readings in the layouts that a metric was meant for.

    Those in which a right prediction is best and as near as anywhere to 1, or 0 for a loss. What
    rises in one layout and falls in another was meant to rise, but for a loss.

    Parameters
    ----------
    found : iterable of Reading
        In all layouts.
    loss : bool
        Whether it is meant to fall.
    """
    good = [one for one in found if one.fits]
    # What a network gives comes first: products of label maps can be nearer to 1 by accident.
    outputs = [one for one in good if one.layout.output != "labels"] or good
    nearest = min((one.deviation for one in outputs), default=0.0)
    good = [one for one in good if abs(one.deviation - nearest) <= AS_GOOD]
    meant = [one for one in good if one.rises != loss] or good
    binary = any(one.layout.output == "plane" for one in meant)
    return [one for one in meant if not (binary and one.reads_integers)]
