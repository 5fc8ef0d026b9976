"""Networks that give one class to a whole image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from segmentation.networks.runtime import import_keras
from segmentation.networks.unet import MOMENTUM

if TYPE_CHECKING:
    from collections.abc import Sequence

    import keras

CLASSIFIER, CLASSIFIER_SOURCE = CLASSIFIER_PRESETS = ("classifier", "classifier-source")
DEFAULT_CLASSIFIER_WIDTH = {CLASSIFIER: 16, CLASSIFIER_SOURCE: 32}
# Pooling goes on until the shorter side of the grid is no longer than this.
LARGEST_GRID = 8
# Features are doubled at each pooling, up to this many times the first ones.
MOST_FEATURES = 8
DROPOUT = 0.3
SOURCE_DROPOUT = 0.7
SOURCE_DENSE = (16, 8, 4)
# Three unpadded convolutions and poolings leave one pixel of this.
SOURCE_LEAST = 22


def build_classifier(
    preset: str,
    *,
    image_size: Sequence[int],
    channels: int,
    num_classes: int,
    width: int | None = None,
    seed: int = 0,
) -> keras.Model:
    """Build an untrained network for images of one size.

    ::

        classifier         conv/2 ─ [conv conv + shortcut ─ pool] … ─ mean over the image ─ softmax
        classifier-source  [conv ─ pool ─ dropout] × 3 ─ flatten ─ dense 16, 8, 4 ─ softmax

    The first has BatchNorm between each convolution and its ReLU, and its head sees the mean of
    every feature over the image: its size does not grow with that of the image. The second is the
    network of a source case as it was described, BatchNorm after ReLU and Dropout before it; at
    1024 × 1024 × 1 it has 8,148,022 parameters, nearly all of them in one dense layer.

    Parameters
    ----------
    preset : "classifier" or "classifier-source"
        Architecture.
    image_size : sequence of int
        Extents along y and x.
    channels, num_classes : int
        Of the input; of the output.
    width : int, optional
        Features of the first convolution: 16, or 32 for the source's.
    seed : int
        Of the initial weights and of Dropout.

    Returns
    -------
    keras.Model
        Input (batch, y, x, channels) float32, output (batch, num_classes), probabilities.

    Raises
    ------
    ValueError
        If the preset is unknown, a number is out of range, or the image is too small.
    """
    check_classifier(preset, image_size, num_classes)
    width = DEFAULT_CLASSIFIER_WIDTH[preset] if width is None else width
    if width < 1 or channels < 1:
        raise ValueError(f"width is {width} and channels {channels}; expected 1 or more of each")
    keras = import_keras()
    inputs = keras.Input((*image_size, channels), name="image")
    if preset == CLASSIFIER_SOURCE:
        layers = _source_layers(keras, width, num_classes, seed)
        return keras.Sequential([inputs, *layers], name="classifier_source")
    blocks = _Blocks(keras, seed)
    features = blocks.convolution(inputs, width, "stem", strides=2)
    for level in range(_poolings(image_size)):
        features = blocks.residual(features, width * min(2**level, MOST_FEATURES), f"down{level}")
        features = keras.layers.MaxPooling2D(2, name=f"pool{level}")(features)
    features = blocks.residual(features, features.shape[-1], "bottom")
    features = keras.layers.GlobalAveragePooling2D(name="mean")(features)
    features = keras.layers.Dropout(DROPOUT, seed=seed, name="dropout")(features)
    head = keras.layers.Dense(
        num_classes,
        activation="softmax",
        kernel_initializer=keras.initializers.GlorotUniform(seed=blocks.next_seed()),
        name="head",
    )
    return keras.Model(inputs, head(features), name="classifier")


def check_classifier(preset: str, image_size: Sequence[int], num_classes: int) -> None:
    """Check that a network of a preset can be built; Keras is not needed for it.

    Raises
    ------
    ValueError
        If the preset is unknown, the image is too small, or there are fewer than two classes.
    """
    if preset not in CLASSIFIER_PRESETS:
        raise ValueError(f"preset is {preset!r}; expected one of {', '.join(CLASSIFIER_PRESETS)}")
    least = SOURCE_LEAST if preset == CLASSIFIER_SOURCE else LARGEST_GRID
    if len(image_size) != 2 or min(image_size) < least:
        raise ValueError(
            f"the image size is {tuple(image_size)}; preset {preset} needs two extents, y and x, "
            f"of {least} or more"
        )
    if num_classes < 2:
        raise ValueError(f"there are {num_classes} classes; expected 2 or more")


def _poolings(image_size: Sequence[int]) -> int:
    """Poolings after the first halving, until the shorter side is `LARGEST_GRID` or less."""
    side, poolings = -(-min(image_size) // 2), 0
    while side > LARGEST_GRID:
        side, poolings = side // 2, poolings + 1
    return poolings


@dataclass(slots=True)
class _Blocks:
    """The repeated parts; every layer that draws numbers gets a seed of its own."""

    keras: Any
    seed: int

    def next_seed(self) -> int:
        self.seed += 1
        return self.seed

    def normalised(
        self, features: Any, filters: int, name: str, *, size: int = 3, **options: Any
    ) -> Any:
        """Convolution, BatchNorm; options are the convolution's, and the first scale."""
        layers, scale = self.keras.layers, options.pop("scale", "ones")
        features = layers.Conv2D(
            filters,
            size,
            padding="same",
            use_bias=False,
            kernel_initializer=self.keras.initializers.HeNormal(seed=self.next_seed()),
            name=name,
            **options,
        )(features)
        norm = layers.BatchNormalization(
            momentum=MOMENTUM, gamma_initializer=scale, name=f"{name}_norm"
        )
        return norm(features)

    def convolution(self, features: Any, filters: int, name: str, **options: Any) -> Any:
        """Convolution, BatchNorm, ReLU."""
        features = self.normalised(features, filters, name, **options)
        return self.keras.layers.ReLU(name=f"{name}_relu")(features)

    def residual(self, features: Any, filters: int, name: str) -> Any:
        """Two convolutions beside a shortcut (He et al., CVPR 2016).

        At first the shortcut alone is heard (Goyal et al., arXiv:1706.02677).
        """
        shortcut = features
        if features.shape[-1] != filters:
            shortcut = self.normalised(features, filters, f"{name}_shortcut", size=1)
        features = self.convolution(features, filters, f"{name}a")
        features = self.normalised(features, filters, f"{name}b", scale="zeros")
        features = self.keras.layers.Add(name=f"{name}_sum")([features, shortcut])
        return self.keras.layers.ReLU(name=f"{name}_relu")(features)


def _source_layers(keras: Any, width: int, num_classes: int, seed: int) -> list[Any]:
    """Layers of the source case, in order: Keras's own defaults, but for the seeds."""
    layers, seeds = keras.layers, iter(range(seed, seed + 100))

    def initial() -> Any:
        return keras.initializers.GlorotUniform(seed=next(seeds))

    def dropout() -> Any:
        return layers.Dropout(SOURCE_DROPOUT, seed=next(seeds))

    found: list[Any] = []
    for block in range(3):
        found += [dropout()] if block else []
        found += [
            layers.Conv2D(width, 3, activation="relu", kernel_initializer=initial()),
            layers.BatchNormalization(),
            layers.MaxPooling2D(2),
        ]
    found += [layers.Flatten(), dropout()]
    for units in SOURCE_DENSE:
        found.append(layers.Dense(units, activation="relu", kernel_initializer=initial()))
        found.append(layers.BatchNormalization())
    head = layers.Dense(num_classes, activation="softmax", kernel_initializer=initial())
    return [*found, head]
