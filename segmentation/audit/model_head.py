"""Findings on the last layers of a network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from segmentation.audit.finding import Finding, Table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from segmentation.audit.thresholds import ModelThresholds
    from segmentation.networks.graph import Graph, Step

# Layers between two layers with weights that keep every feature apart.
TRANSPARENT = frozenset(
    {
        *("BatchNormalization", "Activation", "ReLU", "ops.Relu", "Softmax", "ops.Softmax"),
        *("ops.Sigmoid", "Average", "Dropout", "SpatialDropout2D", "SpatialDropout3D"),
    }
)
FLATTENING = ("Flatten", "Reshape", "ops.Reshape")


def squeezed_head(graph: Graph, num_classes: int) -> Iterator[Finding]:
    """A ReLU layer with no more features than classes, and nothing but the head behind it.

    Parameters
    ----------
    graph : Graph
        Of the network.
    num_classes : int
        Classes it has to tell apart, the background included.
    """
    head = weighted_before(graph, graph.outputs[0])
    before = weighted_before(graph, head.inputs[0]) if head is not None else None
    if head is None or before is None or not _is_cut_off(graph, head, before):
        return
    features = int(before.shapes[0][-1] or 0)
    if features > num_classes:
        return
    yield Finding(
        code="MODEL-RELU-BOTTLENECK-HEAD",
        severity="warning",
        statement=f"In front of its head the network squeezes everything it has found into "
        f"{features} features that cannot be negative, for {num_classes} classes. One feature "
        "that dies takes a class with it.",
        rule=f"The layer before the head has a ReLU and at most as many features as there are "
        f"classes: {features} for {num_classes}.",
        advice="Leave that layer out, so that the head sees all features. The presets of `maskmill "
        "train` are built so.",
        proves_not="That this network has failed: some trainings survive it. Of twelve trainings "
        "of a small binary U-Net four failed with such a layer, and none without.",
        evidence=(
            Table(
                "The last layers with weights",
                ("layer", "kind", "features"),
                tuple(
                    (step.operation.name, step.kind, step.shapes[0][-1]) for step in (before, head)
                ),
            ),
        ),
    )


def oversized_head(
    model: Any, graph: Graph, train_images: int | None, thresholds: ModelThresholds
) -> Iterator[Finding]:
    """One dense layer behind a flattened image: nearly all weights, or many for every image.

    Parameters
    ----------
    model : keras.Model
        The network.
    graph : Graph
        Its graph.
    train_images : int or None
        Images it was trained on, if known.
    thresholds : ModelThresholds
        When a finding is made.
    """
    heads = [s for s in graph.steps if s.kind == "Dense" and is_behind_flatten(graph, s)]
    if not heads:
        return
    largest = max(heads, key=lambda s: int(s.operation.count_params()))
    weights, every = int(largest.operation.count_params()), int(model.count_params())
    share = weights / every
    per_image = weights / train_images if train_images else 0.0
    if share <= thresholds.head_share and per_image <= thresholds.parameters_per_image:
        return
    images = f" That is {per_image:,.0f} for each of {train_images} images." if train_images else ""
    yield Finding(
        code="MODEL-OVERSIZED-HEAD",
        severity="warning",
        statement=f"One dense layer holds {weights:,} of the network's {every:,} weights "
        f"({share:.1%}): enough to learn the training images by heart.{images}",
        rule=f"A dense layer behind a flattened image has {share:.1%} of the weights (limit "
        f"{thresholds.head_share:.0%})"
        + (f" and {per_image:,.0f} for each image" if train_images else "")
        + f" (limit {thresholds.parameters_per_image:,.0f}).",
        advice="Take the mean of every feature over the image instead of flattening it: `maskmill "
        "train CATALOG.yaml --out BUNDLE --preset classifier --folds 5` does.",
        proves_not="That it has learned by heart; scores on images of other groups tell that.",
        evidence=(_weights_table(graph),),
    )


def is_behind_flatten(graph: Graph, step: Step) -> bool:
    """Whether the places of an image reach a dense layer one by one."""
    source: Step | None = step
    while source is not None:
        tensor = source.inputs[0]
        source = next((s for s in graph.steps if tensor in s.outputs), None)
        if source is None or is_weighted(source):
            return False
        if source.kind in FLATTENING:
            return True
    return False


def _weights_table(graph: Graph) -> Table:
    layers = {s.operation.name: (s.kind, int(s.operation.count_params())) for s in graph.steps
              if is_weighted(s)}  # fmt: skip
    rows = tuple((name, kind, weights) for name, (kind, weights) in layers.items())
    return Table("Weights by layer", ("layer", "kind", "weights"), rows)


def weighted_before(graph: Graph, tensor: int) -> Step | None:
    """The convolution or dense layer a tensor comes from, with nothing but `TRANSPARENT` between.

    None where features are mixed, joined or pooled before one is met.
    """
    step = next((s for s in graph.steps if tensor in s.outputs), None)
    while step is not None and not is_weighted(step):
        if step.kind not in TRANSPARENT:
            return None
        source = step.inputs[0]
        step = next((s for s in graph.steps if source in s.outputs), None)
    return step


def is_weighted(step: Step) -> bool:
    """Whether a step is a convolution or a dense layer."""
    return step.kind == "Dense" or "Conv" in step.kind


def _is_cut_off(graph: Graph, head: Step, before: Step) -> bool:
    """Whether a ReLU lies in the layer before the head, or between the two."""
    if activation(before) == "relu":
        return True
    step = next((s for s in graph.steps if head.inputs[0] in s.outputs), None)
    while step is not None and step is not before:
        if step.kind in ("ReLU", "ops.Relu") or activation(step) == "relu":
            return True
        source = step.inputs[0]
        step = next((s for s in graph.steps if source in s.outputs), None)
    return False


def activation(step: Step) -> str:
    """Name of the activation in a layer; empty without one."""
    return getattr(getattr(step.operation, "activation", None), "__name__", "")
