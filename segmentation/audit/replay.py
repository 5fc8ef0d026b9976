"""Callbacks of Keras, replayed on what was logged.

Keras 3 compares in the same way as Keras 2: a value counts as better if it is so by more than
``min_delta`` (keras/src/callbacks/monitor_callback.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from segmentation.audit.log import Column
    from segmentation.audit.log_settings import Direction, Plateau, Stopping


@dataclass(frozen=True, slots=True)
class Cut:
    """One cut of the learning rate.

    Attributes
    ----------
    epoch : int
        After which it was made, from 1.
    before, after : float
        Learning rates.
    """

    epoch: int
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class Stopped:
    """What early stopping did.

    Attributes
    ----------
    epoch : int or None
        After which it stopped, from 1; None if it never did.
    best : int or None
        Epoch that it took for the best; None if nothing was logged.
    """

    epoch: int | None
    best: int | None


def is_better(value: float, best: float | None, direction: Direction, min_delta: float) -> bool:
    """Whether a value improves on the best one by more than the least change."""
    if best is None:
        return True
    delta = abs(min_delta)
    return value - delta > best if direction == "max" else value + delta < best


def replay_plateau(values: Column, plateau: Plateau, learning_rate: float) -> tuple[Cut, ...]:
    """Every cut that ReduceLROnPlateau made.

    Parameters
    ----------
    values : tuple of float or None
        Its monitor, epoch by epoch.
    plateau : Plateau
        How it was set.
    learning_rate : float
        At the start.
    """
    cuts: list[Cut] = []
    best: float | None = None
    waited = resting = 0
    rate = learning_rate
    for epoch, value in enumerate(values, start=1):
        if value is None:
            continue
        if resting:
            resting, waited = resting - 1, 0
        if is_better(value, best, plateau.effective, plateau.min_delta):
            best, waited = value, 0
            continue
        waited += 0 if resting else 1
        if not resting and waited >= plateau.patience and rate > plateau.min_lr:
            cuts.append(Cut(epoch, rate, max(rate * plateau.factor, plateau.min_lr)))
            rate, waited, resting = cuts[-1].after, 0, plateau.cooldown
    return tuple(cuts)


def replay_stopping(values: Column, stopping: Stopping) -> Stopped:
    """When EarlyStopping stopped, and which epoch it took for the best.

    Parameters
    ----------
    values : tuple of float or None
        Its monitor, epoch by epoch.
    stopping : Stopping
        How it was set.
    """
    best: float | None = None
    best_epoch: int | None = None
    waited = 0
    for epoch, value in enumerate(values, start=1):
        if value is None:
            continue
        waited += 1
        if is_better(value, best, stopping.effective, stopping.min_delta):
            best, best_epoch, waited = value, epoch, 0
        elif waited >= stopping.patience and epoch > 1:
            return Stopped(epoch, best_epoch)
    return Stopped(None, best_epoch)
