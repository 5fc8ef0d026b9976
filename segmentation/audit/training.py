"""All findings on a training: from the log somebody else wrote, and from our own epochs."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from segmentation.audit.finding import in_order
from segmentation.audit.log_csv import parse_csv
from segmentation.audit.log_metrics import metric_findings
from segmentation.audit.log_reset import reset_findings
from segmentation.audit.log_scores import score_findings
from segmentation.audit.log_settings import LogSettings, Stopping
from segmentation.audit.log_validation import validation_findings
from segmentation.audit.training_callbacks import callback_findings
from segmentation.audit.training_course import course_findings
from segmentation.audit.training_gap import gap_findings
from segmentation.audit.training_monitors import monitor_findings
from segmentation.audit.training_noise import noise_findings
from segmentation.training.history import history_csv

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from segmentation.audit.finding import Finding
    from segmentation.audit.log import TrainingLog
    from segmentation.audit.thresholds import Thresholds, TrainThresholds
    from segmentation.training.history import Epoch


def findings_of_log(log: TrainingLog, thresholds: Thresholds) -> list[Finding]:
    """Everything that a log tells, the gravest first.

    Parameters
    ----------
    log : TrainingLog
        As `segmentation.audit.log_csv` or `segmentation.audit.keras_text` read it.
    thresholds : Thresholds
        When to tell.
    """
    found = itertools.chain(
        validation_findings(log, thresholds),
        reset_findings(log, thresholds.train),
        score_findings(log, thresholds.train),
        metric_findings(log),
        monitor_findings(log),
        callback_findings(log, thresholds.train),
        _of_curves(log, thresholds.train),
    )
    return in_order(found)


def training_findings(
    epochs: Sequence[Epoch],
    *,
    monitor: Mapping[str, Any],
    classes: Sequence[str],
    settings: Mapping[str, Any],
    thresholds: TrainThresholds,
) -> list[Finding]:
    """Everything that the epochs of our own training tell, the gravest first.

    Parameters
    ----------
    epochs : sequence of Epoch
        With their four curves.
    monitor : mapping
        "name" and "direction" of the score that chose the epoch.
    classes : sequence of str
        Names, background first.
    settings : mapping
        Of `segmentation.training.settings.TrainSettings`, as far as known.
    thresholds : TrainThresholds
        When to tell.
    """
    if not epochs:
        return []
    log = log_of_epochs(epochs, monitor=monitor, classes=classes, settings=settings)
    found = [*callback_findings(log, thresholds), *_of_curves(log, thresholds)]
    return in_order(found)


def _of_curves(log: TrainingLog, thresholds: TrainThresholds) -> list[Finding]:
    return [
        *course_findings(log, thresholds),
        *gap_findings(log, thresholds),
        *noise_findings(log, thresholds),
    ]


def log_of_epochs(
    epochs: Sequence[Epoch],
    *,
    monitor: Mapping[str, Any],
    classes: Sequence[str],
    settings: Mapping[str, Any],
) -> TrainingLog:
    """Our own epochs as a log; see `training_findings`."""
    log = parse_csv(history_csv(epochs, classes))
    steps = settings.get("steps_per_epoch") or epochs[0].steps
    patience = settings.get("patience")
    name, direction = str(monitor["name"]), monitor.get("direction")
    known = LogSettings(
        stopping=Stopping(name, patience, direction=direction) if patience else None,
        epochs=max(len(epochs), -(-epochs[-1].planned_steps // steps)),
        steps=steps,
        batch_size=settings.get("batch_size"),
        learning_rate=settings.get("learning_rate"),
        monitor=name,
        batch_norm=any(epoch.curves["val_batchstats"] is not None for epoch in epochs),
    )
    return replace(log, settings=known)
