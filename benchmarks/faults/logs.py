"""Logs of trainings: healthy courses, and the texts and tables that Keras makes of them."""

from __future__ import annotations

import csv
import io
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np

from segmentation.training.history import CURVES, Epoch, Row, history_csv

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

EPOCHS = 50
NAMES = ("background", "cell")
Course = dict[str, list[float]]


def healthy(epochs: int = EPOCHS, seed: int = 0) -> Course:
    """Loss and accuracy of a training that went well: it settles, validation a little below."""
    rng = np.random.default_rng(seed)
    time = np.arange(epochs)
    fall = np.exp(-time / (epochs / 10))
    loss = 0.12 + 0.6 * fall + 0.004 * rng.standard_normal(epochs)
    validation = 0.15 + 0.55 * fall + 0.008 * rng.standard_normal(epochs)
    accuracy = 0.955 - 0.4 * fall + 0.002 * rng.standard_normal(epochs)
    validated = 0.945 - 0.38 * fall + 0.004 * rng.standard_normal(epochs)
    return {
        "accuracy": accuracy.tolist(),
        "loss": loss.tolist(),
        "val_accuracy": validated.tolist(),
        "val_loss": validation.tolist(),
    }


def csv_log(course: Mapping[str, Sequence[float]]) -> str:
    """As Keras's CSVLogger writes it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["epoch", *course])
    for epoch, row in enumerate(zip(*course.values(), strict=True)):
        writer.writerow([epoch, *row])
    return text.getvalue()


def pasted(course: Mapping[str, Sequence[float]], code: str, epochs: int = EPOCHS) -> str:
    """The code of a training of so many planned epochs and what Keras printed while it ran."""
    rows = list(zip(*course.values(), strict=True))
    lines = [code, ""]
    for epoch, row in enumerate(rows, 1):
        scores = " - ".join(f"{n}: {v:.4f}" for n, v in zip(course, row, strict=True))
        bar = "90/90 [==============================] - 4s 44ms/step"
        lines += [f"Epoch {epoch}/{epochs}", f"{bar} - {scores}"]
    return "\n".join(lines) + "\n"


def fit_code(callbacks: str, epochs: int = EPOCHS) -> str:
    """A call of compile and fit with these callbacks."""
    return (
        "model.compile(optimizer=Adam(learning_rate=1e-3), loss='binary_crossentropy', "
        "metrics=['accuracy'])\n"
        f"callbacks = [{callbacks}]\n"
        f"model.fit(x_train, y_train, batch_size=8, epochs={epochs}, "
        "validation_data=(x_val, y_val), callbacks=callbacks)"
    )


def with_plateau(course: Course, patience: int, rate: float = 1e-2) -> Course:
    """The course with the learning rates that Keras's ReduceLROnPlateau gives it."""
    from segmentation.networks.runtime import import_keras

    keras = import_keras()
    model = SimpleNamespace(optimizer=SimpleNamespace(learning_rate=rate))
    callback = keras.callbacks.ReduceLROnPlateau(monitor="val_loss", patience=patience)
    callback.set_model(model)
    callback.on_train_begin()
    rates = []
    for epoch, value in enumerate(course["val_loss"]):
        rates.append(float(model.optimizer.learning_rate))
        callback.on_epoch_end(epoch, {"val_loss": value})
    return {**course, "learning_rate": rates}


def own_log(curves: Mapping[str, Sequence[float]]) -> str:
    """As `maskmill train` writes history.csv: Dice by curve; one that is left out is as ``val``."""
    epochs = [
        Epoch(
            epoch=number,
            steps=40 * number,
            planned_steps=40 * len(curves["val"]),
            seconds=9.0 * number,
            learning_rate=3e-3 * (1 - number / (len(curves["val"]) + 1)),
            loss=1.2 * (1 - curves["train_running"][number - 1]),
            curves={name: _row(curves.get(name, curves["val"])[number - 1]) for name in CURVES},
        )
        for number in range(1, len(curves["val"]) + 1)
    ]
    return history_csv(epochs, NAMES)


def _row(dice: float) -> Row:
    """Scores that belong to a Dice of the one class."""
    return Row(dice, (0.9 + 0.1 * dice, dice), 0.6 * (1.02 - dice))


def own_curves(epochs: int = 30, seed: int = 0) -> dict[str, list[float]]:
    """The four curves of a training that went well."""
    rng = np.random.default_rng(seed)
    rise = 1 - np.exp(-np.arange(1, epochs + 1) / (epochs / 8))
    last = {"train_running": 0.90, "train_eval": 0.92, "val": 0.90, "val_batchstats": 0.895}
    return {
        name: (level * rise + 0.002 * rng.standard_normal(epochs)).tolist()
        for name, level in last.items()
    }
