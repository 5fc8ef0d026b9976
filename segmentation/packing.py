"""An existing Keras model becomes a bundle: its graph checked, its halo derived and measured."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from segmentation.bundle import BundleError, Card, ClassInfo
from segmentation.linear_clone import measure
from segmentation.mismatch import measure_mismatch, measure_overlap
from segmentation.networks.graph import GraphError, read_graph
from segmentation.networks.memory import activation_bytes
from segmentation.networks.runtime import import_keras, reading_weights
from segmentation.predictor import NetworkPredictor
from segmentation.receptive_field import Geometry, derive

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import keras

    from segmentation.networks.graph import Graph

DEFAULT_TILE = {"yx": 256, "zyx": 64}
SOFTWARE = ("maskmill", "keras", "numpy")


def check_model(model: keras.Model, num_classes: int, axes: str) -> str:
    """Check that a network can segment; return its head.

    Parameters
    ----------
    model : keras.Model
        As loaded.
    num_classes : int
        Classes of the masks, the background included.
    axes : "yx" or "zyx"
        Spatial axes of the network.

    Returns
    -------
    str
        "softmax" or "sigmoid".

    Raises
    ------
    BundleError
        Several inputs or outputs, another rank, an output that is not as large as the input,
        no softmax or sigmoid at the end, or another number of classes.
    """
    if axes not in ("yx", "zyx"):
        raise BundleError(f"axes are {axes!r}; expected 'yx' or 'zyx'")
    graph = _graph(model)
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise BundleError(
            f"the network has {len(model.inputs)} inputs and {len(model.outputs)} outputs; "
            "expected one of each. Make a model of the branch that gives the masks"
        )
    source, result = tuple(model.inputs[0].shape), tuple(model.outputs[0].shape)
    for name, shape in (("input", source), ("output", result)):
        if len(shape) != len(axes) + 2 or shape[-1] is None:
            raise BundleError(
                f"the {name} has shape {shape}; axes {axes} need "
                f"(batch, {', '.join(axes)}, channels)"
            )
    _check_size(model, source, result)
    head = _head(graph)
    _check_classes(result[-1], num_classes, head)
    return head


def _check_size(model: keras.Model, source: Sequence[Any], result: Sequence[Any]) -> None:
    reasons = derive(model).reasons
    if source[1:-1] != result[1:-1] or "the output is not as large as the input" in reasons:
        raise BundleError(
            f"the output of shape {tuple(result)} is not as large as the input "
            f"{tuple(source)}; use padding='same', or pad what the layers take away"
        )


def _check_classes(outputs: int, num_classes: int, head: str) -> None:
    expected = num_classes if head == "softmax" else num_classes - 1
    if outputs == expected:
        return
    counted = "the background included" if head == "softmax" else "one for each foreground class"
    raise BundleError(
        f"the network's {head} head has {outputs} channels, but {num_classes} classes were named "
        f"(with the background); expected {expected} channels, {counted}. "
        f"Name {outputs if head == 'softmax' else outputs + 1} classes"
    )


def _graph(model: keras.Model) -> Graph:
    try:
        return read_graph(model)
    except GraphError as error:
        raise BundleError(str(error)) from error


def _head(graph: Graph) -> str:
    """The activation the probabilities come from; a mean of alike ones is one of them."""
    return _activation(graph, graph.outputs[0])


def _activation(graph: Graph, tensor: int) -> str:
    last = next(step for step in reversed(graph.steps) if tensor in step.outputs)
    if last.kind == "Average":
        found = {_activation(graph, source) for source in last.inputs}
        if len(found) == 1:
            return found.pop()
    if last.kind in ("Softmax", "ops.Softmax"):
        return "softmax"
    if last.kind == "ops.Sigmoid":
        return "sigmoid"
    name = getattr(getattr(last.operation, "activation", None), "__name__", "none")
    if name in ("softmax", "sigmoid"):
        return name
    raise BundleError(
        f"the network ends in {last.label} with activation {name}: its output is not "
        "probabilities. Add a softmax or sigmoid layer and save the model again"
    )


def free_size(model: keras.Model) -> keras.Model:
    """The same network for images of any size, if its layers allow it; else the model itself.

    A model built for one size, such as (256, 256, 1), is rebuilt where every layer is local.

    Raises
    ------
    BundleError
        If the model has no graph that can be read.
    """
    shapes = _graph(model).input_shapes
    shape = shapes[0]
    if len(shapes) > 1 or set(shape[1:-1]) == {None} or not derive(model).exact:
        return model
    keras = import_keras()
    inputs = keras.Input((*(None,) * (len(shape) - 2), shape[-1]))
    rebuilt = keras.models.clone_model(model, input_tensors=inputs)
    with reading_weights():
        rebuilt.set_weights(model.get_weights())
    return rebuilt


def make_card(
    model: keras.Model,
    classes: Sequence[ClassInfo],
    *,
    axes: str,
    intensity: Mapping[str, Any],
    voxel_size: Sequence[float] | None = None,
    unit: str | None = None,
    training: Mapping[str, Any] | None = None,
) -> Card:
    """Card of a network, after `check_model` and `free_size`.

    Parameters
    ----------
    model : keras.Model
        The network.
    classes : sequence of ClassInfo
        The background first.
    axes, intensity, voxel_size, unit, training
        See `Card`.

    Returns
    -------
    Card
        With halo and stride derived and measured, and the measured mismatch. The digest of the
        model is added by `save_bundle`.

    Raises
    ------
    BundleError
        As `check_model` does, or for classes and intensities that make no sense.
    """
    head = check_model(model, len(classes), axes)
    geometry = settled_geometry(model)
    fixed = tuple(model.inputs[0].shape)[1:-1]
    tile = _tile(geometry, axes, fixed)
    if not geometry.exact:
        geometry = replace(geometry, halo=estimated_halo(geometry, tile))
    channels = int(model.inputs[0].shape[-1])
    predictor = NetworkPredictor(model, head=head, geometry=geometry)
    compare = measure_overlap if None not in fixed else measure_mismatch
    return Card(
        classes=tuple(classes),
        axes=axes,
        channels=channels,
        head=head,
        intensity=dict(intensity),
        stride=geometry.stride,
        halo=geometry.halo,
        exact=geometry.exact,
        inexact_reasons=geometry.reasons,
        mismatch=compare(predictor.predict_probabilities, geometry, channels, tile=tile),
        tile=tile,
        activation_bytes=activation_bytes(model),
        voxel_size=None if voxel_size is None else tuple(voxel_size),
        unit=unit,
        training=dict(training or {}),
        versions={name: version(name) for name in SOFTWARE},
    )


def settled_geometry(model: keras.Model) -> Geometry:
    """Derived geometry with the measured halo; not exact if the two contradict each other."""
    derived = derive(model)
    if not derived.exact:
        return derived
    measured = measure(model)
    if any(m > d for m, d in zip(measured.halo, derived.halo, strict=True)):
        reason = f"the halo derived from the layers, {derived.halo}, was measured {measured.halo}"
        return Geometry(derived.stride, measured.halo, exact=False, reasons=(reason,))
    return measured


def working_geometry(model: keras.Model, axes: str) -> Geometry:
    """Derived geometry, with an estimated halo where none is exact; nothing is measured."""
    geometry = derive(model)
    if geometry.exact:
        return geometry
    tile = _tile(geometry, axes, tuple(model.inputs[0].shape)[1:-1])
    return replace(geometry, halo=estimated_halo(geometry, tile))


def estimated_halo(geometry: Geometry, tile: Sequence[int]) -> tuple[int, ...]:
    """Halo where none is exact: what the local layers see, at most a quarter of the tile."""
    halo = []
    for known, stride, extent in zip(geometry.halo, geometry.stride, tile, strict=True):
        quarter = extent // 4 // stride * stride
        halo.append(min(known, quarter) if known else quarter)
    return tuple(halo)


def _tile(geometry: Geometry, axes: str, fixed: Sequence[int | None]) -> tuple[int, ...]:
    """The fixed input size, or a usual one that has room for a core inside the halo."""
    tile = []
    for size, halo, stride in zip(fixed, geometry.halo, geometry.stride, strict=True):
        least = 3 * halo if geometry.exact else 0
        tile.append(size or -(-max(DEFAULT_TILE[axes], least) // stride) * stride)
    return tuple(tile)
