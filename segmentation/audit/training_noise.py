"""Why a validation curve jumps: BatchNorm and weights, or the validation images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segmentation.audit.finding import Finding, Table
from segmentation.audit.training_curves import main_curves, move_together, noise

if TYPE_CHECKING:
    from collections.abc import Iterator

    from segmentation.audit.log import TrainingLog
    from segmentation.audit.thresholds import TrainThresholds
    from segmentation.audit.training_curves import ScoreCurves

_FEWEST = 8
# A curve that carries at least this share of another's noise can be what moves it.
_HALF = 0.5


def noise_findings(log: TrainingLog, thresholds: TrainThresholds) -> Iterator[Finding]:
    """TRAIN-NOISE-BN or TRAIN-NOISE-SMALLVAL; a validation set does not change by itself."""
    curves = main_curves(log)
    if curves is None or curves.val is None or len(curves.val) < _FEWEST:
        return
    measured = noise(curves.val) / curves.scale(curves.val)
    if measured < thresholds.least_noise:
        return
    statistics = list(_statistics(log, curves, thresholds))
    yield from statistics or _small(curves, thresholds)


def _noises(curves: ScoreCurves) -> Table:
    lines = {
        "validation": curves.val,
        "validation, statistics of the batch": curves.batchstats,
        "training, fixed weights": curves.train_eval,
    }
    rows = tuple((name, noise(v)) for name, v in lines.items() if v is not None)
    return Table("Noise from epoch to epoch", ("curve", f"SD of {curves.name}"), rows)


def _statistics(
    log: TrainingLog, curves: ScoreCurves, thresholds: TrainThresholds
) -> Iterator[Finding]:
    """By the curve of batch statistics where there is one, else by how training moves along."""
    val = curves.val
    if val is None or log.settings.batch_norm is False:
        return
    if curves.batchstats is not None:
        still = noise(curves.batchstats)
        if noise(val) >= thresholds.noise_ratio * still:
            yield _by_statistics(curves, thresholds, noise(val), still)
    elif curves.train_eval is not None:
        together = move_together(curves.train_eval, val)
        if together > thresholds.together and noise(curves.train_eval) >= _HALF * noise(val):
            yield _by_movement(curves, thresholds, noise(val), together)


def _by_statistics(
    curves: ScoreCurves, thresholds: TrainThresholds, moving: float, still: float
) -> Finding:
    return Finding(
        code="TRAIN-NOISE-BN",
        severity="warning",
        statement=f"The validation curve jumps because of BatchNorm's moving statistics: from "
        f"epoch to epoch {curves.name} varies by {moving:.4f} with them, and by {still:.4f} with "
        "those of the batch, on the same images and the same weights.",
        rule=f"Noise of validation is at least {thresholds.noise_ratio:g} times that with the "
        f"statistics of the batch; it is {moving:.4f} against {still:.4f}.",
        advice="Use the weights with exact statistics: `maskmill audit BUNDLE --on IMAGE.zarr "
        "--recalibrate OUT`. For the next training take a lower momentum, a larger batch or a "
        "network without BatchNorm; more validation images would not help.",
        proves_not="It does not say that the weights are bad; with exact statistics they may be "
        "good.",
        evidence=(curves.evidence("Validation, two kinds of statistics"), _noises(curves)),
    )


def _by_movement(
    curves: ScoreCurves, thresholds: TrainThresholds, moving: float, together: float
) -> Finding:
    return Finding(
        code="TRAIN-NOISE-BN",
        severity="warning",
        statement=f"The validation curve jumps because the network does, not because of the "
        f"images: from epoch to epoch {curves.name} varies by {moving:.4f}, and training with "
        f"the same weights jumps along (correlation {together:.2f}).",
        rule=f"Changes of training and validation correlate by more than "
        f"{thresholds.together:g}, and training has at least half the noise; the correlation is "
        f"{together:.2f}.",
        advice="Use exact BatchNorm statistics (`maskmill audit BUNDLE --on IMAGE.zarr "
        "--recalibrate OUT`), a larger batch or a lower learning rate; more validation images "
        "would not help.",
        proves_not="It does not tell moving BatchNorm statistics from a learning rate that is too "
        "high.",
        evidence=(curves.evidence("Training and validation, the same weights"), _noises(curves)),
    )


def _small(curves: ScoreCurves, thresholds: TrainThresholds) -> Iterator[Finding]:
    if curves.val is None or curves.train_eval is None:
        return
    moving, smooth = noise(curves.val), noise(curves.train_eval)
    if moving < thresholds.noise_ratio * smooth:
        return
    yield Finding(
        code="TRAIN-NOISE-SMALLVAL",
        severity="warning",
        statement=f"The validation part is too small or unlike the rest: from epoch to epoch its "
        f"{curves.name} varies by {moving:.4f}, that of training with the same weights only by "
        f"{smooth:.4f}.",
        rule=f"Noise of validation is at least {thresholds.noise_ratio:g} times that of training "
        f"with the same weights, and not due to BatchNorm; it is {moving:.4f} against "
        f"{smooth:.4f}.",
        advice="Label more specimens for validation, or score every one of them once: `maskmill "
        "train CATALOG.yaml --folds 5`. Do not choose between trainings by differences of this "
        "size.",
        proves_not="It does not say that the network is unstable.",
        evidence=(curves.evidence("Training and validation, the same weights"), _noises(curves)),
    )
