"""The network of a bundle as it computes masks: fewer layers, other arithmetic."""

from __future__ import annotations

from functools import partial
from logging import getLogger
from typing import TYPE_CHECKING, Any

import numpy as np

from segmentation.mismatch import smooth_noise
from segmentation.networks.fold import fold_batch_norm
from segmentation.networks.runtime import import_keras
from segmentation.networks.scores import without_activation
from segmentation.networks.variants import computed_in

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import keras
    from numpy.typing import NDArray

FLOAT32 = "float32"
# Probabilities of a changed network may differ from those of the network itself by rounding.
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


def scores_network(model: keras.Model, head: str, stride: Sequence[int]) -> keras.Model | None:
    """The network in front of its last activation, where that is found to change nothing.

    Parameters
    ----------
    model : keras.Model
        Of any precision; its head is computed in float32.
    head : "softmax" or "sigmoid"
        How its output is read.
    stride : sequence of int
        Of the network.

    Returns
    -------
    keras.Model or None
        None where its end is another one, or where the scores do not give its probabilities.
    """
    activation = getattr(import_keras().activations, head)
    return _checked(
        "Classes are not chosen by scores",
        model,
        partial(without_activation, head=head),
        stride,
        lambda scores: np.asarray(activation(scores), np.float32),
    )


def _checked_fold(model: keras.Model, stride: Sequence[int]) -> keras.Model:
    """The folded network, or the model itself where the two disagree."""
    return _checked("BatchNorm is not folded", model, fold_batch_norm, stride) or model


def _checked(
    otherwise: str,
    model: keras.Model,
    change: Callable[[keras.Model], keras.Model | None],
    stride: Sequence[int],
    read: Callable[[NDArray[np.float32]], NDArray[np.float32]] = np.asarray,
) -> keras.Model | None:
    """Another network with the same probabilities on a small tile; None where there is none.

    Parameters
    ----------
    otherwise : str
        What is said where the other network cannot be used.
    change : callable
        Makes it; the model itself or None where there is nothing to change.
    read : callable
        From the answers of the other network to probabilities.
    """
    try:
        changed = change(model)
        if changed is None or changed is model:
            return None
        tile = _noise(model, stride)
        difference = float(np.abs(read(_answers(changed, tile)) - _answers(model, tile)).max())
    except Exception as error:
        # Keras has errors of its own for layers that cannot be built again, backends for a tile
        # that is too small for unpadded layers.
        logger.warning("%s, since that cannot be checked: %s", otherwise, error)
        return None
    # Not a number is not within the tolerance either.
    if difference <= TOLERANCE:
        return changed
    logger.warning(
        "%s: probabilities would change by up to %.2g; expected %g at most",
        otherwise,
        difference,
        TOLERANCE,
    )
    return None


def _noise(model: Any, stride: Sequence[int]) -> NDArray[np.float32]:
    """A batch of one small tile of seeded noise."""
    fixed = model.input_shape[1:-1]
    extents = [
        size or -(-EXTENT[len(stride)] // step) * step
        for size, step in zip(fixed, stride, strict=True)
    ]
    return smooth_noise((*extents, int(model.input_shape[-1])), seed=0)[np.newaxis]


def _answers(model: Any, tile: NDArray[np.float32]) -> NDArray[np.float32]:
    """What a network gives for a tile; no more than a run of it holds."""
    if tile[..., 0].size <= max(extent**axes for axes, extent in EXTENT.items()):
        return np.asarray(model(tile, training=False), np.float32)
    # Layer by layer, Keras keeps what every layer gave until the last one has run.
    if import_keras().backend.backend() == "jax":
        import jax

        compiled = jax.jit
    else:
        import tensorflow

        compiled = partial(tensorflow.function, autograph=False)
    return np.asarray(compiled(partial(model, training=False))(tile), np.float32)
