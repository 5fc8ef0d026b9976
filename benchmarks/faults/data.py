"""Faults of images and labels, each in one of sixteen specimens unless it says otherwise."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from benchmarks.faults.fault import Fault
from benchmarks.faults.pipeline import (
    CLASSES,
    SHAPE,
    TISSUE_CLASSES,
    Pipeline,
    synthetic_stack,
    tissue,
)
from benchmarks.faults.volumes import (
    TRUTH,
    Volume,
    write_catalog,
    write_image,
    write_label,
    write_specimen,
)
from flows.jobs import AuditJob

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from benchmarks.faults.fault import Plant

ALTERED = 2
SHIFT = 5


def catalog_job(folder: Path, volumes: list[Volume], **fields: Any) -> AuditJob:
    """The audit of a catalog."""
    return AuditJob(target=write_catalog(folder, volumes, **fields))


def relabelled(change: Callable[[NDArray[Any]], NDArray[Any]]) -> Plant:
    """One specimen with labels that are wrong, but well formed."""

    def plant(pipeline: Pipeline, folder: Path) -> AuditJob:
        old = pipeline.specimens[ALTERED]
        labels = change(old.labels)
        new = write_specimen(folder, old.name, old.part, old.voxels, labels, classes=CLASSES)
        volumes = pipeline.volumes
        volumes[ALTERED] = new.volume
        return catalog_job(folder, volumes)

    return plant


def second_opinion(pipeline: Pipeline, folder: Path) -> AuditJob:
    """The same image again, labelled by someone who draws thicker and sees no vesicles."""
    old = pipeline.specimens[ALTERED]
    thick = np.where(ndimage.binary_dilation(old.labels == 1, iterations=2), 1, old.labels)
    drawn = np.where(thick == CLASSES.index("vesicles"), 0, thick).astype(np.uint8)
    new = write_specimen(folder, old.name, old.part, old.voxels, drawn, classes=CLASSES)
    return catalog_job(folder, [*pipeline.volumes, new.volume])


def twice(pipeline: Pipeline, folder: Path) -> AuditJob:
    """A training stack that was copied under another name."""
    old = pipeline.specimens[ALTERED]
    copy = folder / "copy.zarr"
    shutil.copytree(old.image, copy)
    return catalog_job(folder, [*pipeline.volumes, old.volume | {"image": str(copy)}])


def mostly_empty(pipeline: Pipeline, folder: Path) -> AuditJob:
    """Forty single sections are added, 36 of which hold nothing but background."""
    voxels, labels = tissue(31, (40, 64, 64))
    labels[4:] = 0
    image = folder / "screening.zarr"
    write_image(image, voxels)
    write_label(image, labels, CLASSES)
    added = {"image": str(image), "label": TRUTH, "group": "screening", "images_along": "z"}
    return catalog_job(folder, [*pipeline.volumes, added | {"split": "train"}])


def rare_class(pipeline: Pipeline, folder: Path) -> AuditJob:
    """A class of its own that has two voxels of a thousand."""
    volumes = []
    for number, old in enumerate(pipeline.specimens):
        _, labels = synthetic_stack(SHAPE, seed=pipeline.seed + number)
        core = ndimage.binary_erosion(labels == 4, iterations=1)
        rare = core & (np.cumsum(core.ravel()) <= labels.size // 500).reshape(SHAPE)
        kept = np.where((labels == 4) & ~rare, 1, labels).astype(np.uint8)
        image = folder / old.image.name
        shutil.copytree(old.image, image)
        write_label(image, kept, TISSUE_CLASSES, name="fine")
        volumes.append(old.volume | {"image": str(image), "label": "fine"})
    return catalog_job(folder, volumes)


def shifted(labels: NDArray[Any]) -> NDArray[Any]:
    """Labels that do not lie where their image is."""
    return np.roll(labels, (SHIFT, SHIFT), (1, 2))


FAULTS = tuple(
    Fault(name, "data", code, severity, plant)
    for name, code, severity, plant in (
        ("labels shifted by 5 voxels", "DATA-MISALIGNED", "warning", relabelled(shifted)),
        ("one image with two labels", "DATA-DUP-CONFLICT", "warning", second_opinion),
        ("9 of 10 added sections empty", "DATA-EMPTY-TARGET", "warning", mostly_empty),
        ("a class of 0.2 %", "DATA-IMBALANCE", "warning", rare_class),
        ("the same stack twice in train", "DATA-DUPLICATE", "warning", twice),
    )
)
