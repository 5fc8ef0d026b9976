"""BatchNorm that follows a linear layer, folded into its kernel and bias.

In inference BatchNorm multiplies each channel by ``scale = gamma / sqrt(variance + epsilon)`` and
adds ``beta - mean * scale``. A linear layer in front of it can do both: its kernel is multiplied
by the scale of the channel it makes, and its bias becomes ``(bias - mean) * scale + beta``
(Jacob et al., CVPR 2018, section 3.2). One pass over memory less for each convolution.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from segmentation.networks.graph import GraphError, read_graph
from segmentation.networks.rebuild import rebuild
from segmentation.networks.runtime import import_keras, reading_weights

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

    from segmentation.networks.graph import Graph, Step

NORM = "BatchNormalization"
# By kind without its dimension: the weight that makes the output channels, and where they are.
LAST, BEFORE_LAST, LAST_TWO = "last", "before last", "last two"
LINEAR = {
    "Conv": ("kernel", LAST),
    "ConvTranspose": ("kernel", BEFORE_LAST),
    "DepthwiseConv": ("kernel", LAST_TWO),
    "SeparableConv": ("pointwise_kernel", LAST),
    "Dense": ("kernel", LAST),
}


def fold_batch_norm(model: keras.Model) -> keras.Model:
    """The same network with as few BatchNorm layers as can be, for inference only.

    A BatchNorm is folded if it alone reads the output of a linear layer that has no activation,
    if both are used once, and if it works on the channels that the layer makes. Every other one
    stays, behind an activation or a concatenation for instance.

    Parameters
    ----------
    model : keras.Model
        Functional or sequential, in float32, with models nested in it or not. It stays as it is.

    Returns
    -------
    keras.Model
        A copy, whose folded BatchNorm layers are identities of the same name; the model itself
        where nothing can be folded.
    """
    folded = foldable(model)
    if not folded:
        return model
    norms = {id(norm) for norm in folded.values()}

    def copied(layer: Any) -> Any:
        return _copy(layer, biased=id(layer) in folded, identity=id(layer) in norms)

    clone, pairs = rebuild(model, copied)
    with reading_weights():
        for layer, copy in pairs:
            if id(layer) in folded:
                copy.set_weights(_folded_weights(layer, folded[id(layer)]))
            elif copy.weights:
                copy.set_weights(layer.get_weights())
    return clone


def foldable(model: keras.Model) -> dict[int, Any]:
    """BatchNorm layers that can be folded, by the ``id`` of the layer in front of them.

    Parameters
    ----------
    model : keras.Model
        One without a graph that can be read has none.
    """
    try:
        graph = read_graph(model)
    except GraphError:
        return {}
    readers = Counter(tensor for step in graph.steps for tensor in step.inputs)
    readers.update(graph.outputs)
    uses = Counter(id(step.operation) for step in graph.steps)
    makers = {step.outputs[0]: step for step in graph.steps}
    pairs = ((makers.get(step.inputs[0]), step) for step in _norms(graph))
    return {
        id(before.operation): norm.operation
        for before, norm in pairs
        if before is not None
        and readers[before.outputs[0]] == 1
        and uses[id(before.operation)] == uses[id(norm.operation)] == 1
        and _is_linear(before)
        and _fits(before, norm)
    }


def _norms(graph: Graph) -> list[Step]:
    return [s for s in graph.steps if s.kind == NORM and len(s.inputs) == 1 and _is_plain(s)]


def _is_plain(step: Step) -> bool:
    """Whether nothing is said beside the tensor, such as training=True; no mask is none."""
    return all(constant is None for constant in step.constants)


def _is_linear(step: Step) -> bool:
    layer = step.operation
    if _family(step.kind) not in LINEAR or not _is_plain(step) or len(step.outputs) != 1:
        return False
    plain = not getattr(layer, "lora_enabled", False) and layer.quantization_mode is None
    return plain and layer.activation is import_keras().activations.linear


def _fits(before: Step, norm: Step) -> bool:
    """Whether BatchNorm works on the channels of the layer, both in float32."""
    layer, rank = before.operation, len(before.shapes[0])
    first = getattr(layer, "data_format", "channels_last") == "channels_first"
    dtypes = {d for one in (layer, norm.operation) for d in (one.compute_dtype, one.variable_dtype)}
    return norm.operation.axis % rank == (1 if first else rank - 1) and dtypes == {"float32"}


def _family(kind: str) -> str:
    return kind.replace("1D", "").replace("2D", "").replace("3D", "")


def _copy(layer: Any, *, biased: bool, identity: bool) -> Any:
    if identity:
        return import_keras().layers.Identity(name=layer.name)
    config = layer.get_config()
    return type(layer).from_config(config | {"use_bias": True} if biased else config)


def _folded_weights(layer: Any, norm: Any) -> list[NDArray[np.float32]]:
    """Weights of a layer with its BatchNorm in them, in the order of Keras, the bias last."""
    name, _ = LINEAR[_family(type(layer).__name__)]
    scale, shift = _scale_and_shift(norm)
    bias = np.asarray(layer.bias, np.float64) if layer.use_bias else 0.0
    weights = [
        _scaled(layer, weight, scale) if weight is getattr(layer, name) else np.asarray(weight)
        for weight in layer.weights
        if weight is not layer.bias
    ]
    return [*weights, np.asarray(bias * scale + shift, np.float32)]


def _scaled(layer: Any, weight: Any, scale: NDArray[np.float64]) -> NDArray[np.float32]:
    """Kernel whose output channels are multiplied by their scale."""
    kernel = np.asarray(weight, np.float64)
    _, place = LINEAR[_family(type(layer).__name__)]
    if place == BEFORE_LAST:
        kernel = kernel * scale[:, np.newaxis]
    elif place == LAST_TWO:
        kernel = kernel * scale.reshape(kernel.shape[-2:])
    else:
        kernel = kernel * scale
    return kernel.astype(np.float32)


def _scale_and_shift(norm: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    mean, variance = (
        np.asarray(value, np.float64) for value in (norm.moving_mean, norm.moving_variance)
    )
    scale = 1 / np.sqrt(variance + norm.epsilon)
    if norm.scale:
        scale = scale * np.asarray(norm.gamma, np.float64)
    shift = -mean * scale
    return scale, shift + np.asarray(norm.beta, np.float64) if norm.center else shift
