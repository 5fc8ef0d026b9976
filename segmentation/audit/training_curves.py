"""The curves of one score, and what can be measured on them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from segmentation.audit.finding import Curves
from segmentation.audit.log_settings import natural_direction
from segmentation.metrics.intervals import t_interval

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from segmentation.audit.log import Column, TrainingLog
    from segmentation.audit.log_settings import Direction

    Values = NDArray[np.float64]

# The longer prefixes first: one begins with another.
PREFIXES = ("val_batchstats_", "train_running_", "train_eval_", "val_")
PREFERRED = ("macro_foreground_dice", "balanced_accuracy", "dice", "iou", "accuracy", "acc")


@dataclass(frozen=True, slots=True)
class ScoreCurves:
    """One loss or score, on the training and the validation part.

    Attributes
    ----------
    name : str
        Without the name of a part.
    direction : "max" or "min"
        Whether more or less is better.
    running : float64, shape (epochs,), or None
        Of the training part, while the weights change, in training mode: a mean over the epoch.
    train_eval, val : float64, shape (epochs,), or None
        Of both parts with the weights at the end of the epoch, as they will be used.
    batchstats : float64, shape (epochs,), or None
        As ``val``, but BatchNorm takes the statistics of what it is shown.
    """

    name: str
    direction: Direction
    running: Values | None
    train_eval: Values | None
    val: Values | None
    batchstats: Values | None

    @property
    def sign(self) -> float:
        """Factor that makes more better."""
        return 1.0 if self.direction == "max" else -1.0

    @property
    def training(self) -> Values | None:
        """The training part: with fixed weights where that is known."""
        return self.running if self.train_eval is None else self.train_eval

    def scale(self, values: Values) -> float:
        """What a difference is measured in: itself for a score, the mean for a loss."""
        return 1.0 if self.direction == "max" else float(np.abs(values).mean()) or 1.0

    def evidence(self, title: str) -> Curves:
        """All of its curves."""
        lines = {
            "training, running mean": self.running,
            "training, fixed weights": self.train_eval,
            "validation": self.val,
            "validation, statistics of the batch": self.batchstats,
        }
        return drawn(title, self.name, {n: v for n, v in lines.items() if v is not None})


def drawn(title: str, label: str, lines: Mapping[str, Sequence[float | None] | Values]) -> Curves:
    """Curves over the epochs, which count from 1; what is no number leaves a gap."""
    return Curves(
        title,
        "epoch",
        label,
        tuple(
            (name, tuple((float(n), _finite(v)) for n, v in enumerate(values, start=1)))
            for name, values in lines.items()
        ),
    )


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def all_curves(log: TrainingLog) -> tuple[ScoreCurves, ...]:
    """Every score of a log with its curves, in the order of the columns."""
    names = dict.fromkeys(_base(name) for name in log.scored)
    found = []
    for name in names:
        if direction := natural_direction(name):
            running = _curve(log, f"train_running_{name}")
            found.append(
                ScoreCurves(
                    name,
                    direction,
                    _curve(log, name) if running is None else running,
                    _curve(log, f"train_eval_{name}"),
                    _curve(log, f"val_{name}"),
                    _curve(log, f"val_batchstats_{name}"),
                )
            )
    return tuple(found)


def main_curves(log: TrainingLog) -> ScoreCurves | None:
    """The score that tells most: the monitor, else Dice, IoU, accuracy, else a loss."""
    with_val = [one for one in all_curves(log) if one.val is not None]
    monitor = _base(log.settings.monitor or "")
    if named := [one for one in with_val if one.name == monitor]:
        return named[0]
    rising = [one for one in with_val if one.direction == "max"]
    for word in PREFERRED:
        if found := [one for one in rising if word in one.name.lower()]:
            return found[0]
    return next(iter([*rising, *with_val]), None)


def _base(name: str) -> str:
    for prefix in PREFIXES:
        if name.startswith(prefix):
            return name.removeprefix(prefix)
    return name


def _curve(log: TrainingLog, name: str) -> Values | None:
    """Values of a column; None where it is missing or has gaps."""
    column: Column = log.columns.get(name, ())
    values = np.array([math.nan if v is None else v for v in column], np.float64)
    return values if len(values) and np.isfinite(values).all() else None


def second_differences(values: Values) -> Values:
    """Second differences over √6: of independent noise they have its standard deviation."""
    return np.diff(values, 2) / math.sqrt(6)


def noise(values: Values) -> float:
    """Noise of a curve from epoch to epoch, without its trend.

    1.4826 times the median absolute deviation of the second differences over √6.
    """
    differences = second_differences(values)
    deviations = np.abs(differences - np.median(differences))
    return float(1.4826 * np.median(deviations))


def move_together(first: Values, second: Values) -> float:
    """Correlation of two curves' second differences: 1 where they jump as one."""
    one, other = second_differences(first), second_differences(second)
    if not one.std() or not other.std():
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])


def mean_interval(values: Values) -> tuple[float, float, float]:
    """Mean of neighbours in time, low and high of its 95 % interval.

    What follows each other is alike: the interval is wider by √((1 + r) / (1 − r)), with r the
    correlation of neighbours where it is above 0.
    """
    mean, low, high = t_interval(values.tolist())
    centred = values - mean
    square = float((centred**2).sum())
    alike = float((centred[1:] * centred[:-1]).sum()) / square if square else 0.0
    alike = min(max(alike, 0.0), 0.95)
    wider = math.sqrt((1 + alike) / (1 - alike))
    return mean, mean - (mean - low) * wider, mean + (high - mean) * wider


def slope_interval(values: Values) -> tuple[float, float]:
    """Slope of a line through a curve, per epoch, and its standard error."""
    when = np.arange(len(values)) - (len(values) - 1) / 2
    square = float((when**2).sum())
    slope = float((when * values).sum()) / square
    rest = values - values.mean() - slope * when
    return slope, math.sqrt(float((rest**2).sum()) / max(len(values) - 2, 1) / square)
