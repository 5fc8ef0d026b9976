"""Images of known brightness, tables of them, and a classifier whose answers are known by hand."""

from __future__ import annotations

import csv
import math

import numpy as np
from PIL import Image

CLASSES = ("dark", "bright")
SIZE = (16, 16)
GAIN = 16.0
EPSILON = 1e-3  # of BatchNorm


def brightness_model(size=SIZE, channels=1):
    """Class 1 with the probability 1 / (1 + exp(-GAIN (mean / sqrt(1 + EPSILON) - 1/2))).

    BatchNorm holds the mean 0 and the variance 1, so it divides by sqrt(1 + EPSILON). Dropout and
    BatchNorm would both show if the network ever ran as in training.
    """
    import keras

    source = keras.Input((*size, channels))
    norm = keras.layers.BatchNormalization(epsilon=EPSILON)(source)
    mean = keras.layers.GlobalAveragePooling2D()(keras.layers.Dropout(0.5)(norm))
    head = keras.layers.Dense(2, activation="softmax")
    model = keras.Model(source, head(mean))
    weights = np.zeros((channels, 2), np.float32)
    weights[:, 1] = GAIN / channels
    head.set_weights([weights, np.array([0.0, -GAIN / 2], np.float32)])
    return model


def expected_probability(grey):
    """Of class 1, for an image of one grey between 0 and 255."""
    return 1 / (1 + math.exp(-GAIN * (grey / 255 / math.sqrt(1 + EPSILON) - 0.5)))


def write_classifier(folder, model=None, classes=CLASSES):
    """A bundle of the brightness model, or of another; its path."""
    from segmentation.bundle import ClassInfo, save_bundle
    from segmentation.classification.card import classifier_card

    model = model or brightness_model()
    colors = ((0, 90, 160, 255), (220, 120, 0, 255), (0, 160, 90, 255))
    named = [ClassInfo(v, name, colors[v % 3]) for v, name in enumerate(classes)]
    intensity = {"rule": "fixed", "low": [0.0], "high": [255.0]}
    save_bundle(folder, model, classifier_card(model, named, intensity=intensity))
    return folder


def write_images(folder, greys, size=SIZE, suffix=".png"):
    """One image of one grey each: s0.png, s1.png, …; their names."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"s{number}{suffix}" for number in range(len(greys))]
    for name, grey in zip(names, greys, strict=True):
        Image.fromarray(np.full(size, grey, np.uint8)).save(folder / name)
    return names


def write_table(path, rows, columns=("image", "label")):
    """A CSV table; its path."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)
    return path


def read_csv(path):
    """Rows of a CSV file as dicts."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
