"""What callbacks did to a training: a learning rate cut for nothing, a stop that cannot come."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from segmentation.audit.finding import Finding, Table
from segmentation.audit.log_settings import Plateau
from segmentation.audit.replay import Cut, replay_plateau, replay_stopping
from segmentation.audit.training_curves import drawn

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from segmentation.audit.log import Column, TrainingLog
    from segmentation.audit.log_settings import Stopping
    from segmentation.audit.thresholds import TrainThresholds

# A schedule changes the rate in most epochs, a callback in few.
_MOST_CHANGES = 1 / 3
_MANY_CUTS = 3


def callback_findings(log: TrainingLog, thresholds: TrainThresholds) -> Iterator[Finding]:
    """TRAIN-LR-COLLAPSE and TRAIN-ES-INERT."""
    yield from _collapse(log)
    yield from _inert(log, thresholds)


def learning_rate_cuts(log: TrainingLog) -> tuple[Cut, ...]:
    """Cuts that were logged, or those that ReduceLROnPlateau must have made.

    Where the first learning rate is not known it counts as 1.
    """
    for name in ("learning_rate", "lr"):
        if name in log.columns:
            return _logged_cuts(log.columns[name])
    plateau = log.settings.plateau
    if plateau is None or plateau.monitor not in log.columns:
        return ()
    rate = log.settings.learning_rate or 1.0
    return replay_plateau(log.columns[plateau.monitor], plateau, rate)


def _logged_cuts(rates: Column) -> tuple[Cut, ...]:
    """Drops of a column that changes in few epochs only."""
    known = [(n, rate) for n, rate in enumerate(rates, start=1) if rate is not None]
    pairs = list(itertools.pairwise(known))
    changed = [(n, old, new) for (n, old), (_, new) in pairs if new != old]
    if len(changed) > _MOST_CHANGES * len(rates) or any(new > old for _, old, new in changed):
        return ()
    return tuple(Cut(n, old, new) for n, old, new in changed)


def _collapse(log: TrainingLog) -> Iterator[Finding]:
    plateau = log.settings.plateau or Plateau()
    monitored = log.columns.get(plateau.monitor)
    cuts = learning_rate_cuts(log)
    if not cuts or monitored is None:
        return
    still = [cut for cut in cuts if _is_constant(monitored, cut, plateau)]
    learning = [cut for cut in cuts if _still_learns(log, cut, plateau)]
    if still or (learning and len(cuts) >= _MANY_CUTS):
        yield _collapse_finding(log, plateau, cuts, len(still), len(learning))


def _window(column: Column, cut: Cut, plateau: Plateau) -> list[float]:
    """Values of the epochs that were waited before a cut."""
    return [v for v in column[max(0, cut.epoch - plateau.patience) : cut.epoch] if v is not None]


def _is_constant(monitored: Column, cut: Cut, plateau: Plateau) -> bool:
    values = _window(monitored, cut, plateau)
    return len(values) > 1 and max(values) - min(values) <= plateau.min_delta


def _still_learns(log: TrainingLog, cut: Cut, plateau: Plateau) -> bool:
    """Whether the training loss fell while the callback waited."""
    column = log.columns.get("loss", log.columns.get("train_running_loss", ()))
    values = np.array(_window(column, cut, plateau))
    if len(values) < 4 or not np.isfinite(values).all():
        return False
    half = len(values) // 2
    first, second = values[:half], values[half:]
    spread = math.sqrt(first.var() / len(first) + second.var() / len(second))
    return bool(first.mean() - second.mean() > 2 * spread)


def _collapse_finding(
    log: TrainingLog, plateau: Plateau, cuts: Sequence[Cut], still: int, learning: int
) -> Finding:
    epochs = ", ".join(str(cut.epoch) for cut in cuts)
    first, last = cuts[0].before, cuts[-1].after
    fall = f"from {first:g} to {last:g}" if log.settings.learning_rate else f"×{last / first:.0e}"
    rows = tuple((cut.epoch, cut.before, cut.after) for cut in cuts)
    return Finding(
        code="TRAIN-LR-COLLAPSE",
        severity="warning",
        statement=f"The learning rate was cut after epochs {epochs}, {fall}, because "
        f"{plateau.monitor} no longer improved; at {still} of {len(cuts)} cuts it did not change "
        f"at all, and at {learning} the training loss was still falling.",
        rule=f"ReduceLROnPlateau (patience {plateau.patience}, factor {plateau.factor:g}, least "
        f"change {plateau.min_delta:g}) cuts on a monitor that stands still, or at least "
        f"{_MANY_CUTS} times while training improves; it stood still at {still} cuts.",
        advice="Mend the validation part first, then let the rate follow a fixed course, as "
        "`maskmill train` does (a cosine over --steps).",
        proves_not="It does not say that a higher learning rate would have ended better, only "
        "that this monitor was no reason to lower it.",
        evidence=(
            drawn("What the cuts were decided on", plateau.monitor, _decided_on(log, plateau)),
            Table("Cuts of the learning rate", ("after epoch", "before", "after"), rows),
        ),
    )


def _decided_on(log: TrainingLog, plateau: Plateau) -> dict[str, Column]:
    return {name: log.columns[name] for name in (plateau.monitor, "loss") if name in log.columns}


def _inert(log: TrainingLog, thresholds: TrainThresholds) -> Iterator[Finding]:
    stopping = log.settings.stopping
    planned = max(log.settings.epochs or 0, log.epochs)
    if stopping is None or not planned or stopping.patience < thresholds.inert_patience * planned:
        return
    column = log.columns.get(stopping.monitor, ())
    stopped = replay_stopping(column, stopping)
    if stopped.epoch is None:
        yield _inert_finding(log, stopping, stopped.best, planned, thresholds)


def _inert_finding(
    log: TrainingLog,
    stopping: Stopping,
    best: int | None,
    planned: int,
    thresholds: TrainThresholds,
) -> Finding:
    monitor, patience = stopping.monitor, stopping.patience
    column = log.columns.get(monitor, ())
    value = column[best - 1] if best else None
    found = f" It took epoch {best} for the best ({monitor} {value:.4g})." if value else ""
    rows: tuple[tuple[str, str | int | float | None], ...] = (
        ("monitor", monitor),
        ("patience", patience),
        ("planned epochs", planned),
        ("least change", stopping.min_delta),
        ("best epoch", best),
    )
    return Finding(
        code="TRAIN-ES-INERT",
        severity="warning",
        statement=f"Early stopping had no say: it waits {patience} of {planned} epochs, so it "
        f"could not stop before epoch {patience + 1} and never did.{found}",
        rule=f"A patience of at least {thresholds.inert_patience:.0%} of the planned epochs, and "
        f"no stop; it is {patience / planned:.0%}.",
        advice="Give a patience of about a tenth of the epochs, on a score of the validation part "
        "(`maskmill train CATALOG.yaml --monitor val_macro_foreground_dice --patience 10`).",
        proves_not="It does not say that the training went on for too long.",
        evidence=(
            Table("Early stopping", ("setting", "value"), rows),
            drawn("Its monitor", monitor, {monitor: column}),
        ),
    )


def with_stopping(log: TrainingLog, stopping: Stopping | None) -> TrainingLog:
    """The log with early stopping as told by hand, where the text says nothing of it."""
    if stopping is None or log.settings.stopping is not None:
        return log
    return replace(log, settings=replace(log.settings, stopping=stopping))
