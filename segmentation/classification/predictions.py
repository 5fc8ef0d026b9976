"""What a classifier says of samples, and what is true."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

DECIMALS = 6
TOP = 10**DECIMALS
UNKNOWN = -1  # label of a sample without truth
WORST = 20


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """Probabilities of samples, and their true classes.

    Attributes
    ----------
    names : tuple of str
        Of the samples.
    probabilities : float64, shape (samples, classes)
        Of every class.
    labels : int64, shape (samples,)
        True classes; `UNKNOWN` where there is no truth.
    groups : tuple of str
        What a sample belongs to, such as its patient; samples of one group are not independent.
    """

    names: tuple[str, ...]
    probabilities: NDArray[np.float64]
    labels: NDArray[np.int64]
    groups: tuple[str, ...]

    def __post_init__(self) -> None:
        samples = len(self.names)
        if self.probabilities.ndim != 2 or not (
            len(self.probabilities) == len(self.labels) == len(self.groups) == samples
        ):
            raise ValueError(
                f"{samples} names, probabilities of shape {self.probabilities.shape}, "
                f"{len(self.labels)} labels and {len(self.groups)} groups; expected one row of "
                "probabilities, one label and one group for each name"
            )
        count = self.probabilities.shape[1]
        bad = self.labels[(self.labels < UNKNOWN) | (self.labels >= count)]
        if bad.size:
            raise ValueError(
                f"label {bad[0]} is none of the classes 0 … {count - 1}; "
                f"use {UNKNOWN} for a sample without truth"
            )

    @property
    def levels(self) -> NDArray[np.int64]:
        """Probabilities in millionths, as they are written."""
        return np.asarray(np.rint(self.probabilities * TOP), np.int64)

    @property
    def classes(self) -> NDArray[np.int64]:
        """Predicted class: the most probable as written; of equal ones the first."""
        return np.asarray(self.levels.argmax(axis=1), np.int64)

    def known(self) -> Predictions:
        """The samples that have a truth, sorted by name, so that their order changes nothing."""
        order = sorted(range(len(self.names)), key=lambda place: self.names[place])
        kept = [place for place in order if self.labels[place] != UNKNOWN]
        return Predictions(
            tuple(self.names[place] for place in kept),
            self.probabilities[kept],
            self.labels[kept],
            tuple(self.groups[place] for place in kept),
        )


def worst_errors(predictions: Predictions, most: int = WORST) -> list[dict[str, Any]]:
    """The mistakes, those first that give the true class the smallest probability."""
    rows = [
        {
            "id": name,
            "label": int(label),
            "prediction": int(found),
            "p_true": int(row[label]) / TOP,
            "p_prediction": int(row[found]) / TOP,
        }
        for name, label, found, row in zip(
            predictions.names,
            predictions.labels,
            predictions.classes,
            predictions.levels,
            strict=True,
        )
        if label not in (UNKNOWN, found)
    ]
    return sorted(rows, key=lambda row: (row["p_true"], row["id"]))[:most]
