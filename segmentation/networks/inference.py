"""The network of a bundle as it computes masks: fewer layers, other arithmetic."""

from __future__ import annotations

from logging import getLogger
from typing import TYPE_CHECKING, Any

import numpy as np

from segmentation.mismatch import smooth_noise
from segmentation.networks.fold import fold_batch_norm
from segmentation.networks.variants import computed_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    import keras
    from numpy.typing import NDArray

# Probabilities of the folded network may differ from those of the network itself by rounding.
TOLERANCE = 1e-5
# Voxels along each axis of the tile on which the two are compared, by number of axes.
EXTENT = {2: 64, 3: 16}

logger = getLogger(__name__)


def inference_network(
    model: keras.Model, stride: Sequence[int], *, precision: str = "float32", fold: bool = True
) -> keras.Model:
    """A network that gives the same classes with less work.

    Parameters
    ----------
    model : keras.Model
        As trained, in float32.
    stride : sequence of int
        Of the network.
    precision : "float32", "bfloat16" or "float16"
        Of everything but the head.
    fold : bool
        Fold BatchNorm, where that is found to change nothing but rounding.
    """
    return computed_in(_checked_fold(model, stride) if fold else model, precision)


def _checked_fold(model: keras.Model, stride: Sequence[int]) -> keras.Model:
    """The folded network, or the model itself where the two disagree."""
    folded = fold_batch_norm(model)
    if folded is model:
        return model
    try:
        difference = _difference(model, folded, stride)
    except Exception as error:
        # Backends have errors of their own for a tile too small for unpadded layers.
        logger.warning("BatchNorm is not folded, since it cannot be checked: %s", error)
        return model
    # Not a number is not within the tolerance either.
    if difference <= TOLERANCE:
        return folded
    logger.warning(
        "BatchNorm is not folded: probabilities would change by up to %.2g; expected %g at most",
        difference,
        TOLERANCE,
    )
    return model


def _difference(model: Any, folded: Any, stride: Sequence[int]) -> float:
    """Largest difference of probabilities on one small tile of seeded noise."""
    fixed = model.input_shape[1:-1]
    extents = [
        size or -(-EXTENT[len(stride)] // step) * step
        for size, step in zip(fixed, stride, strict=True)
    ]
    tile = smooth_noise((*extents, int(model.input_shape[-1])), seed=0)[np.newaxis]
    return float(np.abs(_answers(folded, tile) - _answers(model, tile)).max())


def _answers(model: Any, tile: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(model(tile, training=False), np.float32)
