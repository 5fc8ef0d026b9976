"""U-Net in two and three dimensions.

Source: Ronneberger et al., MICCAI 2015; Çiçek et al., MICCAI 2016 (3D). Differences: padded
convolutions, BatchNorm before each ReLU, and a head that sees the last features as they are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, Literal

from segmentation.networks.runtime import import_keras

if TYPE_CHECKING:
    from collections.abc import Sequence

    import keras

Head = Literal["softmax", "sigmoid"]
Upsampling = Literal["nearest", "transpose"]


@dataclass(frozen=True, slots=True)
class UNetShape:
    """The part of a U-Net that is the same at every level.

    Attributes
    ----------
    width : int
        Features at full resolution; they double at every pooling.
    kernel_size, dilation : int
        Of the two convolutions of a level, along every axis.
    batch_norm : bool
        BatchNorm between each convolution and its ReLU.
    upsampling : "nearest" or "transpose"
        Both halve the features and add no reach to the halo. ``nearest`` runs a 1x1
        convolution on the coarse grid and repeats its voxels: the cheapest exact way up, and
        free of checkerboards. ``transpose`` learns one kernel as large as the pooling window.
    """

    width: int = 16
    kernel_size: int = 3
    dilation: int = 1
    batch_norm: bool = True
    upsampling: Upsampling = "nearest"


def build_unet(
    axes: Literal["yx", "zyx"],
    *,
    channels: int,
    num_classes: int,
    depth: int = 4,
    shape: UNetShape | None = None,
    pool: Sequence[tuple[int, ...]] | None = None,
    head: Head = "softmax",
    dropout: float = 0.0,
    seed: int = 0,
    **same_at_every_level: Any,
) -> keras.Model:
    raise NotImplementedError
