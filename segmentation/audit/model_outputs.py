"""Findings on what a network answers: one class for all, only 0 and 1, features that never fire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from segmentation.audit.finding import Finding, Table
from segmentation.audit.model_calibration import answers, true_shares
from segmentation.networks.runtime import import_keras

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import keras
    from numpy.typing import NDArray

    from segmentation.audit.model_calibration import Answers, Calibration
    from segmentation.audit.thresholds import ModelThresholds


def output_findings(
    model: keras.Model,
    calibration: Calibration,
    *,
    class_names: Sequence[str],
    head: str,
    thresholds: ModelThresholds,
) -> list[Finding]:
    """What the answers of a network give away.

    Parameters
    ----------
    model : keras.Model
        Its variables stay as they are.
    calibration : Calibration
        Images; their truth tells a collapse from images that hold one class.
    class_names : sequence of str
        By value.
    head : "softmax" or "sigmoid"
        How the output is read.
    thresholds : ModelThresholds
        When a finding is made.
    """
    given = answers(model, calibration.batches, head)
    return [
        *_dead(model, calibration, thresholds),
        *_saturated(given, thresholds),
        *_collapsed(given, calibration, class_names, thresholds),
    ]


def _collapsed(
    given: Answers,
    calibration: Calibration,
    class_names: Sequence[str],
    thresholds: ModelThresholds,
) -> Iterator[Finding]:
    """Nearly all answers are one class; without truth that is worth knowing only."""
    shares, truth = given.shares(len(class_names)), true_shares(calibration, len(class_names))
    value = int(shares.argmax())
    if shares[value] < thresholds.one_class:
        return
    if truth is not None and truth[value] >= thresholds.class_share:
        return
    name, unit = class_names[value], calibration.unit
    known = "" if truth is None else f", and {truth[value]:.1%} of them are"
    yield Finding(
        code="MODEL-OUTPUT-COLLAPSE",
        severity="info" if truth is None else "error",
        statement=f"The network says {name} for {shares[value]:.1%} of the {unit}s{known}.",
        rule=f"At least {thresholds.one_class:.0%} of the predictions are one class"
        + (
            "; whether that is right is not known without truth."
            if truth is None
            else f", and less than {thresholds.class_share:.0%} of the truth is."
        ),
        advice="Give --truth to know whether it is right."
        if truth is None
        else "Look at the findings on BatchNorm and intensities first: they are the usual causes. "
        "Without one, train again with `maskmill train`, and try `--overfit-one` before.",
        proves_not="Why: statistics of BatchNorm, unscaled intensities and a training that never "
        "began all end so.",
        evidence=(_share_table(unit, class_names, shares, truth),),
    )


def _share_table(
    unit: str,
    class_names: Sequence[str],
    shares: NDArray[Any],
    truth: NDArray[Any] | None,
) -> Table:
    true = [None] * len(class_names) if truth is None else truth.tolist()
    rows = tuple(zip(class_names, shares.tolist(), true, strict=True))
    return Table(f"Share of the {unit}s", ("class", "predicted", "true"), rows)


def _saturated(given: Answers, thresholds: ModelThresholds) -> Iterator[Finding]:
    extremes = [sum(int((one == value).sum()) for one in given.outputs) for value in (0.0, 1.0)]
    every = sum(one.size for one in given.outputs)
    share = sum(extremes) / every
    if share <= thresholds.saturated:
        return
    yield Finding(
        code="MODEL-SATURATED",
        severity="warning",
        statement=f"{share:.1%} of the probabilities are exactly 0 or 1: the network cannot say "
        "that it is unsure, and could not have learned on from there.",
        rule=f"More than {thresholds.saturated:.0%} of the outputs are exactly 0 or 1. In float32 "
        "that takes a distance of 87 between the values in front of a softmax.",
        advice="Check that images reach the network scaled as in training (`maskmill info BUNDLE` "
        "shows the rule), then train with scaled images and a smaller learning rate.",
        proves_not="That the classes are wrong; only the probabilities mean nothing.",
        evidence=(
            Table(
                "Outputs",
                ("value", "share"),
                (
                    ("exactly 0", extremes[0] / every),
                    ("exactly 1", extremes[1] / every),
                    ("between", 1 - share),
                ),
            ),
        ),
    )


def _dead(
    model: keras.Model, calibration: Calibration, thresholds: ModelThresholds
) -> Iterator[Finding]:
    found = active_shares(model, calibration.batches)
    rows = [
        (name, len(active), int((active <= thresholds.active).sum()))
        for name, active in found.items()
    ]
    many = [row for row in rows if row[2] > thresholds.dead_share * row[1]]
    if not many:
        return
    name, channels, dead = max(many, key=lambda row: row[2] / row[1])
    yield Finding(
        code="MODEL-DEAD-CHANNELS",
        severity="warning",
        statement=f"{dead} of the {channels} features of layer {name} are never active on these "
        "images: that part of the network does nothing"
        + (f" (and in {len(many) - 1} other layers)." if len(many) > 1 else "."),
        rule=f"A feature behind a ReLU is dead if it is above zero in at most "
        f"{thresholds.active:.1%} of the places; more than {thresholds.dead_share:.0%} of a "
        f"layer's features, here {dead / channels:.0%}.",
        advice="Train again with a smaller learning rate, or with BatchNorm between convolution "
        "and ReLU, as the default preset of `maskmill train` has it.",
        proves_not="That masks suffer: a wide network has features to spare, and other images may "
        "wake some of these.",
        evidence=(Table("Features that never fire", ("layer", "features", "dead"), tuple(rows)),),
    )


def active_shares(
    model: keras.Model, batches: Sequence[NDArray[np.float32]]
) -> dict[str, NDArray[np.float64]]:
    """Share of the places in which every feature behind a ReLU is above zero, by layer.

    Layers of nested models are left out. Images are looked at one at a time.
    """
    layers = [layer for layer in model.layers if _is_relu(layer)]
    if not layers:
        return {}
    keras = import_keras()
    features = keras.Model(model.inputs[0], [layer.output for layer in layers])
    totals: list[Any] = [0.0] * len(layers)
    places = [0] * len(layers)
    for image in (batch[i : i + 1] for batch in batches for i in range(len(batch))):
        for number, found in enumerate(keras.tree.flatten(features(image, training=False))):
            flat = keras.ops.convert_to_numpy(found).reshape(-1, found.shape[-1])
            totals[number] = totals[number] + (flat > 0).sum(axis=0)
            places[number] += len(flat)
    return {
        layer.name: np.asarray(total, np.float64) / count
        for layer, total, count in zip(layers, totals, places, strict=True)
    }


def _is_relu(layer: Any) -> bool:
    kind = type(layer).__name__
    return kind == "ReLU" or getattr(getattr(layer, "activation", None), "__name__", "") == "relu"
