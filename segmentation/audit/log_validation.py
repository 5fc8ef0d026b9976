"""What a log tells of its validation part: one class, hardly a sample, or no test at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segmentation.audit.decode import whole
from segmentation.audit.finding import Finding, Table
from segmentation.audit.training_curves import drawn
from segmentation.metrics.statistics import wilson

if TYPE_CHECKING:
    from collections.abc import Iterator

    from segmentation.audit.log import TrainingLog
    from segmentation.audit.thresholds import Thresholds, TrainThresholds

ACCURACIES = ("accuracy", "acc", "categorical_accuracy", "binary_accuracy", "balanced_accuracy")
# A training loss above this is not that of a network that knows everything.
_LEARNING_LOSS = 0.1
# Share of outputs of exactly 0 or 1, for the statement.
_ALL = 0.999


def validation_findings(log: TrainingLog, thresholds: Thresholds) -> Iterator[Finding]:
    """SPLIT-SINGLE-CLASS-VAL, TRAIN-VAL-DEGENERATE, SPLIT-TINY-VAL and MODEL-OUTPUT-COLLAPSE."""
    yield from _single_class(log)
    yield from _degenerate(log, thresholds.train)
    yield from _tiny(log, thresholds)
    yield from _collapse(log)


def accuracy_name(log: TrainingLog) -> str | None:
    """Name of the accuracy of samples; None where there is none, or voxels are what is counted."""
    if any(word in name for name in log.scored for word in ("dice", "iou", "io_u", "jaccard")):
        return None
    return next((name for name in ACCURACIES if f"val_{name}" in log.columns), None)


def _one_class(log: TrainingLog) -> int | None:
    """The only class that all printed predictions have; None where there are several, or none."""
    classes = {value for one in log.predictions for value in one.classes}
    rows = sum(one.rows for one in log.predictions)
    return classes.pop() if len(classes) == 1 and rows > 1 else None


def _prediction_table(log: TrainingLog) -> Table:
    rows = tuple(
        (one.name, one.rows, ", ".join(map(str, one.classes)), one.saturated)
        for one in log.predictions
    )
    heads = ("predicted", "samples", "classes", "share of exact 0 and 1")
    return Table("Predictions in the text", heads, rows)


def _single_class(log: TrainingLog) -> Iterator[Finding]:
    name, only = accuracy_name(log), _one_class(log)
    if name is None or only is None or log.last(f"val_{name}") != 1.0:
        return
    count = log.settings.validation_samples
    rows = sum(one.rows for one in log.predictions)
    which = f"All {count} validation samples are" if count else "The validation part is"
    split = log.settings.validation_split
    why = f" validation_split={split:g} takes the last samples as they lie." if split else ""
    yield Finding(
        code="SPLIT-SINGLE-CLASS-VAL",
        severity="error",
        statement=f"{which} of class {only}: the network predicts it for all {rows} samples "
        f"shown, and its validation accuracy is 1.{why}",
        rule=f"All predictions are of one class and the last val_{name} is 1; both can be true of "
        "one class only.",
        advice="Divide by groups, with every class in every part, before training (`maskmill "
        "train CATALOG.yaml` does; see `maskmill audit CATALOG.yaml`), and train again.",
        proves_not="It does not say what the network would do on a validation part with all "
        "classes.",
        evidence=(
            _prediction_table(log),
            drawn("Validation", f"val_{name}", {f"val_{name}": log.columns[f"val_{name}"]}),
        ),
    )


def _degenerate(log: TrainingLog, thresholds: TrainThresholds) -> Iterator[Finding]:
    losses, training = log.columns.get("val_loss", ()), log.last("loss")
    zero = [n for n, v in enumerate(losses, 1) if v is not None and 0 <= v < thresholds.zero_loss]
    if not zero or training is None or training <= _LEARNING_LOSS:
        return
    # A validation loss that recovers was no more than lucky.
    if len(zero) < len(losses) - zero[0] + 1:
        return
    yield Finding(
        code="TRAIN-VAL-DEGENERATE",
        severity="error",
        statement=f"The validation scores mean nothing: val_loss is 0 from epoch {zero[0]} to "
        f"{len(losses)}, while the training loss is still {training:.2f}. No network can be "
        "perfect there and so uncertain on what it learns from.",
        rule=f"Validation loss below {thresholds.zero_loss:g} while the training loss is above "
        f"{_LEARNING_LOSS:g}; they are {losses[-1]:.2g} and {training:.4f}.",
        advice="Count the classes of the validation part: one class is the usual cause. `maskmill "
        "audit CATALOG.yaml` does it before training; then divide by groups and train again.",
        proves_not="It does not say what is wrong with the validation part, nor that the network "
        "learned nothing.",
        evidence=(
            drawn("Loss", "loss", {n: log.columns[n] for n in ("loss", "val_loss")}),
            Table(
                "Last epoch",
                ("part", "loss"),
                (("training", training), ("validation", losses[-1])),
            ),
        ),
    )


def _tiny(log: TrainingLog, thresholds: Thresholds) -> Iterator[Finding]:
    name, count = accuracy_name(log), log.settings.validation_samples
    value = log.last(f"val_{name}") if name else None
    right = whole(value, count, 4) if value is not None and count else None
    if not count or right is None:
        return
    low, high = wilson(right, count)
    half = (high - low) / 2
    if half <= thresholds.data.half_width:
        return
    yield Finding(
        code="SPLIT-TINY-VAL",
        severity="warning",
        statement=f"With {count} validation samples one sample is {1 / count:.0%}: an accuracy "
        f"of {right}/{count} is compatible with anything from {low:.2f} to {high:.2f}.",
        rule=f"Half the width of the 95 % interval (Wilson) is above "
        f"{thresholds.data.half_width:g}; it is {half:.2f}.",
        advice="Use every sample for validation once: `maskmill train CATALOG.yaml --folds 5`.",
        proves_not="It does not say that the accuracy is lower, only that this part cannot tell.",
        evidence=(
            Table(
                "Validation accuracy",
                ("right", "samples", "accuracy", "low", "high"),
                ((right, count, right / count, low, high),),
            ),
        ),
    )


def _collapse(log: TrainingLog) -> Iterator[Finding]:
    only, name = _one_class(log), accuracy_name(log)
    training = log.last(name) if name else None
    if only is None or training is None or training >= 1:
        return
    rows = sum(one.rows for one in log.predictions)
    exact = all(one.saturated >= _ALL for one in log.predictions)
    sure = " Every output is exactly 0 or 1, which no sound network gives." if exact else ""
    yield Finding(
        code="MODEL-OUTPUT-COLLAPSE",
        severity="error",
        statement=f"The network answers class {only} for all {rows} samples, although it was "
        f"right in {training:.0%} while it trained.{sure}",
        rule=f"All predictions printed are of one class; there are {rows}, of class {only}.",
        advice="Compare BatchNorm's moving statistics with exact ones: `maskmill audit BUNDLE "
        "--on IMAGE.zarr`, and `--recalibrate OUT` writes a bundle with the exact ones.",
        proves_not="It does not say why: a network behaves differently in training, where "
        "BatchNorm takes the statistics of the batch; the log alone cannot show that.",
        evidence=(_prediction_table(log),),
    )
