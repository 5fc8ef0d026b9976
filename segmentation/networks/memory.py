"""How much memory a forward pass or a training step holds, from the graph."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from segmentation.networks.graph import read_graph
from segmentation.receptive_field import walk_forwards

if TYPE_CHECKING:
    from collections.abc import Sequence

    import keras

    from segmentation.networks.graph import Graph
    from segmentation.receptive_field import Walk

FLOAT32_BYTES = 4
# Measured with TensorFlow 2.21 on CPUs: what the allocator holds above what is alive.
ALLOCATOR_OVERHEAD = 1.25
# Of the bytes in float32, what a forward pass in a lower precision holds: its head stays in
# float32, and on CPUs some operations compute on copies in float32.
LOW_PRECISION_SHARE = 0.75
# Of a training step, beside what every layer keeps: the gradients of the widest layer's input
# and output, both also in a layout of their own, and what the loss makes of the probabilities.
GRADIENT_COPIES = 3
LOSS_COPIES = 8
# Value, gradient and the two moments of Adam.
COPIES_OF_A_WEIGHT = 4


def activation_bytes(model: keras.Model) -> int:
    """Bytes of activations one forward pass needs at its peak, per input voxel.

    A tensor lives from the step that makes it to the last one that reads it. A convolution
    also copies what it reads and writes into a layout of its own.

    Parameters
    ----------
    model : keras.Model
        Functional or sequential.

    Returns
    -------
    int
        Bytes of float32 per voxel of the tile, an upper estimate. Weights are not in it.
    """
    walk = walk_forwards(read_graph(model))
    values = _values_per_voxel(walk)
    last_reader = {t: index for index, step in enumerate(walk.graph.steps) for t in step.inputs}
    last_reader |= dict.fromkeys(walk.graph.outputs, len(walk.graph.steps))
    alive, peak = set(walk.graph.inputs), 0.0
    for index, step in enumerate(walk.graph.steps):
        alive.update(step.outputs)
        touched = {*step.inputs, *step.outputs} if "Conv" in step.kind else set()
        peak = max(peak, sum(values[t] for t in alive) + sum(values[t] for t in touched))
        alive = {t for t in alive if last_reader.get(t, -1) > index}
    return math.ceil(peak * FLOAT32_BYTES * ALLOCATOR_OVERHEAD)


def training_bytes(model: keras.Model, crop: Sequence[int], batch_size: int) -> int:
    """Bytes that one training step needs at its peak, in float32 with Adam.

    Every layer's output is kept until its gradient is taken.

    Parameters
    ----------
    model : keras.Model
        Functional or sequential.
    crop : sequence of int
        Extent of a crop along the network's axes.
    batch_size : int
        Crops a step.

    Returns
    -------
    int
        An upper estimate, weights included; the program itself, some 700 MiB with TensorFlow,
        and crops that wait for their turn are not in it.
    """
    walk = walk_forwards(read_graph(model))
    values = _values_per_voxel(walk)
    widest = max(
        (sum(values[t] for t in (*step.inputs, *step.outputs)) for step in walk.graph.steps),
        default=0.0,
    )
    ends = sum(values[t] for t in walk.graph.outputs)
    per_voxel = sum(values.values()) + GRADIENT_COPIES * widest + LOSS_COPIES * ends
    voxels = batch_size * math.prod(crop)
    weights = COPIES_OF_A_WEIGHT * int(model.count_params()) * FLOAT32_BYTES
    return math.ceil(voxels * per_voxel * FLOAT32_BYTES * ALLOCATOR_OVERHEAD) + weights


def _values_per_voxel(walk: Walk) -> dict[int, float]:
    """Numbers in each tensor for one voxel of the input."""
    return {
        tensor: (shape[-1] or 1) / math.prod(float(size.scale) for size in walk.sizes[tensor])
        for tensor, shape in _shapes(walk.graph).items()
    }


def _shapes(graph: Graph) -> dict[int, tuple[int | None, ...]]:
    shapes = dict(zip(graph.inputs, graph.input_shapes, strict=True))
    for step in graph.steps:
        shapes |= dict(zip(step.outputs, step.shapes, strict=True))
    return shapes
