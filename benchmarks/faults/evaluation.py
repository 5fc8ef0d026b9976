"""Faults of a mask, as its scores show them: the mask of the clean run is edited and evaluated."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.faults import commands
from benchmarks.faults.bundles import altered
from benchmarks.faults.fault import Fault
from benchmarks.faults.pipeline import CLASSES, MASK
from benchmarks.faults.volumes import TRUTH, write_image, write_label
from flows.jobs import AuditJob
from storage.volume import open_label

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from benchmarks.faults.fault import Plant
    from benchmarks.faults.pipeline import Pipeline

EDITED = "edited"
MEMBRANE, MITOCHONDRIA = CLASSES.index("membrane"), CLASSES.index("mitochondria")
BAD_SECTION = 11


def published_mask(pipeline: Pipeline) -> NDArray[Any]:
    """The mask of the clean run."""
    # Asked for, it is made; an assertion would not be, with python -O.
    _ = pipeline.run
    volume = open_label(str(pipeline.unseen.image), MASK).volumes[0]
    return np.asarray(volume[tuple(slice(0, n) for n in volume.shape)])


def evaluated(image: Path | str, name: str, **fields: Any) -> AuditJob:
    """The audit of an evaluation."""
    result = commands.evaluate(image=str(image), labels=name, truth=TRUTH, **fields)
    return AuditJob(target=result["run"])


def edited(change: Callable[[NDArray[Any]], NDArray[Any]], **fields: Any) -> Plant:
    """The clean mask with a change, against the truth."""

    def plant(pipeline: Pipeline, folder: Path) -> AuditJob:
        mask = change(published_mask(pipeline).copy())
        image = folder / "unseen.zarr"
        shutil.copytree(pipeline.unseen.image, image)
        write_label(image, mask.astype(np.uint8), CLASSES, EDITED)
        return evaluated(image, EDITED, **fields)

    return plant


def without(value: int) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """A class goes to the background."""
    return lambda mask: np.where(mask == value, 0, mask)


def permuted(mask: NDArray[Any]) -> NDArray[Any]:
    """The classes were named in another order."""
    return np.array([0, 2, 3, 1], np.uint8)[mask]


def misplaced_section(mask: NDArray[Any]) -> NDArray[Any]:
    """The mask of one section belongs to another one."""
    mask[BAD_SECTION] = mask[BAD_SECTION - 8, ::-1, ::-1]
    return mask


def large_alone(pipeline: Pipeline, folder: Path) -> AuditJob:
    """Images of which six are full of mitochondria; those that hold a single one lose it."""
    voxels, labels = pipeline.unseen.voxels, pipeline.unseen.labels.copy()
    labels[labels != MITOCHONDRIA] = 0
    mask = published_mask(pipeline) == MITOCHONDRIA
    keep = np.zeros(labels.shape, bool)
    keep[:6] = True
    for section in range(6, len(labels)):
        place = np.argwhere(labels[section] == MITOCHONDRIA)
        if len(place):
            y, x = place[len(place) // 2]
            keep[section, max(0, y - 5) : y + 5, max(0, x - 5) : x + 5] = True
    mask[6:] = False
    image = folder / "fields.zarr"
    write_image(image, voxels)
    names = (CLASSES[0], CLASSES[MITOCHONDRIA])
    write_label(image, (labels * keep > 0).astype(np.uint8), names)
    write_label(image, mask.astype(np.uint8), names, EDITED)
    return evaluated(image, EDITED, images_along="z")


def with_probabilities(change: Callable[[Any], Any]) -> Plant:
    """A run of an altered network that keeps its probabilities, and their evaluation."""

    def plant(pipeline: Pipeline, folder: Path) -> AuditJob:
        bundle, _ = altered(pipeline, folder, change)
        image = folder / "unseen.zarr"
        shutil.copytree(pipeline.unseen.image, image)
        fields = {"image": str(image), "model": str(bundle), "name": EDITED}
        commands.segment(probabilities=True, **fields)
        return evaluated(image, EDITED, probabilities=True)

    return plant


def softened(model: Any) -> Any:
    """A head that is never sure, as one trained with strong label smoothing."""
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([0.25 * kernel, 0.25 * bias])
    return model


def cautious(model: Any) -> Any:
    """A head that asks for more than half a chance before it says anything but background."""
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([kernel, bias + np.eye(len(bias))[0] * 2])
    return model


FAULTS = tuple(
    Fault(name, "evaluation", code, severity, plant, quick=False)
    for name, code, severity, plant in (
        ("a class is missed", "EVAL-CLASS-MISSED", "error", edited(without(MITOCHONDRIA))),
        ("classes permuted", "EVAL-CLASS-CONFUSION", "warning", edited(permuted)),
        ("nothing but background", "EVAL-NO-SKILL", "error", edited(np.zeros_like)),
        ("one bad section of many", "EVAL-OUTLIER-IMAGES", "warning", edited(misplaced_section)),
        ("large images alone are found", "EVAL-AGGREGATION-DISPARITY", "warning", large_alone),
        (
            "probabilities that are never sure",
            "EVAL-CALIBRATION",
            "warning",
            with_probabilities(softened),
        ),
        ("a too cautious network", "EVAL-THRESHOLD", "info", with_probabilities(cautious)),
    )
)
