"""Metrics and losses that a log shows to be wrong: flat IoU, exact accuracy, loss below 0."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from segmentation.audit.finding import Finding, Table
from segmentation.audit.training_course import negative_losses
from segmentation.audit.training_curves import drawn

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from segmentation.audit.log import TrainingLog

_FLAT = 1e-4


def metric_findings(log: TrainingLog) -> Iterator[Finding]:
    """METRIC-IOU-ON-PROBS, METRIC-ACCURACY-ON-PROBS and DATA-LABEL-RANGE."""
    yield from _flat_iou(log)
    yield from _exact_accuracy(log)
    yield from _negative(log)


def _flat_iou(log: TrainingLog) -> Iterator[Finding]:
    share = log.settings.foreground_share
    for name in log.scored:
        values = [v for v in log.columns[name] if v is not None]
        is_mean = re.search(r"mean_?io_?u", name.lower()) is not None
        if not is_mean or len(values) < 3 or np.ptp(values) > _FLAT or not 0 < values[0] < 0.5:
            continue
        implied = 1 - 2 * float(np.mean(values))
        if share is not None and abs(implied - share) > 2 * _FLAT:
            continue
        yield _flat_finding(log, name, values, implied, share)
        return


def _flat_finding(
    log: TrainingLog, name: str, values: Sequence[float], implied: float, share: float | None
) -> Finding:
    value = float(np.mean(values))
    known = (
        f"the class fills {share:.4g} of the voxels"
        if share is not None
        else f"the class fills {implied:.4g} of the voxels, which is to be checked"
    )
    return Finding(
        code="METRIC-IOU-ON-PROBS",
        severity="warning" if share is None else "error",
        statement=f"{name} stands at {value:.4f} in all {len(values)} epochs: Keras's MeanIoU "
        "cuts probabilities off to whole numbers, so that everything counts as background and "
        f"the value is (1 − π)/2 whatever the network does; {known}.",
        rule=f"The column varies by less than {_FLAT:g} and equals (1 − π)/2; it is {value:.4f}, "
        f"that is π = {implied:.4f}.",
        advice="Use keras.metrics.BinaryIoU or OneHotIoU, or score masks with `maskmill evaluate "
        "IMAGE.zarr --labels NAME --truth LABEL`. `maskmill audit --metric MODULE:FUNCTION` shows "
        "what a metric computes.",
        proves_not="It says nothing about how good the network is; nor did this curve. Where π is "
        "not known, a network that never finds the class would look the same.",
        evidence=(
            drawn("A curve that cannot move", name, {name: log.columns[name]}),
            Table("By the formula", ("value", "π = 1 − 2 · value"), ((value, implied),)),
        ),
    )


def _exact_accuracy(log: TrainingLog) -> Iterator[Finding]:
    exact = [m for m in log.settings.metrics if re.search(r"\bAccuracy\(", m)]
    loss = log.settings.loss or ""
    if not exact or "crossentropy" not in loss.lower().replace("_", ""):
        return
    yield Finding(
        code="METRIC-ACCURACY-ON-PROBS",
        severity="error",
        statement=f"{exact[0]} asks whether a probability equals its label exactly: 0.99 for a "
        "label of 1 counts as wrong, so that a perfect mask can score 0.0 where 1.0 is right.",
        rule="metrics.Accuracy is compiled with a loss on probabilities; the loss is "
        f"{loss!r}, and 6 right voxels (0.01, 0.2, 1e-7 for 0; 0.99, 0.8, 1 − 1e-6 for 1) score "
        "0 of 6.",
        advice="Write metrics=['accuracy'] or BinaryAccuracy(), and check with `maskmill audit "
        "--metric MODULE:FUNCTION`.",
        proves_not="It says nothing about the network; the loss is not touched by it.",
        evidence=(
            Table(
                "As compiled",
                ("setting", "value"),
                (("loss", loss), ("metrics", ", ".join(log.settings.metrics))),
            ),
        ),
    )


def _negative(log: TrainingLog) -> Iterator[Finding]:
    loss = (log.settings.loss or "").lower()
    lowest = negative_losses(log)
    known = {n: v for n, v in lowest.items() if "entropy" in n or "crossentropy" in loss}
    if not known:
        return
    name, value = next(iter(known.items()))
    yield Finding(
        code="DATA-LABEL-RANGE",
        severity="error",
        statement=f"{name} goes down to {value:.4g}; a cross-entropy cannot be below 0, so the "
        "labels are not 0 and 1: masks of 0 and 255 are the usual cause.",
        rule=f"A cross-entropy is at least 0; the lowest value is {value:.4g}.",
        advice="Import the masks with their classes (`maskmill import-labels SOURCE IMAGE.zarr "
        "--name truth --classes …`), or divide them by 255, and train again.",
        proves_not="It does not say which masks are affected; `maskmill audit CATALOG.yaml` does.",
        evidence=(drawn("Below zero", name, {name: log.columns.get(name, ())}),),
    )
