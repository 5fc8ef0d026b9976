"""What one voxel of a layer's output reads, along one spatial axis.

Two shapes of rule cover every local layer. A convolution gathers, a transposed one scatters::

    Gather   output i reads inputs   i*stride - before ... + extent     conv, pooling, crop, pad
    Scatter  input i feeds outputs   i*stride - before ... + extent     transposed, upsampling

Padding follows TensorFlow: "same" pads ``(ceil(n/s) - 1) s + k - n`` voxels, the smaller half in
front. Sizes are kept as ``n / scale + extra`` for an input of n voxels, n a multiple of the stride.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from segmentation.networks.graph import Step


class NotLocalError(Exception):
    """The step depends on more of its tile than a window, or on something unknown."""


@dataclass(frozen=True, slots=True)
class Size:
    """Extent of a tensor along one axis: input extent / scale + extra."""

    scale: Fraction = Fraction(1)
    extra: int = 0


@dataclass(frozen=True, slots=True)
class Gather:
    """Output i reads inputs from ``i * stride - before``, ``extent`` of them."""

    extent: int = 1
    stride: int = 1
    before: int = 0

    def needs(self, low: int, high: int) -> tuple[int, int]:
        """Inputs that the outputs [low, high) read, half open."""
        first = low * self.stride - self.before
        return first, (high - 1) * self.stride - self.before + self.extent


@dataclass(frozen=True, slots=True)
class Scatter:
    """Input i feeds outputs from ``i * stride - before``, ``extent`` of them."""

    extent: int
    stride: int
    before: int = 0

    def needs(self, low: int, high: int) -> tuple[int, int]:
        """Inputs that feed the outputs [low, high), half open."""
        first = -((self.extent - 1 - low - self.before) // self.stride)
        return first, (high - 1 + self.before) // self.stride + 1


AxisRule = Gather | Scatter
Sizes = tuple[Size, ...]
Rule = tuple[tuple[AxisRule, ...], Sizes]


def local_rule(step: Step, sizes: Sequence[Sizes]) -> Rule:
    """Rule per spatial axis, and the size of the output.

    Parameters
    ----------
    step : Step
        One layer call.
    sizes : sequence
        Per input tensor, its size along every spatial axis.

    Raises
    ------
    NotLocalError
        With the cause, if the step is not a local one that is known here.
    """
    if getattr(step.operation, "data_format", None) == "channels_first":
        raise NotLocalError("has its channels first")
    for names, rule in _RULES:
        if step.kind in names:
            return rule(step, sizes)
    raise NotLocalError(_CAUSES.get(step.kind, "is not a layer whose reach is known"))


def identity_rule(sizes: Sizes) -> Rule:
    """The rule of a layer that works voxel by voxel."""
    return tuple(Gather() for _ in sizes), sizes


def _voxelwise(step: Step, sizes: Sequence[Sizes]) -> Rule:
    _check_activation(step.operation)
    if any(size != sizes[0] for size in sizes):
        raise NotLocalError("joins tensors of different sizes")
    return identity_rule(sizes[0])


def _rescaling(step: Step, sizes: Sequence[Sizes]) -> Rule:
    _check_constants((step.operation.scale, step.operation.offset))
    return _voxelwise(step, sizes)


def _arithmetic(step: Step, sizes: Sequence[Sizes]) -> Rule:
    _check_constants(step.constants)
    return _voxelwise(step, sizes)


def _channelwise(step: Step, sizes: Sequence[Sizes]) -> Rule:
    axes = step.operation.axis
    rank = len(step.shapes[0])
    for axis in axes if isinstance(axes, list | tuple) else (axes,):
        if axis is not None and axis % rank != rank - 1:
            raise NotLocalError(f"works along axis {axis}, which is not the channels")
    return _voxelwise(step, sizes)


def _parametric_relu(step: Step, sizes: Sequence[Sizes]) -> Rule:
    shared = set(step.operation.shared_axes or ())
    if not shared >= set(range(1, len(step.shapes[0]) - 1)):
        raise NotLocalError("has a slope for every place in the tile")
    return _voxelwise(step, sizes)


def _convolution(step: Step, sizes: Sequence[Sizes]) -> Rule:
    layer = step.operation
    _check_activation(layer)
    extents = [(k - 1) * d + 1 for k, d in zip(layer.kernel_size, layer.dilation_rate, strict=True)]
    return _windows(extents, layer.strides, layer.padding, sizes[0])


def _pooling(step: Step, sizes: Sequence[Sizes]) -> Rule:
    layer = step.operation
    return _windows(layer.pool_size, layer.strides, layer.padding, sizes[0])


def _windows(extents: Sequence[int], strides: Sequence[int], padding: str, sizes: Sizes) -> Rule:
    rules, outputs = [], []
    for extent, stride, size in zip(extents, strides, sizes, strict=True):
        same = padding == "same"
        count = -(-size.extra // stride) if same else (size.extra - extent) // stride + 1
        missing = max((count - 1) * stride + extent - size.extra, 0) if same else 0
        rules.append(Gather(extent, stride, missing // 2))
        outputs.append(Size(size.scale * stride, count))
    return tuple(rules), tuple(outputs)


def _transposed(step: Step, sizes: Sequence[Sizes]) -> Rule:
    layer = step.operation
    _check_activation(layer)
    if layer.output_padding is not None:
        raise NotLocalError("sets output_padding")
    rules, outputs = [], []
    for kernel, stride, dilation, size in zip(
        layer.kernel_size, layer.strides, layer.dilation_rate, sizes[0], strict=True
    ):
        extent = (kernel - 1) * dilation + 1
        overhang = max(extent - stride, 0)
        same = layer.padding == "same"
        rules.append(Scatter(extent, stride, overhang // 2 if same else 0))
        extra = size.extra * stride + (0 if same else overhang)
        outputs.append(Size(size.scale / stride, extra))
    return tuple(rules), tuple(outputs)


def _upsampling(step: Step, sizes: Sequence[Sizes]) -> Rule:
    layer = step.operation
    factors = layer.size
    kind = getattr(layer, "interpolation", "nearest")
    if kind == "nearest":
        rules = [Scatter(factor, factor) for factor in factors]
    elif kind == "bilinear" and all(factor & (factor - 1) == 0 for factor in factors):
        rules = [Scatter(2 * f if f > 1 else 1, f, f // 2) for f in factors]
    elif kind == "bilinear":
        raise NotLocalError(
            "interpolates by a factor whose weights round differently along the image"
        )
    else:
        raise NotLocalError(f"interpolates by {kind}")
    outputs = [
        Size(size.scale / f, size.extra * f) for f, size in zip(factors, sizes[0], strict=True)
    ]
    return tuple(rules), tuple(outputs)


def _padding(step: Step, sizes: Sequence[Sizes]) -> Rule:
    return _shifted(step.operation.padding, 1, sizes[0])


def _cropping(step: Step, sizes: Sequence[Sizes]) -> Rule:
    return _shifted(step.operation.cropping, -1, sizes[0])


def _shifted(amounts: Any, sign: int, sizes: Sizes) -> Rule:
    pairs = [pair if isinstance(pair, list | tuple) else (pair, pair) for pair in amounts]
    rules = tuple(Gather(before=sign * before) for before, _ in pairs)
    return rules, tuple(
        Size(size.scale, size.extra + sign * sum(pair))
        for pair, size in zip(pairs, sizes, strict=True)
    )


def _check_activation(layer: Any) -> None:
    """Refuse an activation that is not one of Keras's own functions."""
    activation = getattr(layer, "activation", None)
    if activation is not None and not activation.__module__.startswith("keras.src.activations"):
        raise NotLocalError(f"has the activation {activation!r}, which is not Keras's own")


def _check_constants(values: Sequence[Any]) -> None:
    """Refuse arrays that could differ from place to place; one number a channel is fine."""
    if any(np.ndim(value) > 1 for value in values):
        raise NotLocalError("uses an array that is fixed to places in the tile")


def _dimensional(*names: str) -> frozenset[str]:
    return frozenset(f"{name}{d}D" for name in names for d in (1, 2, 3))


# fmt: off
_WITHOUT_REACH = _dimensional("SpatialDropout") | {
    "Activation", "ReLU", "LeakyReLU", "ELU", "Dense", "Identity", "ActivityRegularization",
    "Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum",
    "Dropout", "GaussianNoise", "GaussianDropout", "AlphaDropout",
}
_ALONG_AN_AXIS = frozenset({
    "BatchNormalization", "LayerNormalization", "RMSNormalization", "UnitNormalization",
    "Normalization", "Softmax", "Concatenate", "ops.Concatenate", "ops.Softmax",
})
_OPERATIONS = frozenset({
    "ops.Add", "ops.Subtract", "ops.Multiply", "ops.Divide", "ops.TrueDivide", "ops.Maximum",
    "ops.Minimum", "ops.Negative", "ops.Absolute", "ops.Square", "ops.Sqrt", "ops.Exp", "ops.Log",
    "ops.Clip", "ops.Relu", "ops.Relu6", "ops.LeakyRelu", "ops.Elu", "ops.Selu", "ops.Gelu",
    "ops.Silu", "ops.Sigmoid", "ops.Tanh", "ops.Softplus",
})
# fmt: on
_RULES: tuple[tuple[frozenset[str], Callable[[Step, Sequence[Sizes]], Rule]], ...] = (
    (_dimensional("Conv", "SeparableConv", "DepthwiseConv"), _convolution),
    (_dimensional("MaxPooling", "AveragePooling"), _pooling),
    (frozenset(f"Conv{d}DTranspose" for d in (1, 2, 3)), _transposed),
    (_dimensional("UpSampling"), _upsampling),
    (_dimensional("ZeroPadding"), _padding),
    (_dimensional("Cropping"), _cropping),
    (_WITHOUT_REACH, _voxelwise),
    (_ALONG_AN_AXIS, _channelwise),
    (_OPERATIONS, _arithmetic),
    (frozenset({"PReLU"}), _parametric_relu),
    (frozenset({"Rescaling"}), _rescaling),
)

_WHOLE_TILE = "looks at the whole tile"
_REARRANGES = "rearranges the places in the tile"
_CAUSES = {
    "GroupNormalization": _WHOLE_TILE,
    "Attention": _WHOLE_TILE,
    "AdditiveAttention": _WHOLE_TILE,
    "MultiHeadAttention": _WHOLE_TILE,
    "GroupQueryAttention": _WHOLE_TILE,
    **dict.fromkeys(_dimensional("GlobalAveragePooling", "GlobalMaxPooling"), _WHOLE_TILE),
    **dict.fromkeys(_dimensional("AdaptiveAveragePooling", "AdaptiveMaxPooling"), _WHOLE_TILE),
    "Flatten": _REARRANGES,
    "Reshape": _REARRANGES,
    "Permute": _REARRANGES,
    "ops.Reshape": _REARRANGES,
    "ops.Transpose": _REARRANGES,
    "Resizing": "resizes to a fixed size",
    "Lambda": "runs code that cannot be read",
    "ops.Mean": _WHOLE_TILE,
    "ops.Var": _WHOLE_TILE,
    "ops.Max": _WHOLE_TILE,
}
