"""U-Net as the source cases lay it out: repeat, 2x2 convolution, join; BatchNorm after the ReLU.

Source: the layout of Ronneberger et al., MICCAI 2015, as it is copied around for Keras.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from segmentation.networks.runtime import import_keras
from segmentation.networks.unet import MOMENTUM

if TYPE_CHECKING:
    import keras

    from segmentation.networks.unet import Head

DROPOUT = 0.5


def build_source_unet(
    channels: int,
    outputs: int,
    *,
    width: int = 64,
    depth: int = 4,
    head: Head = "softmax",
    regularised: bool = True,
    seed: int = 0,
) -> keras.Model:
    """Build an untrained network of sections.

    ::

        input ─ conv conv ──────────────────────── join ─ conv conv ─ 1x1 head ─ probabilities
                    └ pool ─ conv conv ─ repeat ─ conv 2x2 ┘
                                 └ …              (depth poolings; features double at each)

    Parameters
    ----------
    channels, outputs : int
        Input and output channels.
    width : int
        Features at full resolution.
    depth : int
        Number of poolings.
    head : "softmax" or "sigmoid"
        Activation of the last, 1x1 convolution, which sees the last features as they are.
    regularised : bool
        BatchNorm after every ReLU; Dropout of a half at the two coarsest levels, where the
        BatchNorm that follows sees a larger variance in training than later.
    seed : int
        Of the initial weights and of Dropout.

    Returns
    -------
    keras.Model
        Input (batch, y, x, channels), output (batch, y, x, outputs).

    Raises
    ------
    ValueError
        If `width` or `depth` is out of range.
    """
    if width < 1 or depth < 0:
        raise ValueError(f"width is {width} and depth {depth}; expected >= 1 and >= 0")
    blocks = _Blocks(import_keras(), regularised, seed)
    layers = blocks.keras.layers
    inputs = blocks.keras.Input((None, None, channels), name="image")
    features, skips = inputs, []
    for level in range(depth):
        features = blocks.double(features, width << level, f"down{level}")
        if level == depth - 1:
            features = blocks.dropped(features, f"down{level}_dropout")
        skips.append(features)
        features = layers.MaxPooling2D(2, name=f"pool{level}")(features)
    features = blocks.double(features, width << depth, "bottom")
    features = blocks.dropped(features, "bottom_dropout")
    for level in reversed(range(depth)):
        features = layers.UpSampling2D(2, name=f"repeat{level}")(features)
        features = blocks.convolution(features, width << level, 2, f"up{level}")
        features = layers.Concatenate(name=f"join{level}")([skips[level], features])
        features = blocks.double(features, width << level, f"merge{level}")
    outputs_of_head = blocks.plain(features, outputs, 1, name="head", activation=head)
    return blocks.keras.Model(inputs, outputs_of_head, name="source_unet")


@dataclass(slots=True)
class _Blocks:
    """The repeated parts; every layer that draws numbers gets a seed of its own."""

    keras: Any
    regularised: bool
    seed: int

    def next_seed(self) -> int:
        self.seed += 1
        return self.seed - 1

    def plain(self, features: Any, filters: int, kernel_size: int, **options: Any) -> Any:
        initializer = self.keras.initializers.HeNormal(seed=self.next_seed())
        return self.keras.layers.Conv2D(
            filters, kernel_size, padding="same", kernel_initializer=initializer, **options
        )(features)

    def convolution(self, features: Any, filters: int, kernel_size: int, name: str) -> Any:
        """Convolution, ReLU, BatchNorm."""
        features = self.plain(features, filters, kernel_size, activation="relu", name=name)
        if not self.regularised:
            return features
        norm = self.keras.layers.BatchNormalization(momentum=MOMENTUM, name=f"{name}_norm")
        return norm(features)

    def double(self, features: Any, filters: int, name: str) -> Any:
        return self.convolution(
            self.convolution(features, filters, 3, f"{name}a"), filters, 3, f"{name}b"
        )

    def dropped(self, features: Any, name: str) -> Any:
        if not self.regularised:
            return features
        return self.keras.layers.Dropout(DROPOUT, seed=self.next_seed(), name=name)(features)
