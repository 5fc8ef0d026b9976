"""Bundles of altered networks: the trained one with a fault, written with the card it had."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from segmentation.bundle import Card, load_card, load_model, save_bundle
from segmentation.networks.runtime import import_keras
from segmentation.normalize import IntensityTransform

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from benchmarks.faults.pipeline import Pipeline


def altered(
    pipeline: Pipeline, folder: Path, change: Callable[[Any], Any], **card: Any
) -> tuple[Path, Card]:
    """Load the trained network, change it, save it with these fields of the card changed."""
    model = change(load_model(pipeline.bundle))
    place = folder / "bundle"
    return place, save_bundle(place, model, replace(load_card(pipeline.bundle), **card))


def same(model: Any) -> Any:
    """The network as it is: only its card is wrong."""
    return model


def norms(model: Any) -> list[Any]:
    """Its BatchNorm layers."""
    return [layer for layer in model.layers if type(layer).__name__ == "BatchNormalization"]


def cut(model: Any) -> tuple[Any, Any]:
    """Features in front of the head, and the head."""
    return model.layers[-2].output, model.layers[-1]


def crops(pipeline: Pipeline, count: int = 6) -> list[NDArray[np.float32]]:
    """Sections of training specimens as the network sees them, (1, y, x, 1)."""
    found = []
    for specimen in pipeline.specimens[:count]:
        low, high = np.percentile(specimen.voxels, (1, 99))
        transform = IntensityTransform((float(low),), (float(high),))
        found += [transform(section[None, ..., None]) for section in specimen.voxels]
    return found


def settled(model: Any, pipeline: Pipeline) -> Any:
    """The network with BatchNorm statistics that belong to its weights."""
    from segmentation.training.recalibration import recalibrated

    return recalibrated(model, crops(pipeline))


def rebuilt(model: Any, place: str, insert: Callable[[Any], Any]) -> Any:
    """The network with one more layer behind the layer of a name; weights are kept."""
    keras = import_keras()

    def call(layer: Any, *arguments: Any, **options: Any) -> Any:
        found = layer(*arguments, **options)
        return insert(found) if layer.name == place else found

    copy = keras.models.clone_model(model, call_function=call, clone_function=lambda one: one)
    assert len(copy.layers) > len(model.layers)  # noqa: S101 there is such a layer
    return copy
