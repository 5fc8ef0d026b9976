"""Faults of a training, as its log shows them: tables and pasted texts of Keras, and ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.faults.fault import Fault
from benchmarks.faults.logs import (
    EPOCHS,
    Course,
    csv_log,
    fit_code,
    healthy,
    pasted,
    with_plateau,
)
from benchmarks.faults.own_logs import jumping, over_fitted, unfinished
from flows.jobs import AuditJob

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.faults.fault import Plant
    from benchmarks.faults.pipeline import Pipeline


def logged(text: Callable[[], str]) -> Plant:
    """The audit of a text."""

    def plant(_pipeline: Pipeline, folder: Path) -> AuditJob:
        place = folder / "training.log"
        place.write_text(text())
        return AuditJob(target=str(place))

    return plant


def one_class_validated() -> str:
    """Validation on images of one class: always right, and at once."""
    course = healthy()
    course["val_accuracy"] = [0.9, *[1.0] * (EPOCHS - 1)]
    course["val_loss"] = [0.05, *[0.0] * (EPOCHS - 1)]
    return csv_log(course)


def rate_cut() -> str:
    """Validation stands still from the first epochs on, and the learning rate falls for it."""
    rng, course = np.random.default_rng(1), healthy()
    time = np.arange(EPOCHS)
    course["loss"] = (0.2 + 0.5 * np.exp(-time / 30)).tolist()
    course["accuracy"] = (0.93 - 0.4 * np.exp(-time / 30)).tolist()
    course["val_loss"] = (0.62 + 0.002 * rng.standard_normal(EPOCHS)).tolist()
    course["val_accuracy"] = (0.66 + 0.002 * rng.standard_normal(EPOCHS)).tolist()
    return csv_log(with_plateau(course, patience=6))


def watched(callbacks: str, course: Callable[[], Course] = healthy) -> Callable[[], str]:
    """A healthy training under these callbacks."""
    return lambda: pasted(course(), fit_code(callbacks))


def not_reset() -> str:
    """Accuracies of six parts of the test set with one metric that is never reset."""
    rows, right, seen = ["w = np.ones(27)"], 0, 0
    for number, correct in enumerate((21, 19, 22, 18, 20, 19)):
        right, seen = right + correct, seen + 27
        rows += [
            "model.test_on_batch(x_test, y_test, w, reset_metrics=False)",
            f"[{0.41 + 0.013 * number:.7f}, {right / seen:.7f}]",
        ]
    return pasted(healthy(), fit_code("")) + "\n".join(rows) + "\n"


def not_learning() -> str:
    """A learning rate of 1e-6: four classes, and accuracy stays where it began."""
    rng, time = np.random.default_rng(2), np.arange(EPOCHS)
    return csv_log(
        {
            "accuracy": (0.26 + 0.0008 * time + 0.003 * rng.standard_normal(EPOCHS)).tolist(),
            "loss": (1.39 - 0.0006 * time).tolist(),
            "val_accuracy": (0.26 + 0.0007 * time + 0.004 * rng.standard_normal(EPOCHS)).tolist(),
            "val_loss": (1.39 - 0.0005 * time).tolist(),
            "learning_rate": [1e-6] * EPOCHS,
        }
    )


def diverged() -> str:
    """Losses that are no numbers from the twelfth epoch on."""
    course = healthy()
    for name in ("loss", "val_loss"):
        course[name][11:] = [float("nan")] * (EPOCHS - 11)
    for name in ("accuracy", "val_accuracy"):
        course[name][11:] = [0.31] * (EPOCHS - 11)
    return csv_log(course)


def pooled_scores() -> str:
    """The Dice and IoU of the source case: accuracy under other names."""
    course = healthy()
    for part in ("", "val_"):
        soft = np.array(course[f"{part}accuracy"]) - 0.008
        course[f"{part}dice_coef"] = soft.tolist()
        course[f"{part}iou_coef"] = (soft / (2 - soft)).tolist()
    return csv_log(course)


STOPPING = "EarlyStopping(monitor='{}', patience={}{})"
WITH_DICE = {"val_dice_coef": "val_accuracy", "dice_coef": "accuracy"}


def stopped_early() -> Course:
    """A healthy training that logs a Dice of the one class, until a patience of 6 was over."""
    course = healthy()
    course |= {name: [v**3 for v in course[same]] for name, same in WITH_DICE.items()}
    return {name: values[:7] for name, values in course.items()}


FAULTS = tuple(
    Fault(name, "training", code, severity, logged(text))
    for name, code, severity, text in (
        ("validation on one class", "TRAIN-VAL-DEGENERATE", "error", one_class_validated),
        ("learning rate cut for a fake plateau", "TRAIN-LR-COLLAPSE", "warning", rate_cut),
        (
            "a patience of 40 in 50 epochs",
            "TRAIN-ES-INERT",
            "warning",
            watched(STOPPING.format("val_loss", 40, "")),
        ),
        (
            "stopping on a name that is not logged",
            "TRAIN-MONITOR-MISSING",
            "error",
            watched(STOPPING.format("Accuracy", 5, ", mode='max'")),
        ),
        (
            "stopping as soon as Dice rises",
            "TRAIN-MONITOR-DIRECTION",
            "error",
            watched(STOPPING.format("val_dice_coef", 6, ", mode='min'"), stopped_early),
        ),
        (
            "weights chosen by the training loss",
            "TRAIN-MONITOR-ON-TRAIN",
            "warning",
            watched("ModelCheckpoint('best.keras', monitor='loss', save_best_only=True)"),
        ),
        ("a metric that is never reset", "LOG-METRIC-NOT-RESET", "error", not_reset),
        ("a learning rate of 1e-6", "TRAIN-NOT-LEARNING", "warning", not_learning),
        ("loss becomes NaN", "TRAIN-DIVERGED", "error", diverged),
        ("learned by heart", "TRAIN-OVERFIT", "warning", over_fitted),
        (
            "moving statistics that jump",
            "TRAIN-NOISE-BN",
            "warning",
            jumping("val", "train_eval"),
        ),
        (
            "a small validation part",
            "TRAIN-NOISE-SMALLVAL",
            "warning",
            jumping("val", "val_batchstats"),
        ),
        ("stopped while still rising", "TRAIN-UNFINISHED", "warning", unfinished),
        ("Dice that is accuracy", "EVAL-POOLED", "warning", pooled_scores),
    )
)
