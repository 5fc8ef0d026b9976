"""Small sets of images that several tests of classifiers share."""

import numpy as np

from segmentation.classification.feed import SampleSet
from segmentation.networks.classifier import build_classifier
from segmentation.networks.runtime import import_keras

SIDE = 16


def squares(count, seed=0, shift=0.8):
    """Images in two classes: noise, and noise with a bright square."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.int64) % 2
    images = rng.normal(0.4, 0.1, (count, SIDE, SIDE, 1)).astype(np.float32)
    images[labels == 1, 4:12, 4:12] += np.float32(shift)
    return images, labels


def sample_set(count, seed=0, **options):
    images, labels = squares(count, seed, **options)
    return SampleSet(lambda place: images[place], labels)


def small_classifier(seed=0, **options):
    form = {"image_size": (SIDE, SIDE), "channels": 1, "num_classes": 2, "width": 4, "seed": seed}
    return build_classifier("classifier", **(form | options))


def plain_classifier():
    """The mean intensity decides, without BatchNorm."""
    keras = import_keras()
    layers = [
        keras.Input((SIDE, SIDE, 1)),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(2, activation="softmax"),
    ]
    return keras.Sequential(layers)
