"""Faults of a network: the trained one altered, audited on an image that it has not seen."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.faults.bundles import altered, crops, cut, norms, rebuilt, same, settled
from benchmarks.faults.fault import Fault
from benchmarks.faults.volumes import TRUTH
from flows.jobs import AuditJob
from segmentation.bundle import CARD_FILE, Card, ClassInfo, save_bundle
from segmentation.networks.runtime import import_keras

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.faults.fault import Plant
    from benchmarks.faults.pipeline import Pipeline

SLOW_MOMENTUM = 0.999


def shown(pipeline: Pipeline, bundle: Path) -> AuditJob:
    """The audit of a bundle on the first specimen of the test part."""
    specimen = next(s for s in pipeline.specimens if s.part == "test")
    return AuditJob(target=str(bundle), on=str(specimen.image), truth=TRUTH)


def changed(change: Callable[[Any], Any], **card: Any) -> Plant:
    """A network that was changed alone."""

    def plant(pipeline: Pipeline, folder: Path) -> AuditJob:
        return shown(pipeline, altered(pipeline, folder, change, **card)[0])

    return plant


def unsettled(pipeline: Pipeline, folder: Path) -> AuditJob:
    """BatchNorm as a momentum of 0.999 leaves it after all the steps of the training."""
    steps = pipeline.training["best_epoch"] * pipeline.training["steps_per_epoch"]
    left = SLOW_MOMENTUM**steps

    def change(model: Any) -> Any:
        for layer in norms(model):
            layer.momentum = SLOW_MOMENTUM
            layer.moving_mean.assign((1 - left) * layer.moving_mean)
            layer.moving_variance.assign(left + (1 - left) * layer.moving_variance)
        return model

    return shown(pipeline, altered(pipeline, folder, change)[0])


def squeezed(model: Any) -> Any:
    """In front of the head as many ReLU channels as there are classes."""
    keras = import_keras()
    features, head = cut(model)
    classes = int(model.output_shape[-1])
    narrow = keras.layers.Conv2D(classes, 1, activation="relu", name="squeezed")
    last = keras.layers.Conv2D(classes, 1, activation="softmax", name="last")
    result = keras.Model(model.inputs[0], last(narrow(features)))
    narrow.set_weights(head.get_weights())
    last.set_weights([2 * np.eye(classes)[None, None], np.zeros(classes)])
    return result


def half_dead(pipeline: Pipeline, folder: Path) -> AuditJob:
    """Half of the features of the first block never fire; the statistics fit that."""

    def change(model: Any) -> Any:
        layer = norms(model)[0]
        beta = layer.beta.numpy()
        beta[: len(beta) // 2] = -20.0
        layer.beta.assign(beta)
        return settled(model, pipeline)

    return shown(pipeline, altered(pipeline, folder, change)[0])


def saturated(model: Any) -> Any:
    """A head whose logits have grown without bound."""
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([500 * kernel, 500 * bias])
    return model


def collapsed(model: Any) -> Any:
    """A head that prefers the background to everything."""
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([0.2 * kernel, bias + np.eye(len(bias))[0] * 6])
    return model


def dropped_before_norm(pipeline: Pipeline, folder: Path) -> AuditJob:
    """Dropout behind the first features: the next BatchNorm took its noise for variance."""
    keras = import_keras()

    def change(model: Any) -> Any:
        place = norms(model)[0].name.replace("_norm", "_relu")
        copy = rebuilt(model, place, keras.layers.Dropout(0.7, seed=1))
        for _ in range(2):
            for crop in crops(pipeline):
                copy(crop, training=True)
        return copy

    return shown(pipeline, altered(pipeline, folder, change)[0])


def one_class_more(pipeline: Pipeline, folder: Path) -> AuditJob:
    """A card that names five classes for a network of four."""
    place, _ = altered(pipeline, folder, same)
    card = json.loads((place / CARD_FILE).read_text())
    card["classes"].append({"value": 4, "name": "synapse", "color": [204, 121, 167, 255]})
    (place / CARD_FILE).write_text(json.dumps(card))
    return AuditJob(target=str(place))


def normalised_by_tile(model: Any) -> Any:
    """The network behind a layer that normalises each tile by itself."""
    keras = import_keras()
    source = keras.Input(model.input_shape[1:])
    mean = keras.ops.mean(source, axis=(1, 2), keepdims=True)
    deviation = keras.ops.std(source, axis=(1, 2), keepdims=True)
    return keras.Model(source, model((source - mean) / (4 * deviation + 1e-6) + 0.5))


def flattened(_pipeline: Pipeline, folder: Path) -> AuditJob:
    """A classifier for small pictures that flattens its features into a wide layer."""
    keras = import_keras()
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((64, 64, 1)),
            *(layers.Conv2D(16, 3, activation="relu"), layers.MaxPooling2D(2)),
            *(layers.Conv2D(16, 3, activation="relu"), layers.MaxPooling2D(2)),
            *(layers.Flatten(), layers.Dense(64, activation="relu")),
            layers.Dense(2, activation="softmax"),
        ]
    )
    names = (("plain", (0, 0, 0, 255)), ("spot", (230, 159, 0, 255)))
    card = Card(
        classes=tuple(ClassInfo(n, name, color) for n, (name, color) in enumerate(names)),
        axes="yx",
        channels=1,
        head="softmax",
        intensity={"rule": "percentiles", "low": 0.0, "high": 100.0},
        stride=(1, 1),
        halo=(0, 0),
        exact=False,
        task="classification",
        image_size=(64, 64),
        training={"split": {"folds": [{"train": list(range(90))}]}},
    )
    save_bundle(folder / "bundle", model, card)
    return AuditJob(target=str(folder / "bundle"))


UNSCALED = {"rule": "fixed", "low": [0.0], "high": [1.0]}
FAULTS = (
    *(
        Fault(name, "model", code, severity, plant, quick=False)
        for name, code, severity, plant in (
            ("BatchNorm not settled", "MODEL-BN-GAP", "error", unsettled),
            (
                "ReLU bottleneck before the head",
                "MODEL-RELU-BOTTLENECK-HEAD",
                "warning",
                changed(squeezed),
            ),
            ("half of a layer is dead", "MODEL-DEAD-CHANNELS", "warning", half_dead),
            ("logits without bound", "MODEL-SATURATED", "warning", changed(saturated)),
            ("always the background", "MODEL-OUTPUT-COLLAPSE", "error", changed(collapsed)),
            (
                "Dropout in front of BatchNorm",
                "MODEL-DROPOUT-BEFORE-BN",
                "warning",
                dropped_before_norm,
            ),
            ("five classes, four outputs", "MODEL-CLASSES-MISMATCH", "error", one_class_more),
            (
                "tiles normalised, card says exact",
                "MODEL-NOT-EXACT",
                "error",
                changed(normalised_by_tile),
            ),
            (
                "intensities not scaled",
                "DATA-UNSCALED",
                "warning",
                changed(same, intensity=UNSCALED),
            ),
        )
    ),
    Fault("flattened, oversized head", "model", "MODEL-OVERSIZED-HEAD", "warning", flattened),
)
