"""BatchNorm layers one by one: how far their statistics are off, and which lie behind Dropout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from segmentation.audit.finding import Finding, Table
from segmentation.audit.model_graph import NORM

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import keras
    from numpy.typing import NDArray

    from segmentation.audit.thresholds import ModelThresholds
    from segmentation.networks.graph import Graph, Step

DROPOUTS = ("Dropout", "SpatialDropout", "GaussianDropout", "AlphaDropout")
# Share of a layer's largest variance below which a channel hardly varies.
ALIVE = 0.01
RECALIBRATE = "`maskmill audit BUNDLE --on IMAGE --truth LABEL --recalibrate OUT`"


@dataclass(frozen=True, slots=True)
class LayerRow:
    """Statistics of one BatchNorm layer against those of the images.

    Attributes
    ----------
    layer : keras.layers.Layer
        With the statistics it kept.
    shift : float
        Distance of the means in standard deviations, median of the channels.
    ratio : float
        Kept variance over that of the images, each with the layer's epsilon, median of the
        channels that vary in these images.
    """

    layer: Any
    shift: float
    ratio: float


def layer_rows(model: keras.Model, exact: keras.Model) -> tuple[LayerRow, ...]:
    """Every BatchNorm layer of a network against the same layer of its recalibrated copy."""
    pairs = zip(_norms(model), _norms(exact), strict=True)
    return tuple(LayerRow(old, *_distance(old, new)) for old, new in pairs)


def _norms(model: keras.Model) -> list[Any]:
    return [layer for layer in model._flatten_layers() if type(layer).__name__ == NORM]


def _distance(old: Any, new: Any) -> tuple[float, float]:
    """Shift and ratio; channels that hardly vary in these images have no say in the ratio."""
    kept, true = (np.asarray(x.moving_variance.numpy(), np.float64) for x in (old, new))
    apart: NDArray[Any] = np.abs(old.moving_mean.numpy() - new.moving_mean.numpy())
    alive = true >= ALIVE * true.max()
    ratio = (kept + old.epsilon) / (true + old.epsilon)
    return float(np.median(apart / np.sqrt(true + old.epsilon))), float(np.median(ratio[alive]))


def layer_table(layers: Sequence[LayerRow]) -> Table:
    """Evidence: how far every layer is off."""
    return Table(
        "BatchNorm layers, median of the channels (a healthy network may be off, too)",
        ("layer", "shift of the mean, in standard deviations", "kept variance / variance"),
        tuple((row.layer.name, row.shift, row.ratio) for row in layers),
    )


def behind_dropout(graph: Graph) -> frozenset[int]:
    """BatchNorm layers (their ids) that Dropout reaches with no other BatchNorm between."""
    makers = {tensor: step for step in graph.steps for tensor in step.outputs}
    norms = [step for step in graph.steps if step.kind == NORM]
    return frozenset(id(step.operation) for step in norms if _meets_dropout(step, makers))


def _meets_dropout(step: Step, makers: dict[int, Step]) -> bool:
    waiting, seen = list(step.inputs), set[int]()
    while waiting:
        tensor = waiting.pop()
        maker = makers.get(tensor)
        if maker is None or tensor in seen or maker.kind == NORM:
            continue
        if maker.kind.startswith(DROPOUTS) and getattr(maker.operation, "rate", 0) > 0:
            return True
        seen.add(tensor)
        waiting.extend(maker.inputs)
    return False


def dropout_findings(
    graph: Graph, layers: Sequence[LayerRow], thresholds: ModelThresholds
) -> Iterator[Finding]:
    """Layers behind Dropout whose kept variance is too large, where that of the others is not.

    Parameters
    ----------
    graph : Graph
        Of the network.
    layers : sequence of LayerRow
        All its BatchNorm layers.
    thresholds : ModelThresholds
        When a finding is made.
    """
    ids = behind_dropout(graph)
    others = [row.ratio for row in layers if id(row.layer) not in ids]
    usual = float(np.median(others)) if others else 1.0
    limit = thresholds.variance_ratio * max(usual, 1.0)
    bent = [row for row in layers if id(row.layer) in ids and row.ratio > limit]
    if not bent:
        return
    ratio = max(row.ratio for row in bent)
    yield Finding(
        code="MODEL-DROPOUT-BEFORE-BN",
        severity="warning",
        statement=f"{len(bent)} BatchNorm layers lie behind Dropout and have learned a variance "
        f"up to {ratio:.1f} times too large: Dropout adds to it in training, and is off later.",
        rule=f"Kept variance over that of the images, median of a layer's channels, above "
        f"{thresholds.variance_ratio:g} times that of the layers that are not behind Dropout "
        f"({usual:.1f}); measured up to {ratio:.1f}.",
        advice="Put Dropout behind the last BatchNorm layer, or leave it out, and train again; "
        f"until then {RECALIBRATE}. Training longer does not help.",
        proves_not="That predictions suffer: MODEL-BN-GAP tells that.",
        evidence=(layer_table(bent),),
    )
