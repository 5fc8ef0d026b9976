"""Faults of metrics and losses: each is a function of `source_metrics`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.faults.fault import Fault
from flows.jobs import AuditJob

if TYPE_CHECKING:
    from benchmarks.faults.fault import Plant
    from benchmarks.faults.pipeline import Pipeline

SOURCE = Path(__file__).with_name("source_metrics.py")


def probed(name: str) -> Plant:
    """The audit of one function."""

    def plant(_pipeline: Pipeline, _folder: Path) -> AuditJob:
        return AuditJob(metric=f"{SOURCE}:{name}")

    return plant


FAULTS = tuple(
    Fault(name, "metric", code, severity, probed(function))
    for name, function, code, severity in (
        ("Dice summed over the channels", "dice_coef", "EVAL-POOLED", "warning"),
        ("union counts the overlap twice", "mean_iou", "METRIC-WRONG-UNION", "error"),
        ("MeanIoU on probabilities", "MEAN_IOU", "METRIC-IOU-ON-PROBS", "error"),
        ("Accuracy() on a sigmoid", "ACCURACY", "METRIC-ACCURACY-ON-PROBS", "error"),
        ("argmax of a single channel", "sigmoid_iou", "METRIC-ARGMAX-1CH", "error"),
        ("masks of 0 and 255 left out", "BINARY_IOU", "METRIC-LABELS-DROPPED", "error"),
        ("a loss of the wrong sign", "DiceLoss", "METRIC-DIRECTION", "error"),
        ("a loss blind to classes", "dice_loss", "TRAIN-LOSS-CLASSBLIND", "warning"),
        ("integer masks against channels", "iou_of_labels", "DATA-ONEHOT-VS-INT", "error"),
        ("a constant that hides false voxels", "smoothed_dice", "METRIC-SMOOTH", "warning"),
        ("no number where nothing is", "undefined_dice", "METRIC-EMPTY", "warning"),
        ("a score that depends on the batch", "batch_dice", "METRIC-BATCH-POOLED", "warning"),
        ("raises where no class is", "dice_of_present", "METRIC-FAILS", "error"),
    )
)
