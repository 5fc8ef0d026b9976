"""Findings that the graph of a network gives away, before any image."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from segmentation.audit.finding import Finding, Table
from segmentation.audit.model_head import oversized_head, squeezed_head
from segmentation.networks.graph import Graph, read_graph

if TYPE_CHECKING:
    from collections.abc import Iterator

    import keras

    from segmentation.audit.thresholds import ModelThresholds

NORM = "BatchNormalization"


def graph_findings(
    model: keras.Model,
    *,
    head: str,
    num_classes: int,
    train_images: int | None,
    steps: int | None,
    thresholds: ModelThresholds,
) -> list[Finding]:
    """What is wrong with a network as it is built.

    Parameters
    ----------
    model : keras.Model
        Functional or sequential.
    head : "softmax" or "sigmoid"
        How its output is read.
    num_classes : int
        Classes it has to tell apart, the background included.
    train_images : int or None
        Images it was trained on, where every image has one class; None if not known, or if every
        voxel has one.
    steps : int or None
        Steps of its training, if they are known.
    thresholds : ModelThresholds
        When a finding is made.

    Raises
    ------
    GraphError
        If the model has no graph that can be read.
    """
    graph = read_graph(model)
    return [
        *_classes(model, head, num_classes),
        *squeezed_head(graph, num_classes),
        *_lagging(graph, steps, thresholds),
        *oversized_head(model, graph, train_images, thresholds),
    ]


def _classes(model: Any, head: str, num_classes: int) -> Iterator[Finding]:
    outputs = int(model.output_shape[-1])
    expected = num_classes if head == "softmax" else num_classes - 1
    if outputs == expected:
        return
    counted = "one for each class" if head == "softmax" else "one for each class but the background"
    yield Finding(
        code="MODEL-CLASSES-MISMATCH",
        severity="error",
        statement=f"The network has {outputs} outputs for {num_classes} classes: some of them can "
        "never be predicted, or mean something else."
        if outputs < expected
        else f"The network has {outputs} outputs for {num_classes} classes: some of its answers "
        "are of no class.",
        rule=f"A {head} head needs {expected} outputs, {counted}; it has {outputs}.",
        advice="Train the network for these classes with `maskmill train CATALOG.yaml --out "
        "BUNDLE`, or name the classes it was built for with `maskmill pack --classes`.",
        proves_not="That the classes it does know are predicted badly.",
        evidence=(
            Table("Outputs", ("", "number"), (("classes", num_classes), ("outputs", outputs))),
        ),
    )


def _lagging(graph: Graph, steps: int | None, thresholds: ModelThresholds) -> Iterator[Finding]:
    momenta = [float(s.operation.momentum) for s in graph.steps if s.kind == NORM]
    if steps is None or not momenta or steps < 1:
        return
    momentum = max(momenta)
    left = momentum**steps
    if left <= thresholds.bn_left:
        return
    settled = math.ceil(math.log(thresholds.bn_left) / math.log(momentum))
    yield Finding(
        code="MODEL-BN-LAG",
        severity="info",
        statement=f"After {steps} steps {left:.0%} of what BatchNorm knows is still what it began "
        "with, and not the images.",
        rule=f"{momentum:g}^{steps} = {left:.2f} of the initial statistics are left, more than "
        f"{thresholds.bn_left:g}; {settled} steps would bring them below that.",
        advice="Train longer, or give BatchNorm a momentum of 0.9; or take the statistics anew: "
        "`maskmill audit BUNDLE --on IMAGE --recalibrate OUT`.",
        proves_not="That predictions suffer: MODEL-BN-GAP tells that, from an image.",
        evidence=(
            Table(
                "Share of the initial statistics that is left",
                ("steps", "share"),
                tuple((n, momentum**n) for n in sorted({1, steps, settled})),
            ),
        ),
    )
