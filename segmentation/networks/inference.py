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

FLOAT32 = "float32"
# Probabilities of the folded network may differ from those of the network itself by rounding.
TOLERANCE = 1e-5
# Voxels along each axis of the tile on which the two are compared, by number of axes.
EXTENT = {2: 64, 3: 16}

logger = getLogger(__name__)


def inference_network(
    model: keras.Model, stride: Sequence[int], *, precision: str = FLOAT32, fold: bool = True
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

    Raises
    ------
    ValueError
        If this device cannot compute the network in this precision.
    """
    found = _checked_fold(model, stride) if fold else model
    return found if precision == FLOAT32 else _checked_precision(found, stride, precision)


def _checked_precision(model: keras.Model, stride: Sequence[int], precision: str) -> keras.Model:
    """The network in a lower precision, once a small tile has shown that the device has it."""
    low, tile = computed_in(model, precision), _noise(model, stride)
    # Backends have errors of their own, for tiles that are too small as for missing programs.
    error = _failure(low, tile)
    if error is None or _failure(model, tile) is not None:
        return low
    reason = str(error).partition("\n")[0]
    raise ValueError(
        f"this device cannot compute the network in {precision} ({reason}); use float32, or "
        "bfloat16 where the hardware has it (--precision)"
    ) from error


def _failure(model: Any, tile: NDArray[np.float32]) -> Exception | None:
    try:
        _answers(model, tile)
    except Exception as error:
        return error
    return None


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
    """Largest difference of probabilities on one small tile."""
    tile = _noise(model, stride)
    return float(np.abs(_answers(folded, tile) - _answers(model, tile)).max())


def _noise(model: Any, stride: Sequence[int]) -> NDArray[np.float32]:
    """A batch of one small tile of seeded noise."""
    fixed = model.input_shape[1:-1]
    extents = [
        size or -(-EXTENT[len(stride)] // step) * step
        for size, step in zip(fixed, stride, strict=True)
    ]
    return smooth_noise((*extents, int(model.input_shape[-1])), seed=0)[np.newaxis]


def _answers(model: Any, tile: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(model(tile, training=False), np.float32)
