"""The classifier of the fourth source case, scaled down, and images for it."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from segmentation.networks.runtime import import_keras

SIZE = 64
SEED = 100


def samples(counts, seed):
    """Smooth noise, sorted by class; the second class has a bright blob in the middle.

    Images (samples, 64, 64, 1), float32, and classes (samples,).
    """
    rng = np.random.default_rng(seed)
    labels = np.repeat([0, 1], counts)
    noise = ndimage.gaussian_filter(rng.standard_normal((len(labels), SIZE, SIZE)), (0, 2, 2))
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    blob = 0.6 * np.exp(-(y**2 + x**2) / (2 * 10.0**2))
    images = 0.5 + 0.2 * noise / noise.std() + labels[:, None, None] * blob
    return images[..., None].astype(np.float32), labels


def training_images(scale=1.0):
    images, labels = samples((50, 50), seed=0)
    return images * np.float32(scale), labels


def source_classifier(dropout):
    """The Sequential of the source case at 64 × 64, as it is written there."""
    keras = import_keras()
    layers = keras.layers
    body = [keras.Input((SIZE, SIZE, 1))]
    for block in range(3):
        body += [layers.Dropout(dropout)] if block and dropout else []
        body += [
            layers.Conv2D(32, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(2),
        ]
    body += [layers.Flatten(), *([layers.Dropout(dropout)] if dropout else [])]
    for units in (16, 8, 4):
        body += [layers.Dense(units, activation="relu"), layers.BatchNormalization()]
    return keras.Sequential([*body, layers.Dense(2, activation="softmax")])


def trained_classifier(*, epochs, dropout, scale=1.0, seed=SEED):
    """Trained as there: SGD, batches of 10, the last tenth of the sorted images for validation."""
    keras = import_keras()
    keras.utils.set_random_seed(seed)
    model = source_classifier(dropout)
    model.compile("SGD", "categorical_crossentropy", metrics=["accuracy"])
    images, labels = training_images(scale)
    model.fit(
        images,
        np.eye(2)[labels],
        batch_size=10,
        validation_split=0.1,
        epochs=epochs,
        shuffle=True,
        verbose=0,
    )
    return model


def collapsed_classifier(**training):
    """One that calls all images alike. Which seed ends so depends on the number of threads."""
    images, labels = training_images()
    for seed in range(SEED, SEED + 20):
        model = trained_classifier(seed=seed, **training)
        shares = np.bincount(model(images).numpy().argmax(-1), minlength=2) / len(labels)
        if shares.max() >= 0.98:
            return model
    raise AssertionError("no training of twenty left one class; the specimen is not to be had")
