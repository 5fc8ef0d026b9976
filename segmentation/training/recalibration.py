"""BatchNorm statistics of a whole set of images: exactly, layer after layer, or in one pass.

Moving statistics lag behind the weights and know each batch alone. The population's are taken
layer by layer: those of a layer once all layers before it have theirs. Variance is that of all
voxels together, not the mean of the batches' variances. The quick way looks at all layers at once,
each behind the statistics that those before it had so far.

Source of the merge: Chan, Golub & LeVeque, The American Statistician 37 (1983).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from segmentation.networks.runtime import import_keras
from segmentation.networks.variants import copy_weights, has_batch_norm

if TYPE_CHECKING:
    from collections.abc import Sequence

    import keras
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Moments:
    """Count, mean and sum of squared deviations, float64, per channel."""

    count: int
    mean: NDArray[np.float64]
    squares: NDArray[np.float64]

    @classmethod
    def of(cls, features: NDArray[np.floating[Any]]) -> Moments:
        """Of an array with the channels last."""
        flat = features.reshape(-1, features.shape[-1]).astype(np.float64)
        mean = flat.mean(axis=0)
        return cls(len(flat), mean, ((flat - mean) ** 2).sum(axis=0))

    def __add__(self, other: Moments) -> Moments:
        count = self.count + other.count
        apart = other.mean - self.mean
        mean = self.mean + apart * other.count / count
        squares = self.squares + other.squares + apart**2 * self.count * other.count / count
        return Moments(count, mean, squares)

    @property
    def variance(self) -> NDArray[np.float64]:
        """Of the population: divided by the count."""
        return self.squares / self.count


def recalibrated(
    model: keras.Model, batches: Sequence[NDArray[np.float32]], *, fast: bool = False
) -> keras.Model:
    """A copy of a network whose BatchNorm layers have the statistics of some images.

    Parameters
    ----------
    model : keras.Model
        Functional or sequential, or the mean of such networks; it stays as it is.
    batches : sequence of float32, shape (batch, *spatial, channels)
        Normalised images, as the network will be shown.
    fast : bool
        One pass over the images for all layers, instead of one for each. The statistics of a
        layer are then those it has while the layers before it still use their old ones: exact
        for a first layer, an approximation behind it.

    Raises
    ------
    ValueError
        If there is no image, or a BatchNorm layer lies in a model nested behind other layers, is
        used twice, or does not normalise the last axis.
    """
    if not batches:
        raise ValueError("no image was given to take statistics from; give at least one")
    keras = import_keras()
    copy = keras.models.clone_model(model)
    copy_weights(model, copy)
    for network in _networks(copy):
        layers = _norm_layers(network)
        for together in [layers] if fast else [[layer] for layer in layers]:
            _settle(network, together, batches)
    return copy


def _settle(network: keras.Model, layers: Sequence[Any], batches: Sequence[Any]) -> None:
    """Give some layers the statistics of what reaches them, in one pass over the images."""
    if not layers:
        return
    features = import_keras().Model(network.inputs[0], [layer.input for layer in layers])
    totals = _moments(features, batches[0])
    for batch in batches[1:]:
        found = _moments(features, batch)
        totals = [total + one for total, one in zip(totals, found, strict=True)]
    for layer, total in zip(layers, totals, strict=True):
        layer.moving_mean.assign(total.mean.astype(np.float32))
        layer.moving_variance.assign(total.variance.astype(np.float32))


def _moments(features: keras.Model, batch: NDArray[np.float32]) -> list[Moments]:
    keras = import_keras()
    found = keras.tree.flatten(features(batch, training=False))
    return [Moments.of(keras.ops.convert_to_numpy(x)) for x in found]


def _networks(model: keras.Model) -> list[Any]:
    """The networks of an ensemble, each of which sees the images themselves; else the model."""
    own = [layer for layer in model.layers if type(layer).__name__ == "BatchNormalization"]
    nested = [
        layer
        for layer in model.layers
        if isinstance(layer, import_keras().Model) and has_batch_norm(layer)
    ]
    return nested if nested and not own and all(_sees(model, part) for part in nested) else [model]


def _sees(model: keras.Model, part: Any) -> bool:
    """Whether a nested model is called once, on the input of the model."""
    nodes = part._inbound_nodes
    return len(nodes) == 1 and nodes[0].input_tensors[0] is model.inputs[0]


def _norm_layers(model: keras.Model) -> list[Any]:
    """BatchNorm layers in the order in which the network runs them."""
    found = [x for x in model._flatten_layers() if type(x).__name__ == "BatchNormalization"]
    usable = [layer for layer in model.layers if layer in found]
    for layer in found:
        single = layer in usable and len(layer._inbound_nodes) == 1
        if not single or layer.axis not in (-1, len(layer.input.shape) - 1):
            raise ValueError(
                f"BatchNorm layer '{layer.name}' cannot be recalibrated: it lies in a nested "
                "model, is used more than once, or normalises another axis than the last"
            )
    return usable
