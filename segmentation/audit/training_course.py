"""Whether a training got anywhere: it diverged, learned nothing, or had not finished."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from segmentation.audit.finding import Finding
from segmentation.audit.replay import replay_stopping
from segmentation.audit.training_curves import all_curves, drawn, main_curves, slope_interval

if TYPE_CHECKING:
    from collections.abc import Iterator

    from segmentation.audit.log import Column, TrainingLog
    from segmentation.audit.thresholds import TrainThresholds
    from segmentation.audit.training_curves import ScoreCurves

_FEWEST = 5
_FEWEST_FOR_SLOPE = 8
# A loss that fell by less than this share of its first value did not fall.
_FELL = 0.1
_NEARLY_PERFECT = 0.9


def course_findings(log: TrainingLog, thresholds: TrainThresholds) -> Iterator[Finding]:
    """TRAIN-DIVERGED, TRAIN-NOT-LEARNING and TRAIN-UNFINISHED."""
    diverged = list(_diverged(log, thresholds))
    yield from diverged
    curves = main_curves(log)
    if diverged or curves is None:
        return
    yield from _not_learning(log, curves, thresholds)
    yield from _unfinished(log, curves, thresholds)


def _diverged(log: TrainingLog, thresholds: TrainThresholds) -> Iterator[Finding]:
    name = next((n for n in log.scored if "loss" in n and not n.startswith("val_")), None)
    known = [v for v in log.columns.get(name or "", ()) if v is not None]
    if name is None or not known:
        return
    broken = next((n for n, v in enumerate(known, start=1) if not math.isfinite(v)), None)
    if broken is not None:
        yield _divergence(log, name, f"is no number from epoch {broken} on", "not a finite number")
    elif len(known) >= _FEWEST and known[0] > 0 and known[-1] > thresholds.growth * known[0]:
        times = known[-1] / known[0]
        yield _divergence(
            log,
            name,
            f"rose from {known[0]:.4g} to {known[-1]:.4g}, {times:.1f} times as much",
            f"at the end more than {thresholds.growth:g} times the first value; it is "
            f"{times:.1f} times",
        )


def _divergence(log: TrainingLog, name: str, what: str, rule: str) -> Finding:
    return Finding(
        code="TRAIN-DIVERGED",
        severity="error",
        statement=f"The training diverged: its {name} {what}.",
        rule=f"The training loss is {rule}.",
        advice="Train again with a tenth of the learning rate (`maskmill train CATALOG.yaml "
        "--learning-rate …`), and look first at the intensities with `maskmill audit "
        "CATALOG.yaml`: unscaled images do the same.",
        proves_not="It does not say that the network or the data cannot be learned.",
        evidence=(drawn("Training loss", name, {name: log.columns[name]}),),
    )


def _not_learning(
    log: TrainingLog, curves: ScoreCurves, thresholds: TrainThresholds
) -> Iterator[Finding]:
    start = max(1, math.ceil(thresholds.learning_share * log.epochs))
    known = [c for c in (curves.running, curves.train_eval, curves.val) if c is not None]
    chance, what = _chance(log, curves)
    if curves.direction == "min" or log.epochs < _FEWEST or chance is None:
        return
    farthest = max(float(np.abs(curve[start:] - chance).max()) for curve in known)
    if farthest >= thresholds.near_chance:
        return
    yield Finding(
        code="TRAIN-NOT-LEARNING",
        severity="warning",
        statement=f"The network learned next to nothing: from epoch {start + 1} to {log.epochs} "
        f"its {curves.name} stays within {farthest:.2f} of {chance:.2f}, {what}.",
        rule=f"Training and validation stay within {thresholds.near_chance:g} of chance after "
        f"{thresholds.learning_share:.0%} of the epochs; the farthest is {farthest:.3f} away.",
        advice="Learn one sample by heart first (`maskmill train CATALOG.yaml "
        "--overfit-one`); if that works, raise the learning rate, 1e-3 or 3e-3 for Adam, and "
        "train for more steps.",
        proves_not="It does not say whether the learning rate, the labels or the network is the "
        "cause.",
        evidence=(curves.evidence("Scores stay near chance"),),
    )


def _chance(log: TrainingLog, curves: ScoreCurves) -> tuple[float | None, str]:
    if curves.name == "macro_foreground_dice" or curves.name.startswith("dice_"):
        is_ours = curves.train_eval is not None
        if is_ours:
            return 0.0, "which a mask of background alone has"
    classes = log.settings.num_classes
    if classes:
        return 1 / classes, f"which guessing among {classes} classes has"
    first = next((c for c in (curves.running, curves.val) if c is not None), None)
    if first is None or float(first[0]) > _NEARLY_PERFECT or _loss_fell(log):
        return None, ""
    return float(first[0]), "where it was after the first epoch"


def _loss_fell(log: TrainingLog) -> bool:
    known: Column = log.columns.get("loss", ())
    values = [v for v in known if v is not None]
    return bool(values) and values[-1] < (1 - _FELL) * values[0]


def _unfinished(
    log: TrainingLog, curves: ScoreCurves, thresholds: TrainThresholds
) -> Iterator[Finding]:
    val = curves.val
    if val is None or curves.direction == "min" or len(val) < _FEWEST_FOR_SLOPE or _stopped(log):
        return
    last = val[-max(4, len(val) // 3) :]
    slope, error = slope_interval(last)
    gain = slope * len(val) / 10
    if gain <= thresholds.still_rising or slope <= 2 * error:
        return
    yield Finding(
        code="TRAIN-UNFINISHED",
        severity="warning",
        statement=f"The training ended too early: in the last {len(last)} of {len(val)} epochs "
        f"the validation {curves.name} still rose, by {gain:.3f} for every tenth of the "
        f"training, to {val[-1]:.3f}.",
        rule=f"Validation gains more than {thresholds.still_rising:g} per tenth of the epochs at "
        f"the end, by more than two standard errors; it is {gain:.3f} ± "
        f"{error * len(val) / 10:.3f}.",
        advice="Train for two to three times as many steps (`maskmill train CATALOG.yaml --steps "
        "…`) before anything else is changed.",
        proves_not="It does not say how good the network would become.",
        evidence=(curves.evidence("Validation was still rising"),),
    )


def _stopped(log: TrainingLog) -> bool:
    stopping = log.settings.stopping
    if stopping is None or stopping.monitor not in log.columns:
        return False
    return replay_stopping(log.columns[stopping.monitor], stopping).epoch is not None


def negative_losses(log: TrainingLog) -> dict[str, float]:
    """Lowest value of every loss or cross-entropy that goes below 0."""
    lowest = {}
    for one in all_curves(log):
        known = [float(curve.min()) for curve in (one.running, one.val) if curve is not None]
        if one.direction == "min" and known and min(known) < 0:
            lowest[one.name] = min(known)
    return lowest
