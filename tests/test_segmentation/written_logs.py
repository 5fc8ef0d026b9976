"""Logs that several tests share: those printed in the source cases, and made-up courses."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np

from segmentation.audit.keras_text import parse_keras_text
from segmentation.audit.log import TrainingLog
from segmentation.audit.log_settings import LogSettings

LOGS = Path(__file__).parent / "logs"
# Beside the project, and no part of it.
SEEDS = Path(__file__).parents[3] / "shared" / "seeds"

CALLS = """
model.compile(loss='categorical_crossentropy', optimizer='SGD', metrics=['accuracy'])
EarlyStopping(min_delta=0.01, monitor='accuracy', patience=40, mode='max')
reduce_lr = ReduceLROnPlateau()
model.fit(X, y, batch_size=10, validation_split=0.1, epochs=50, callbacks=[reduce_lr])
"""


def rows(name):
    with (LOGS / name).open(newline="") as file:
        return list(csv.DictReader(file))


def progress(row, epoch, epochs, bar="[====]", steps=90):
    scores = " - ".join(f"{name}: {row[name]}" for name in row if name != "epoch")
    return f"Epoch {epoch}/{epochs}\n{steps}/{steps} {bar} - 43s 478ms/step - {scores}\n"


def single_class_text(bar="[==============================]"):
    """The classifier of one class, as Keras would print it, from the numbers alone."""
    epochs = rows("single_class_epochs.csv")
    parts = [CALLS, *(progress(row, n, 50, bar) for n, row in enumerate(epochs, start=1))]
    parts += ["model.predict(X)\narray([", *(["[0., 1.],\n"] * 99), "[0., 1.]], dtype=float32)\n"]
    parts += ["model.predict(T)\narray([", *(["[0., 1.],\n"] * 26), "[0., 1.]], dtype=float32)\n"]
    for row in rows("single_class_evaluations.csv"):
        name = {"100": "X", "27": "T"}[row["samples"]]
        parts.append(f"model.test_function({name})\n[{row['loss']}, {row['accuracy']}]\n")
    return "".join(parts)


def single_class():
    return parse_keras_text(single_class_text())


def pooled_text():
    """The three lines of scores of the four-class U-Net."""
    lines = [" - ".join(f"{k}: {v}" for k, v in r.items()) for r in rows("pooled_results.csv")]
    return "\nwhich looks good, but the masks do not:\n".join(lines)


def seed(number):
    """A source case as it was pasted; None where it is not there."""
    found = sorted(SEEDS.glob(f"{number:03}_*.txt"))
    return found[0].read_text() if found else None


def log(settings=None, **columns):
    """A log of these columns."""
    values = {name: tuple(map(float, column)) for name, column in columns.items()}
    epochs = len(next(iter(values.values()))) if values else 0
    return TrainingLog(values, epochs, LogSettings(**(settings or {})))


def set_up(of, **settings):
    """The same log, made otherwise."""
    return replace(of, settings=replace(of.settings, **settings))


def approach(low, high, epochs=30, speed=0.2):
    """A curve that rises, or falls, and levels out."""
    return low + (high - low) * (1 - np.exp(-speed * np.arange(epochs)))


def jumps(epochs, size, seed=0):
    return np.random.default_rng(seed).normal(0, size, epochs)


def good(**changes):
    """A sound training: both curves rise, level out, and stay together."""
    columns = {
        "loss": approach(1.0, 0.2),
        "accuracy": approach(0.4, 0.93),
        "val_loss": approach(1.05, 0.25),
        "val_accuracy": approach(0.38, 0.91),
    }
    return log(**(columns | changes))


def followed(**changes):
    """A sound training with all four curves."""
    columns = {
        "train_running_macro_foreground_dice": approach(0.3, 0.84),
        "train_eval_macro_foreground_dice": approach(0.32, 0.86),
        "val_macro_foreground_dice": approach(0.3, 0.84),
        "val_batchstats_macro_foreground_dice": approach(0.3, 0.84),
    }
    names = {"running": "train_running", "train_eval": "train_eval", "val": "val"}
    names |= {"batchstats": "val_batchstats"}
    changed = {f"{names[key]}_macro_foreground_dice": v for key, v in changes.items()}
    return log(**(columns | changed))
