"""Faults of the split into train, validation and test."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from benchmarks.faults.data import catalog_job
from benchmarks.faults.fault import Fault
from benchmarks.faults.pipeline import CLASSES, SHAPE, Pipeline
from benchmarks.faults.tables import in_turn, write_table
from benchmarks.faults.volumes import Specimen, Volume, write_specimen
from flows.jobs import AuditJob

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from benchmarks.faults.fault import Plant

Stack = tuple["NDArray[Any]", "NDArray[Any]"]
MITOCHONDRIA, VESICLES = CLASSES.index("mitochondria"), CLASSES.index("vesicles")
WINDOW = 48


def rewritten(
    pipeline: Pipeline, folder: Path, part: str, change: Callable[[Specimen], Stack]
) -> list[Volume]:
    """The catalog with all specimens of a part changed."""
    return [
        write_specimen(folder, s.name, part, *change(s), classes=CLASSES).volume
        if s.part == part
        else s.volume
        for s in pipeline.specimens
    ]


def copied_to_test(pipeline: Pipeline, folder: Path) -> AuditJob:
    """A training stack stands in the test part as well, as another specimen."""
    old = pipeline.specimens[0]
    shutil.copytree(old.image, folder / "copy.zarr")
    copy = old.volume | {"image": str(folder / "copy.zarr"), "group": "copy", "split": "test"}
    return catalog_job(folder, [*pipeline.volumes, copy])


def altered_copy_in_test(pipeline: Pipeline, folder: Path) -> AuditJob:
    """The same, but binned to half the size, and darker with less contrast."""
    old = pipeline.specimens[0]
    depth, height, width = old.voxels.shape
    fields = old.voxels.reshape(depth, height // 2, 2, width // 2, 2)
    dark = (0.6 * fields.mean(axis=(2, 4)) + 15).astype(np.uint8)
    labels = old.labels[:, ::2, ::2]
    copy = write_specimen(folder, "altered", "test", dark, labels, classes=CLASSES)
    return catalog_job(folder, [*pipeline.volumes, copy.volume])


def class_absent(pipeline: Pipeline, folder: Path) -> AuditJob:
    """Nobody labelled vesicles in the validation part."""

    def change(s: Specimen) -> Stack:
        return s.voxels, np.where(s.labels == VESICLES, 0, s.labels).astype(np.uint8)

    return catalog_job(folder, rewritten(pipeline, folder, "validation", change))


def class_in_two(pipeline: Pipeline, folder: Path) -> AuditJob:
    """Vesicles are labelled in two specimens of the validation part, of five."""
    first = [s.name for s in pipeline.specimens if s.part == "validation"][:2]

    def change(s: Specimen) -> Stack:
        less = np.where(s.labels == VESICLES, 0, s.labels).astype(np.uint8)
        return s.voxels, s.labels if s.name in first else less

    return catalog_job(folder, rewritten(pipeline, folder, "validation", change))


def no_test(pipeline: Pipeline, folder: Path) -> AuditJob:
    """Every specimen is learned from or chosen by."""
    return catalog_job(folder, [v for v in pipeline.volumes if v["split"] != "test"])


def divided_specimens(pipeline: Pipeline, folder: Path) -> AuditJob:
    """The last section of each of three training stacks is tested on."""
    volumes = pipeline.volumes
    last = [v | {"region": f"z={SHAPE[0] - 1}:{SHAPE[0]}", "split": "test"} for v in volumes[:3]]
    first = [v | {"region": f"z=0:{SHAPE[0] - 2}"} for v in volumes[:3]]
    return catalog_job(folder, [*first, *volumes[3:], *last])


def test_around_mitochondria(pipeline: Pipeline, folder: Path) -> AuditJob:
    """The test regions were cut out around mitochondria."""
    volumes = pipeline.volumes
    for number, s in enumerate(pipeline.specimens):
        if s.part == "test":
            volumes[number] |= {"region": _richest(s.labels == MITOCHONDRIA)}
    return catalog_job(folder, volumes)


def _richest(mask: NDArray[Any]) -> str:
    """The window with most of a class, as a region."""
    share = ndimage.uniform_filter(mask.mean(axis=0), WINDOW)
    inside = share[WINDOW // 2 : -WINDOW // 2, WINDOW // 2 : -WINDOW // 2]
    y, x = np.unravel_index(int(inside.argmax()), inside.shape)
    return f"y={y}:{y + WINDOW},x={x}:{x + WINDOW}"


def other_staining(pipeline: Pipeline, folder: Path) -> AuditJob:
    """The test specimens were stained in another session: brighter, with half the contrast."""

    def change(s: Specimen) -> Stack:
        return (110 + 0.5 * s.voxels).astype(np.uint8), s.labels

    return catalog_job(folder, rewritten(pipeline, folder, "test", change))


def two_names(pipeline: Pipeline, folder: Path) -> AuditJob:
    """One stack under the names of two specimens, where maskmill makes the split."""
    old = pipeline.specimens[3]
    shutil.copytree(old.image, folder / "again.zarr")
    volumes = [*pipeline.volumes, old.volume]
    volumes[-1] |= {"image": str(folder / "again.zarr"), "group": "specimen 99"}
    return catalog_job(folder, [{k: v[k] for k in v if k != "split"} for v in volumes])


def table(labels: Sequence[int], parts: Sequence[str | None]) -> Plant:
    """The audit of a table of pictures."""

    def plant(_pipeline: Pipeline, folder: Path) -> AuditJob:
        return AuditJob(target=write_table(folder, labels, parts))

    return plant


def tail(train: int, validation: int, test: int) -> list[str]:
    """Parts cut off the end of a table."""
    return ["train"] * train + ["validation"] * validation + ["test"] * test


# Sorted by class, but for a few that were added later: both classes are in every part.
NEARLY_SORTED = [int((number >= 50) != (number in (1, 48, 70, 88, 95))) for number in range(100)]
FAULTS = tuple(
    Fault(name, "split", code, severity, plant)
    for name, code, severity, plant in (
        ("a training stack in the test part", "SPLIT-LEAK", "error", copied_to_test),
        ("a darker, smaller copy in the test part", "SPLIT-LEAK", "error", altered_copy_in_test),
        ("a class absent from validation", "SPLIT-SINGLE-CLASS-VAL", "error", class_absent),
        (
            "sorted table, validation is its end",
            "SPLIT-SINGLE-CLASS-VAL",
            "error",
            table([0] * 40 + [1] * 40, tail(60, 10, 10)),
        ),
        (
            "nearly sorted table, validation is its end",
            "SPLIT-TAIL",
            "error",
            table(NEARLY_SORTED, tail(66, 20, 14)),
        ),
        ("no test part", "SPLIT-NO-TEST", "warning", no_test),
        (
            "sections of one specimen on both sides",
            "SPLIT-GROUP-DIVIDED",
            "warning",
            divided_specimens,
        ),
        (
            "test regions around mitochondria",
            "SPLIT-PRIOR-SHIFT",
            "warning",
            test_around_mitochondria,
        ),
        ("test part of another staining", "SPLIT-INTENSITY-SHIFT", "warning", other_staining),
        ("a class in two validation stacks", "SPLIT-CLASS-SUPPORT", "warning", class_in_two),
        (
            "ten pictures to validate on",
            "SPLIT-TINY-VAL",
            "warning",
            table([*in_turn(125), *[0, 1] * 5, *in_turn(125)], tail(125, 10, 125)),
        ),
        ("one stack as two specimens", "SPLIT-LINKED", "info", two_names),
    )
)
