"""Metrics, losses and networks of the source cases: specimens to be told apart, not to be used."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmentation.networks.runtime import import_keras

Floats = NDArray[np.float64]


def one_hot(labels: NDArray[Any], num_classes: int) -> Floats:
    return np.eye(num_classes)[labels]


def channel_pooled_dice(truth: Floats, prediction: Floats, smooth: float = 1.0) -> float:
    """Dice summed over height, width and the channels of one image: pixel accuracy in disguise."""
    both = float((truth * prediction).sum())
    return (2 * both + smooth) / (float(truth.sum()) + float(prediction.sum()) + smooth)


def channel_pooled_iou(truth: Floats, prediction: Floats, smooth: float = 1.0) -> float:
    both = float((truth * prediction).sum())
    union = float(truth.sum()) + float(prediction.sum()) - both
    return (both + smooth) / (union + smooth)


def double_union_iou(truth: Floats, prediction: Floats) -> float:
    """Intersection over |A| + |B|: the intersection is in the denominator twice."""
    with np.errstate(invalid="ignore"):
        return float(np.divide((truth * prediction).sum(), truth.sum() + prediction.sum()))


def scaled_jaccard_loss(truth: Floats, prediction: Floats, smooth: float = 10.0) -> float:
    both = float((truth * prediction).sum())
    union = float(truth.sum()) + float(prediction.sum()) - both
    return (1 - (both + smooth) / (union + smooth)) * smooth


def four_class_network(width: int = 64, channels: int = 3, num_classes: int = 2) -> Any:
    """The U-Net of the first source case: before its head, as many ReLU channels as classes."""
    return _network(width, channels, regularised=True, squeezed=num_classes, outputs=num_classes)


def binary_network(width: int = 64) -> Any:
    """The U-Net of the thigh images: two ReLU channels before a sigmoid."""
    return _network(width, 1, regularised=False, squeezed=2, outputs=1)


def _network(width: int, channels: int, *, regularised: bool, squeezed: int, outputs: int) -> Any:
    keras = import_keras()
    layers = keras.layers

    def convolution(features: Any, filters: int, size: int = 3, **options: Any) -> Any:
        features = layers.Conv2D(
            filters,
            size,
            activation="relu",
            padding="same",
            kernel_initializer="he_normal",
            **options,
        )(features)
        return layers.BatchNormalization()(features) if regularised else features

    def dropped(features: Any) -> Any:
        return layers.Dropout(0.5)(features) if regularised else features

    source = keras.Input((None, None, channels))
    features, skips = source, []
    for level in range(5):
        features = convolution(convolution(features, width << level), width << level)
        features = dropped(features) if level >= 3 else features
        if level < 4:
            skips.append(features)
            features = layers.MaxPooling2D(2)(features)
    for level in (3, 2, 1, 0):
        features = convolution(layers.UpSampling2D(2)(features), width << level, 2)
        features = layers.Concatenate()([skips[level], features])
        features = convolution(convolution(features, width << level), width << level)
    features = convolution(features, squeezed, name="squeezed")
    head = "softmax" if outputs > 1 else "sigmoid"
    return keras.Model(source, layers.Conv2D(outputs, 1, activation=head)(features))
