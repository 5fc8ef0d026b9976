"""What stands between the training and the validation curve: over-fitting, or bookkeeping."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from segmentation.audit.finding import Finding, Table
from segmentation.audit.training_curves import all_curves, main_curves, mean_interval, noise

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from segmentation.audit.log import TrainingLog
    from segmentation.audit.thresholds import TrainThresholds
    from segmentation.audit.training_curves import ScoreCurves

_FEWEST = 6
# Share of the epochs in which one curve is the better one.
_NEARLY_ALL = 0.8


def gap_findings(log: TrainingLog, thresholds: TrainThresholds) -> Iterator[Finding]:
    """TRAIN-OVERFIT, TRAIN-RUNNING-AVG and SPLIT-EASY-VAL."""
    main = main_curves(log)
    if main is None:
        return
    losses = [one for one in all_curves(log) if one.name == "loss" and one.val is not None]
    tried = [main, *(one for one in losses if one.name != main.name)]
    yield from next((found for one in tried if (found := list(_overfit(one, thresholds)))), [])
    yield from next((found for one in tried if (found := list(_running(log, one, thresholds)))), [])
    yield from _easy(main, thresholds)


def _overfit(curves: ScoreCurves, thresholds: TrainThresholds) -> Iterator[Finding]:
    """Compare the end of validation with its best stretch, and training with validation."""
    width = max(3, thresholds.worse_epochs)
    if curves.val is None or curves.training is None or len(curves.val) < 2 * width:
        return
    val, training = curves.sign * curves.val, curves.sign * curves.training
    stretches = np.convolve(val, np.ones(3) / 3, "valid")
    best = int(stretches.argmax()) + 1
    fall = float(stretches.max() - val[-width:].mean()) / curves.scale(curves.val)
    least = max(thresholds.least_gap, 3 * noise(val) / curves.scale(curves.val))
    after = (training - val)[best + 1 :]
    if len(after) < width or fall <= least:
        return
    gap, low, high = mean_interval(after)
    if low > 0:
        yield _overfit_finding(curves, thresholds, best + 1, fall, (gap, low, high))


def _overfit_finding(
    curves: ScoreCurves,
    thresholds: TrainThresholds,
    best: int,
    fall: float,
    gap: tuple[float, float, float],
) -> Finding:
    worse = f"{fall:.3f}" if curves.direction == "max" else f"{fall:.0%}"
    weights = "fixed weights" if curves.train_eval is not None else "running mean"
    return Finding(
        code="TRAIN-OVERFIT",
        severity="warning",
        statement=f"The network began to learn its training images by heart: validation "
        f"{curves.name} is best around epoch {best} and {worse} worse at the end, while training "
        f"({weights}) is better than validation by {gap[0]:.3f} [{gap[1]:.3f}, {gap[2]:.3f}].",
        rule=f"Over the last {max(3, thresholds.worse_epochs)} epochs validation is worse than at "
        f"its best by more than {thresholds.least_gap:g} and three times its noise (measured "
        f"{fall:.3f}), and the interval of training minus validation lies above 0.",
        advice=f"Keep the weights of the best epoch, as `maskmill train` does; then label more "
        f"specimens, or use stronger augmentation (`--augment`). Stopping near epoch {best} "
        "loses nothing.",
        proves_not="It does not say that a smaller network would be better, and nothing about the "
        "weights of the best epoch, which are kept.",
        evidence=(curves.evidence("Training and validation"),),
    )


def lag(steps: int | None) -> float:
    """Epochs by which a running mean lags behind the weights at the end of an epoch.

    The mean over n steps, each before its update, is that of the weights (n + 1) / 2 steps
    earlier: ½ + 1 / (2n) epochs.

    Parameters
    ----------
    steps : int or None
        Of an epoch; None takes many.
    """
    return 0.5 + (1 / (2 * steps) if steps else 0.0)


def _running(
    log: TrainingLog, curves: ScoreCurves, thresholds: TrainThresholds
) -> Iterator[Finding]:
    if curves.running is None or curves.val is None or len(curves.val) < 4:
        return
    behind = lag(log.settings.steps)
    fixed, known = _fixed_weights(curves, curves.running, behind)
    gap = curves.sign * (curves.val[:known] - curves.running[:known])
    due = curves.sign * (fixed - curves.running[:known])
    scale = curves.scale(curves.val)
    if (gap > 0).mean() < _NEARLY_ALL or gap.mean() / scale < thresholds.least_gap:
        return
    explained = float(due.mean() / gap.mean())
    if thresholds.explained <= explained:
        yield _running_finding(curves, thresholds, float(gap.mean()), explained, behind)


def _fixed_weights(
    curves: ScoreCurves, running: NDArray[np.float64], behind: float
) -> tuple[NDArray[np.float64], int]:
    """The training part with fixed weights, logged or read off the running mean later on."""
    if curves.train_eval is not None:
        return curves.train_eval, len(running)
    epochs = np.arange(len(running), dtype=np.float64)
    known = len(running) - 1
    return np.interp(epochs[:known] + behind, epochs, running), known


def _running_finding(
    curves: ScoreCurves, thresholds: TrainThresholds, gap: float, explained: float, behind: float
) -> Finding:
    how = (
        "With the same weights, training and validation are as good"
        if curves.train_eval is not None
        else f"Read {behind:.2f} epochs later, the training curve is as good"
    )
    share = "all" if explained >= 1 else f"{explained:.0%}"
    return Finding(
        code="TRAIN-RUNNING-AVG",
        severity="info",
        statement=f"Validation {curves.name} looks {gap:.3f} better than training because the "
        f"training curve is a mean over the epoch, of weights that were still worse: it lags by "
        f"{behind:.2f} epochs, which accounts for {share} of the difference.",
        rule=f"The running mean accounts for at least {thresholds.explained:.0%} of the gap; it "
        f"accounts for {share}. {how}.",
        advice="Compare curves of the same weights only, as the report of `maskmill train` does "
        "(train_eval and val); nothing has to be changed.",
        proves_not="It does not prove that the validation images are as difficult as the training "
        "images, only that this gap does not show that they are easier.",
        evidence=(curves.evidence("Training and validation"),),
    )


def _easy(curves: ScoreCurves, thresholds: TrainThresholds) -> Iterator[Finding]:
    if curves.train_eval is None or curves.val is None or len(curves.val) < _FEWEST:
        return
    later = slice(len(curves.val) // 2, None)
    gap = curves.sign * (curves.val[later] - curves.train_eval[later])
    mean, low, high = mean_interval(gap)
    if low <= 0 or mean / curves.scale(curves.val) < thresholds.least_gap:
        return
    parts = {"training": curves.train_eval, "validation": curves.val}
    rows = tuple((name, float(curve[later].mean())) for name, curve in parts.items())
    yield Finding(
        code="SPLIT-EASY-VAL",
        severity="warning",
        statement=f"The validation part is easier than the training part: with the same weights "
        f"its {curves.name} is better by {mean:.3f} [{low:.3f}, {high:.3f}].",
        rule="The interval of validation minus training, with the weights of the same epoch over "
        f"the second half of the training, lies above 0 and its mean above "
        f"{thresholds.least_gap:g}; it is {mean:.3f}.",
        advice="Score every specimen once: `maskmill train CATALOG.yaml --folds 5`. Look with "
        "`maskmill audit CATALOG.yaml` whether images stand in both parts.",
        proves_not="The interval is over epochs: it says that these images are easier, not that "
        "another draw of validation images would be.",
        evidence=(
            curves.evidence("Training and validation, the same weights"),
            Table("Mean of the second half", ("part", curves.name), rows),
        ),
    )
