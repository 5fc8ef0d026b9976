"""The halo of a network, measured: a check on what `receptive_field` reads off the layers.

The clone has the network's windows and nothing else: one channel, every kernel all ones, no
biases, no activations, sums instead of maxima and joins, float64. A plane of ones
in a volume of zeros then shows through wherever a path leads, and nothing cancels: an output is
above zero exactly where the network could depend on that plane.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from segmentation.networks.graph import Graph, Step, read_graph
from segmentation.networks.runtime import import_keras
from segmentation.receptive_field import Geometry, Walk, derive, walk_forwards

if TYPE_CHECKING:
    from collections.abc import Sequence

    import keras
    from numpy.typing import NDArray

BATCH_VOXELS = 2**19


def measure(model: keras.Model) -> Geometry:
    """Halo of a network, from responses at every phase of the stride, axis by axis.

    Parameters
    ----------
    model : keras.Model
        A network that `derive` finds exact.

    Returns
    -------
    Geometry
        With the measured halo.

    Raises
    ------
    ValueError
        If the network is not exact: there is no halo to measure.
    """
    derived = derive(model)
    if not derived.exact:
        raise ValueError(
            f"the network has no exact halo: {'; '.join(derived.reasons)}. "
            "Only a network made of local layers can be measured"
        )
    walk = walk_forwards(read_graph(model))
    clone = linear_clone(walk.graph)
    halo = tuple(
        _measured_halo(clone, walk, axis, first_guess=guess)
        for axis, guess in enumerate(derived.halo)
    )
    return Geometry(derived.stride, halo, exact=True)


def linear_clone(graph: Graph) -> keras.Model:
    """Network with the same windows, linear and positive, with one channel throughout."""
    keras = import_keras()
    inputs = keras.Input((*(None,) * graph.dimensions, 1), dtype="float64")
    tensors = {graph.inputs[0]: inputs}
    for number, step in enumerate(graph.steps):
        sources = [tensors[tensor] for tensor in step.inputs]
        layer = _positive(keras.layers, step)
        # Networks nested in one network may use a name several times.
        layer.name = f"step{number}"
        tensors[step.outputs[0]] = layer(sources if len(sources) > 1 else sources[0])
    return keras.Model(inputs, tensors[graph.outputs[0]])


def _positive(layers: Any, step: Step) -> Any:
    """Layer with the windows of a step, weights of one and no activation."""
    layer = step.operation
    kind = step.kind.removeprefix("Separable").removeprefix("Depthwise")
    if kind.startswith("Conv"):
        dilation = {"dilation_rate": layer.dilation_rate}
        return _ones(getattr(layers, kind), layer, layer.kernel_size, **dilation)
    if kind.startswith(("MaxPooling", "AveragePooling")):
        # Sums instead of means: a mean in float64 has no 3D kernel on a CPU.
        return _ones(getattr(layers, f"Conv{kind[-2:]}"), layer, layer.pool_size)
    if kind.startswith(("UpSampling", "ZeroPadding", "Cropping")):
        return type(layer).from_config(layer.get_config() | {"dtype": "float64"})
    return layers.Add(dtype="float64") if len(step.inputs) > 1 else layers.Identity(dtype="float64")


def _ones(kind: Any, layer: Any, window: Sequence[int], **options: Any) -> Any:
    return kind(
        1,
        window,
        strides=layer.strides,
        padding=layer.padding,
        use_bias=False,
        kernel_initializer="ones",
        dtype="float64",
        **options,
    )


def _measured_halo(clone: Any, walk: Walk, axis: int, *, first_guess: int) -> int:
    """Widen the volume until no response comes near its ends, then read the halo."""
    stride, ends = walk.stride[axis], math.ceil(_padded(walk, axis))
    margin = -(-(first_guess + ends) // stride) * stride + stride
    while True:
        shape = _probe_shape(walk, axis, 2 * margin + stride)
        first, last = _response(clone, shape, axis, range(margin, margin + stride))
        if first > ends and last < shape[axis] - 1 - ends:
            block = margin // stride
            return stride * max(block - first // stride, last // stride - block, 0)
        margin *= 2


def _padded(walk: Walk, axis: int) -> Fraction:
    """Voxels at the ends that hold padding in place of a response."""
    padded = Fraction(0)
    for step in walk.graph.steps:
        before, after = (walk.sizes[t][axis] for t in (step.inputs[0], step.outputs[0]))
        if step.kind.startswith("ZeroPadding"):
            padded += (after.extra - before.extra) * before.scale
    return padded


def _probe_shape(walk: Walk, axis: int, extent: int) -> tuple[int, ...]:
    """Longer by an extent along one axis; along the others just enough for every layer."""
    shape = [
        stride * (1 + math.ceil(_lost(walk, other) / stride))
        for other, stride in enumerate(walk.stride)
    ]
    shape[axis] += extent
    return tuple(shape)


def _lost(walk: Walk, axis: int) -> Fraction:
    """Voxels that unpadded layers eat, and that a dilated kernel without a centre skips."""
    lost = [-sizes[axis].extra * sizes[axis].scale for sizes in walk.sizes.values()]
    for step in walk.graph.steps:
        size = walk.sizes[step.inputs[0]][axis]
        dilation = getattr(step.operation, "dilation_rate", None) or (1,) * (axis + 1)
        lost.append((dilation[axis] - 1 - size.extra) * size.scale)
    return max(lost)


def _response(clone: Any, shape: tuple[int, ...], axis: int, places: range) -> tuple[int, int]:
    """First and last output plane that a plane of ones at any of the places reaches."""
    step = max(1, BATCH_VOXELS // math.prod(shape))
    reached = np.zeros(shape[axis], bool)
    for start in places[::step]:
        batch = np.zeros((min(step, places.stop - start), *shape, 1))
        for index, sample in enumerate(batch):
            np.moveaxis(sample, axis, 0)[start + index] = 1
        reached |= _planes_reached(np.asarray(clone(batch, training=False)), axis)
    planes = np.flatnonzero(reached)
    return (int(planes[0]), int(planes[-1])) if planes.size else (places.start, places.start)


def _planes_reached(output: NDArray[np.float64], axis: int) -> NDArray[np.bool_]:
    others = tuple(a for a in range(output.ndim) if a != axis + 1)
    return np.asarray((output > 0).any(axis=others))
