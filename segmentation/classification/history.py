"""What is known of a classifier after every epoch, and the score that chooses the epoch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from segmentation.metrics.ratios import ratio
from segmentation.training.history import AnyEpoch
from segmentation.training.monitor import MonitorError
from segmentation.training.running import LEAST_PROBABILITY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

PART = "val"
BALANCED, CROSS_ENTROPY = SAMPLE_MONITORS = (f"{PART}_balanced_accuracy", f"{PART}_cross_entropy")
DIRECTIONS: Mapping[str, Literal["max", "min"]] = {BALANCED: "max", CROSS_ENTROPY: "min"}


@dataclass(frozen=True, slots=True)
class SampleRow:
    """Scores of one part after one epoch.

    Attributes
    ----------
    accuracy : float or None
        Share of the images whose most probable class is theirs.
    balanced_accuracy : float or None
        Mean of the recalls; None where a class has no image.
    recall : tuple of float or None
        Per class.
    cross_entropy : float or None
        Mean over the images of -ln p(true class), in nats.
    """

    accuracy: float | None
    balanced_accuracy: float | None
    recall: tuple[float | None, ...]
    cross_entropy: float | None

    @classmethod
    def of(cls, confusion: NDArray[np.int64], surprise: float) -> SampleRow:
        """Scores of counts, rows truth and columns prediction, and of the sum of -ln p."""
        total = int(confusion.sum())
        hits, support = np.diagonal(confusion).tolist(), confusion.sum(axis=1).tolist()
        recall = tuple(ratio(hit, images) for hit, images in zip(hits, support, strict=True))
        known = [value for value in recall if value is not None]
        whole = len(known) == len(recall)
        balanced = math.fsum(known) / len(known) if whole else None
        entropy = surprise / total if total else None
        return cls(ratio(sum(hits), total), balanced, recall, entropy)

    @classmethod
    def of_probabilities(
        cls, probabilities: NDArray[np.floating[Any]], labels: NDArray[np.int64]
    ) -> SampleRow:
        """Scores of probabilities, shape (samples, classes)."""
        count = probabilities.shape[1]
        confusion = np.zeros((count, count), np.int64)
        np.add.at(confusion, (labels, probabilities.argmax(axis=1)), 1)
        chosen = probabilities[np.arange(len(labels)), labels].astype(np.float64)
        return cls.of(confusion, -float(np.log(np.maximum(chosen, LEAST_PROBABILITY)).sum()))

    def named(self, class_names: Sequence[str]) -> dict[str, float | None]:
        """Every score by its name."""
        return {
            "accuracy": self.accuracy,
            "balanced_accuracy": self.balanced_accuracy,
            "cross_entropy": self.cross_entropy,
            **{f"recall_{c}": value for c, value in zip(class_names, self.recall, strict=True)},
        }


SampleEpoch: TypeAlias = AnyEpoch[SampleRow]


@dataclass(frozen=True, slots=True)
class SampleMonitor:
    """A score of the validation part, with its direction.

    Attributes
    ----------
    name : str
        One of `SAMPLE_MONITORS`.
    direction : "max" or "min"
        Whether more or less of it is better.
    """

    name: str
    direction: Literal["max", "min"]

    def score(self, epoch: SampleEpoch) -> float | None:
        """What it says about an epoch; None where it is undefined."""
        row = epoch.curves[PART]
        value: float | None = getattr(row, self.name.removeprefix(f"{PART}_"), None)
        return value

    def is_better(self, epoch: SampleEpoch, best: SampleEpoch) -> bool:
        """Whether an epoch is better; undefined is worse than anything."""
        new, old = self.score(epoch), self.score(best)
        if new is None or old is None:
            return new is not None
        return new > old if self.direction == "max" else new < old


def sample_monitor(name: str, direction: str | None = None) -> SampleMonitor:
    """Monitor of a training of a classifier, checked against what every epoch will log.

    Parameters
    ----------
    name : str
        As asked for.
    direction : "max", "min" or None
        None takes the direction the score has by nature; it is never guessed from a name.

    Raises
    ------
    MonitorError
        If no epoch will log the name, it is a score of the training part, or the direction is
        the wrong one.
    """
    known = ", ".join(SAMPLE_MONITORS)
    if name not in SAMPLE_MONITORS:
        own = name.startswith(PART)
        raise MonitorError(
            "TRAIN-MONITOR-MISSING" if own else "TRAIN-MONITOR-ON-TRAIN",
            f"no epoch of a classifier logs {name!r}; expected one of {known}"
            if own
            else f"monitor {name!r} is no score of the validation part: it would choose the epoch "
            f"by what the network was trained on. Expected one of {known}",
        )
    if direction not in (None, DIRECTIONS[name]):
        raise MonitorError(
            "TRAIN-MONITOR-DIRECTION",
            f"direction {direction!r} would keep the worst epoch by {name}; leave it out, "
            f"or give {DIRECTIONS[name]!r}",
        )
    return SampleMonitor(name, DIRECTIONS[name])
