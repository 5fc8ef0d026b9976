"""Stride and halo of a Keras graph, read off its layers.

The walk goes backwards from an output block of one stride, tensor by tensor, and asks which
interval of each tensor the block depends on::

    output           [0, S)
    conv 3x3        [-1, S + 1)
    upsampling      [-1, S/2 + 1)     ... and so on, to the input: [low, high)

    halo = max(-low, high - S), rounded up to whole strides

Every layer used here commutes with shifts by one stride, so one block speaks for all of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from segmentation.layer_rules import (
    AxisRule,
    NotLocalError,
    Rule,
    Size,
    Sizes,
    identity_rule,
    local_rule,
)
from segmentation.networks.graph import Graph, GraphError, Step, read_graph

if TYPE_CHECKING:
    from collections.abc import Sequence

    import keras

Interval = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Geometry:
    """What tiling needs to know about a network, along each of its spatial axes.

    Attributes
    ----------
    stride : tuple of int
        Tile origins and sizes are multiples of it.
    halo : tuple of int
        Smallest multiple of the stride such that an aligned core depends on nothing further
        away. An estimate where the network is not exact.
    exact : bool
        Whether every output voxel depends on a window of the input alone.
    reasons : tuple of str
        Why not: one sentence for each layer that is not local.
    """

    stride: tuple[int, ...]
    halo: tuple[int, ...]
    exact: bool
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Walk:
    """Sizes of all tensors, and the rule of each step."""

    graph: Graph
    sizes: dict[int, Sizes]
    rules: tuple[tuple[AxisRule, ...], ...]
    reasons: tuple[str, ...]

    @property
    def stride(self) -> tuple[int, ...]:
        """Least input extents that every tensor divides into whole voxels."""
        return tuple(
            math.lcm(*(sizes[axis].scale.numerator for sizes in self.sizes.values()))
            for axis in range(self.graph.dimensions)
        )


def derive(model: keras.Model) -> Geometry:
    """Stride and halo of a functional or sequential model.

    Parameters
    ----------
    model : keras.Model
        Channels last, spatial axes between the batch and the channels. Nested models are
        walked through.

    Returns
    -------
    Geometry
        ``exact`` is False, with reasons, if the graph holds anything that is not known to be
        local: the halo then covers the local part only.
    """
    try:
        walk = walk_forwards(read_graph(model))
    except GraphError as error:
        free = (1,) * (len(model.inputs[0].shape) - 2) if getattr(model, "inputs", None) else ()
        return Geometry(free, (0,) * len(free), False, (str(error),))
    halo = tuple(_halo(walk, axis, stride) for axis, stride in enumerate(walk.stride))
    return Geometry(walk.stride, halo, not walk.reasons, walk.reasons)


def walk_forwards(graph: Graph) -> Walk:
    """Size of every tensor and rule of every step, in graph order.

    A step that is not local is taken for one that works voxel by voxel, and gives a reason.
    """
    whole = (Size(),) * graph.dimensions
    sizes: dict[int, Sizes] = dict.fromkeys(graph.inputs, whole)
    rules, reasons = [], []
    for step in graph.steps:
        inputs = [sizes[tensor] for tensor in step.inputs]
        rule, reason = _rule_or_reason(step, inputs)
        rules.append(rule[0])
        reasons.extend([reason] if reason else [])
        sizes.update(dict.fromkeys(step.outputs, rule[1]))
    if any(sizes[tensor] != whole for tensor in graph.outputs):
        reasons.append("the output is not as large as the input")
    return Walk(graph, sizes, tuple(rules), tuple(dict.fromkeys(reasons)))


def _rule_or_reason(step: Step, inputs: Sequence[Sizes]) -> tuple[Rule, str | None]:
    try:
        return local_rule(step, inputs), None
    except NotLocalError as cause:
        return identity_rule(inputs[0]), f"{step.label} {cause}"


def _halo(walk: Walk, axis: int, stride: int) -> int:
    """Context one side of an aligned block needs along one axis, in whole strides."""
    needs: dict[int, Interval] = dict.fromkeys(walk.graph.outputs, (0, stride))
    for step, rules in zip(reversed(walk.graph.steps), reversed(walk.rules), strict=True):
        wanted = [needs[tensor] for tensor in step.outputs if tensor in needs]
        if not wanted:
            continue
        reads = rules[axis].needs(*_hull(wanted))
        for tensor in step.inputs:
            needs[tensor] = _hull([reads, needs[tensor]]) if tensor in needs else reads
    low, high = _hull([needs[tensor] for tensor in walk.graph.inputs if tensor in needs])
    return -(-max(-low, high - stride, 0) // stride) * stride


def _hull(intervals: Sequence[Interval]) -> Interval:
    return min(low for low, _ in intervals), max(high for _, high in intervals)
