"""Faults of the form of labels, as other programs write them: each in one of the specimens."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from benchmarks.faults.data import ALTERED, catalog_job
from benchmarks.faults.fault import Fault
from benchmarks.faults.pipeline import CLASSES, SHAPE, Pipeline, tissue
from benchmarks.faults.volumes import TRUTH, store_foreign, write_specimen
from storage.convert import import_image

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from benchmarks.faults.fault import Plant
    from flows.jobs import AuditJob


def foreign(change: Callable[[NDArray[Any]], NDArray[Any]]) -> Plant:
    """The label of one specimen as another program wrote it."""

    def plant(pipeline: Pipeline, folder: Path) -> AuditJob:
        specimen = pipeline.specimens[ALTERED]
        place = folder / specimen.image.name
        shutil.copytree(specimen.image, place)
        store_foreign(place, change(specimen.labels))
        volumes = pipeline.volumes
        volumes[ALTERED] |= {"image": str(place)}
        return catalog_job(folder, volumes)

    return plant


def unlabelled(labels: NDArray[Any]) -> NDArray[Any]:
    """Labels with -1 along one side, where nobody has labelled."""
    marked = labels.astype(np.int16)
    marked[:, :, :16] = -1
    return marked


def interpolated(labels: NDArray[Any]) -> NDArray[Any]:
    """Labels that were resized as if they were intensities."""
    small = ndimage.zoom(labels.astype(np.float32), (1, 0.5, 0.5), order=1)
    return np.asarray(ndimage.zoom(small, (1, 2, 2), order=1), np.float32)


def one_hot(first: int) -> Plant:
    """A label with a plane for each class from `first` on, stored by another program."""

    def plant(pipeline: Pipeline, folder: Path) -> AuditJob:
        old = pipeline.specimens[ALTERED]
        image = folder / old.image.name
        shutil.copytree(old.image, image)
        planes = np.stack([old.labels == value for value in range(first, len(CLASSES))])
        made = folder / "planes.zarr"
        np.save(folder / "planes.npy", planes.astype(np.uint8))
        import_image([str(folder / "planes.npy")], str(made), axes="czyx")
        shutil.rmtree(image / "labels" / TRUTH)
        shutil.copytree(made, image / "labels" / TRUTH)
        volumes = pipeline.volumes
        volumes[ALTERED] |= {"image": str(image)}
        return catalog_job(folder, volumes, classes=CLASSES)

    return plant


def other_shape(pipeline: Pipeline, folder: Path) -> AuditJob:
    """The label of a larger specimen under the wrong image."""
    old = pipeline.specimens[ALTERED]
    image = folder / old.image.name
    shutil.copytree(old.image, image)
    voxels, labels = tissue(7, (SHAPE[0], 160, 160))
    larger = write_specimen(folder, "larger", old.part, voxels, labels, classes=CLASSES)
    shutil.rmtree(image / "labels" / TRUTH)
    shutil.copytree(larger.image / "labels" / TRUTH, image / "labels" / TRUTH)
    volumes = pipeline.volumes
    volumes[ALTERED] |= {"image": str(image)}
    return catalog_job(folder, volumes)


FAULTS = tuple(
    Fault(name, "data", code, "error", plant)
    for name, code, plant in (
        (
            "labels of 0 and 255",
            "DATA-LABEL-RANGE",
            foreign(lambda labels: np.where(labels > 0, 255, 0).astype(np.uint8)),
        ),
        (
            "classes counted from 1",
            "DATA-LABEL-RANGE",
            foreign(lambda labels: labels + np.uint8(1)),
        ),
        (
            "-1 for what was not labelled",
            "DATA-LABEL-RANGE",
            foreign(unlabelled),
        ),
        (
            "labels resized by interpolation",
            "DATA-FRACTIONAL-LABELS",
            foreign(interpolated),
        ),
        ("one plane for each class", "DATA-ONEHOT-VS-INT", one_hot(0)),
        ("planes without a background", "DATA-ONEHOT-ZERO-ROWS", one_hot(1)),
        ("label of another image's shape", "DATA-SHAPE-MISMATCH", other_shape),
    )
)
