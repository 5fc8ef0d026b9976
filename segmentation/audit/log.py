"""What is known of a training from its log: a column a curve, and what was printed after it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from segmentation.audit.log_settings import LogSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

Column = tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class LoggedEvaluation:
    """A loss and an accuracy that one call printed.

    Attributes
    ----------
    samples : int or None
        It was called with.
    loss, accuracy : float
        As printed.
    digits : int
        Decimals of the accuracy.
    call : str
        As written, such as ``test_function(ins)``.
    """

    samples: int | None
    loss: float
    accuracy: float
    digits: int
    call: str = "evaluate"


@dataclass(frozen=True, slots=True)
class LoggedPredictions:
    """Rows that ``predict`` printed.

    Attributes
    ----------
    name : str
        What was predicted.
    rows, columns : int
        Samples and classes.
    classes : tuple of int
        Those predicted.
    saturated : float
        Share of the rows with nothing but exact 0 and 1.
    """

    name: str
    rows: int
    columns: int
    classes: tuple[int, ...]
    saturated: float


@dataclass(frozen=True, slots=True)
class TrainingLog:
    """A training as it was written down.

    Attributes
    ----------
    columns : mapping of str to tuple of float or None
        By name, one value an epoch; None where it was not logged.
    epochs : int
        That were logged.
    settings : LogSettings
        How it was made.
    evaluations : tuple of LoggedEvaluation
        Printed after it, in their order.
    predictions : tuple of LoggedPredictions
        Printed after it.
    results : tuple of mapping of str to float
        Lines of scores that belong to no epoch, each of them of its own training.
    """

    columns: Mapping[str, Column] = field(default_factory=dict)
    epochs: int = 0
    settings: LogSettings = field(default_factory=LogSettings)
    evaluations: tuple[LoggedEvaluation, ...] = ()
    predictions: tuple[LoggedPredictions, ...] = ()
    results: tuple[Mapping[str, float], ...] = ()

    def last(self, name: str) -> float | None:
        """Last value of a column; None where there is none."""
        values = [value for value in self.columns.get(name, ()) if value is not None]
        return values[-1] if values else None

    @property
    def scored(self) -> list[str]:
        """Columns that are curves of a loss or a score."""
        other = ("epoch", "step", "steps", "seconds", "best", "lr", "learning_rate", "time")
        return [name for name in self.columns if name.lower() not in other]
