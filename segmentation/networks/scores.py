"""A network without its last activation: the largest score has the largest probability too.

Softmax and sigmoid keep the order of what they are given, so that a class can be chosen before
them, without an exponential for every voxel and class. Probabilities that rounding makes equal
are told apart by their scores.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from segmentation.networks.graph import GraphError, read_graph
from segmentation.networks.rebuild import rebuild
from segmentation.networks.runtime import import_keras

if TYPE_CHECKING:
    import keras


def without_activation(model: keras.Model, head: str) -> keras.Model | None:
    """The network up to its scores, with the same weights; None if its end is another.

    Parameters
    ----------
    model : keras.Model
        Functional or sequential, with models nested in it or not. It stays as it is.
    head : "softmax" or "sigmoid"
        What its last layer ends in: its own activation, or it is nothing else.
    """
    last = _last_layer(model)
    if last is None or not _ends_in(last, head):
        return None
    keras = import_keras()

    def plain(layer: Any) -> Any:
        if layer is not last:
            return layer
        if not layer.weights:
            return keras.layers.Identity(name=layer.name)
        return type(layer).from_config(layer.get_config() | {"activation": "linear"})

    found, pairs = rebuild(model, plain)
    (copy,) = (new for old, new in pairs if old is last)
    for new, old in zip(copy.weights, last.weights, strict=True):
        new.assign(old)
    return found


def _last_layer(model: keras.Model) -> Any:
    """The layer that makes the output, if it is called once."""
    try:
        graph = read_graph(model)
    except GraphError:
        return None
    uses = Counter(id(step.operation) for step in graph.steps)
    last = next((step for step in graph.steps if graph.outputs[0] in step.outputs), None)
    if last is None or uses[id(last.operation)] != 1 or any(last.constants):
        return None
    return last.operation


def _ends_in(layer: Any, head: str) -> bool:
    """Whether softmax over the last axis, or sigmoid, is the last thing a layer does."""
    keras = import_keras()
    if isinstance(layer, keras.layers.Softmax):
        return head == "softmax" and layer.axis in (-1, (-1,), [-1])
    known = (keras.layers.Activation, keras.layers.Dense, keras.layers.Conv2D, keras.layers.Conv3D)
    return type(layer) in known and layer.activation is getattr(keras.activations, head)
