"""U-Net in two and three dimensions.

Source: Ronneberger et al., MICCAI 2015; Çiçek et al., MICCAI 2016 (3D). Differences: padded
convolutions, BatchNorm before each ReLU, and a head that sees the last features as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from segmentation.networks.runtime import import_keras

if TYPE_CHECKING:
    from collections.abc import Sequence

    import keras

Head = Literal["softmax", "sigmoid"]
Upsampling = Literal["nearest", "transpose"]

# Of BatchNorm's statistics: half a hundred steps are enough for them to settle.
MOMENTUM = 0.9


def build_unet(
    axes: str,
    *,
    channels: int,
    num_classes: int,
    width: int = 16,
    depth: int = 4,
    head: Head = "softmax",
    batch_norm: bool = True,
    dropout: float = 0.0,
    pool: Sequence[Sequence[int]] | None = None,
    kernel_size: int = 3,
    dilation: int = 1,
    upsampling: Upsampling = "nearest",
    seed: int = 0,
) -> keras.Model:
    """Build an untrained U-Net for images of any size.

    ::

        input ─ conv conv ─────────────────── join ─ conv conv ─ 1x1 head ─ probabilities
                    └ pool ─ conv conv ── up ──┘
                                 └ …         (depth poolings; features double at each)

    Parameters
    ----------
    axes : "yx" or "zyx"
        Spatial axes of the network.
    channels : int
        Input channels.
    num_classes : int
        Output channels: all classes with the background for a softmax head, one for each
        foreground class for a sigmoid head.
    width : int
        Features at full resolution.
    depth : int
        Number of poolings.
    head : "softmax" or "sigmoid"
        Activation of the last, 1x1 convolution.
    batch_norm : bool
        BatchNorm between each convolution and its ReLU.
    dropout : float
        Share of features dropped in front of the head, where no BatchNorm follows that would
        learn the wrong variance.
    pool : sequence of tuple, optional
        Pooling window of every level, such as ``[(1, 2, 2), (2, 2, 2)]``; 2 by default.
    kernel_size, dilation : int
        Of the two convolutions of each level.
    upsampling : "nearest" or "transpose"
        Both halve the features and add nothing to the halo. ``nearest`` runs a 1x1 convolution
        on the coarse grid and repeats its voxels: the cheapest exact way up, free of
        checkerboards. ``transpose`` learns a kernel as large as the pooling window.
    seed : int
        Of the initial weights.

    Returns
    -------
    keras.Model
        Input (batch, *axes, channels) float32, output (batch, *axes, num_classes) in [0, 1].

    Raises
    ------
    ValueError
        If an option is out of range, or `pool` does not fit `depth` and `axes`.
    """
    windows = _pool_windows(axes, depth, pool)
    _check(num_classes, width, head, upsampling, dropout)
    keras = import_keras()
    blocks = _Blocks(keras, len(axes), kernel_size, dilation, batch_norm, upsampling, _Seeds(seed))
    inputs = keras.Input((*(None,) * len(axes), channels), name="image")
    features, skips = inputs, []
    for level, window in enumerate(windows):
        features = blocks.double(features, width << level, f"down{level}")
        skips.append(features)
        features = blocks.pooled(features, window, f"pool{level}")
    features = blocks.double(features, width << depth, "bottom")
    for level, window in reversed(list(enumerate(windows))):
        features = blocks.upsampled(features, width << level, window, f"up{level}")
        features = keras.layers.Concatenate(name=f"join{level}")([skips[level], features])
        features = blocks.double(features, width << level, f"merge{level}")
    if dropout:
        features = keras.layers.Dropout(dropout, seed=seed, name="dropout")(features)
    outputs = blocks.convolution(features, num_classes, 1, name="head", activation=head)
    return keras.Model(inputs, outputs, name="unet")


def _pool_windows(
    axes: str, depth: int, pool: Sequence[Sequence[int]] | None
) -> list[tuple[int, ...]]:
    if axes not in ("yx", "zyx"):
        raise ValueError(f"axes are {axes!r}; expected 'yx' or 'zyx'")
    if depth < 0:
        raise ValueError(f"depth is {depth}; expected the number of poolings, 0 or more")
    windows = [tuple(window) for window in pool or [(2,) * len(axes)] * depth]
    if len(windows) != depth or any(len(w) != len(axes) or min(w) < 1 for w in windows):
        raise ValueError(
            f"pool is {windows}; expected {depth} windows of {len(axes)} whole numbers, "
            "one for every level"
        )
    return windows


def _check(num_classes: int, width: int, head: str, upsampling: str, dropout: float) -> None:
    if head not in ("softmax", "sigmoid"):
        raise ValueError(f"head is {head!r}; expected 'softmax' or 'sigmoid'")
    least = 2 if head == "softmax" else 1
    if num_classes < least:
        raise ValueError(f"num_classes is {num_classes}; a {head} head needs at least {least}")
    if upsampling not in ("nearest", "transpose"):
        raise ValueError(f"upsampling is {upsampling!r}; expected 'nearest' or 'transpose'")
    if width < 1 or not 0 <= dropout < 1:
        raise ValueError(f"width is {width} and dropout {dropout}; expected >= 1 and in [0, 1)")


class _Seeds:
    """One seed after the other, so that no two layers start alike."""

    def __init__(self, first: int) -> None:
        self.last = first - 1

    def next(self) -> int:
        self.last += 1
        return self.last


@dataclass(frozen=True, slots=True)
class _Blocks:
    """The repeated parts of the network, for one number of dimensions."""

    keras: Any
    dimensions: int
    kernel_size: int
    dilation: int
    batch_norm: bool
    upsampling: Upsampling
    seeds: _Seeds

    def layer(self, kind: str) -> Any:
        return getattr(self.keras.layers, kind.format(f"{self.dimensions}D"))

    def initializer(self) -> Any:
        return self.keras.initializers.HeNormal(seed=self.seeds.next())

    def convolution(self, features: Any, filters: int, kernel_size: int, **options: Any) -> Any:
        return self.layer("Conv{}")(
            filters,
            kernel_size,
            padding="same",
            kernel_initializer=self.initializer(),
            **options,
        )(features)

    def double(self, features: Any, filters: int, name: str) -> Any:
        """Twice convolution, BatchNorm, ReLU."""
        for step in ("a", "b"):
            features = self.convolution(
                features,
                filters,
                self.kernel_size,
                dilation_rate=self.dilation,
                use_bias=not self.batch_norm,
                name=f"{name}{step}",
            )
            if self.batch_norm:
                features = self.keras.layers.BatchNormalization(
                    momentum=MOMENTUM, name=f"{name}{step}_norm"
                )(features)
            features = self.keras.layers.ReLU(name=f"{name}{step}_relu")(features)
        return features

    def pooled(self, features: Any, window: tuple[int, ...], name: str) -> Any:
        return self.layer("MaxPooling{}")(window, name=name)(features)

    def upsampled(self, features: Any, filters: int, window: tuple[int, ...], name: str) -> Any:
        if self.upsampling == "nearest":
            features = self.convolution(features, filters, 1, name=f"{name}_halve")
            return self.layer("UpSampling{}")(window, name=name)(features)
        return self.layer("Conv{}Transpose")(
            filters, window, strides=window, kernel_initializer=self.initializer(), name=name
        )(features)
