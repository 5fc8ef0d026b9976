"""What a network is trained on: opened, counted, compared and split, before anything starts.

Every error that catalog and voxels can tell is told here. Nothing is written, and no network is
needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from flows.audit_survey import volume_findings
from flows.catalog import read_catalog
from flows.catalog_items import catalog_classes, planes
from flows.errors import RequestError
from flows.slab_reader import slab_reader
from flows.training_checks import check_entries, check_present, learned_classes, refuse_leaks
from flows.training_split import compare_images, split_document
from segmentation.audit.thresholds import DataThresholds
from segmentation.normalize import IntensityTransform
from segmentation.training.inspection import count_labels
from segmentation.training.isolate import MappedLabels
from segmentation.training.samples import TrainingVolume
from segmentation.training.split import Parts
from storage.intensity import percentiles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from flows.catalog import Entry
    from flows.jobs import TrainJob
    from storage.ome_labels import LabelClass


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Items, classes and split of a training.

    Attributes
    ----------
    entries : tuple of Entry
        The items: volumes of the catalog, or their planes.
    classes : tuple of LabelClass
        What the network learns, by value; with one class alone the background and that class.
    table : tuple of int or None
        What becomes of every label value, where one class is learned alone; see
        `segmentation.training.isolate`.
    ignore_label : int or None
        Value that does not count, after the table.
    counts : int64, shape (items, classes + 1)
        Voxels of the classes of every item, and those that do not count.
    percentiles : tuple of float
        Those that become 0 and 1.
    intensities : tuple of IntensityTransform
        By item, what they make of its image; the same for all items of one image.
    split : dict
        Content of split.json.
    findings : list of dict
        What is worth knowing before training, in the form of `Finding.to_dict`.
    """

    entries: tuple[Entry, ...]
    classes: tuple[LabelClass, ...]
    table: tuple[int, ...] | None
    ignore_label: int | None
    counts: NDArray[np.int64]
    percentiles: tuple[float, ...]
    intensities: tuple[IntensityTransform, ...]
    split: dict[str, Any]
    findings: list[dict[str, Any]]

    def parts(self, fold: int = 0) -> Parts:
        """Numbers of the items in the parts of a fold; there is one fold without --folds."""
        numbers = self.split["folds"][fold]
        return Parts(*(tuple(numbers[part]) for part in ("train", "validation", "test")))


def prepare_data(job: TrainJob) -> TrainingData:
    """Open, count, compare and split what a job trains on.

    Raises
    ------
    RequestError, StorageError, ValueError
        One message for whatever makes the training impossible or its scores meaningless.
    """
    catalog = read_catalog(job.catalog, allow_overlap=job.allow_overlap)
    check_entries(job, catalog.entries)
    known = catalog_classes(catalog, job.ignore_label)
    classes, table, ignore_label = learned_classes(job, known)
    entries = planes(catalog.entries)
    counts = _counts(entries, len(known), job.ignore_label)
    if table is not None:
        counts = _mapped(counts, table)
    intensities = _intensities(entries, job.intensity_percentiles)
    likeness = compare_images(entries)
    leaks = likeness.across(entries)
    refuse_leaks(entries, leaks, allowed=job.allow_overlap)
    split = split_document(job, entries, classes, counts, likeness)
    check_present(job, classes, counts, split)
    names = [c.name for c in classes]
    found = volume_findings(entries, names, counts, split, likeness, DataThresholds(), table=table)
    return TrainingData(
        entries=entries,
        classes=classes,
        table=table,
        ignore_label=ignore_label,
        counts=counts,
        percentiles=job.intensity_percentiles,
        intensities=intensities,
        split=split,
        findings=[finding.to_dict() for finding in found],
    )


def _counts(
    entries: Sequence[Entry], num_classes: int, ignore_label: int | None
) -> NDArray[np.int64]:
    opened = lru_cache(maxsize=1)(slab_reader)
    rows = []
    for entry in entries:
        label = opened(entry.label.volumes[0])
        try:
            rows.append(count_labels(label, entry.region, num_classes, ignore_label))
        except ValueError as error:
            name = f"label {entry.label_name!r} of {entry.name}"
            raise RequestError(f"{name}: {error}") from error
    return np.stack(rows)


def _mapped(counts: NDArray[np.int64], table: tuple[int, ...]) -> NDArray[np.int64]:
    """Voxels of the background, the one class, and what does not count."""
    columns = np.minimum(table, 2)
    return np.stack([counts[:, columns == column].sum(axis=1) for column in range(3)], axis=1)


def _intensities(
    entries: Sequence[Entry], limits: Sequence[float]
) -> tuple[IntensityTransform, ...]:
    """The transform of every item's image, found once for each image."""
    low, high = limits
    found: dict[str, IntensityTransform] = {}
    for entry in entries:
        if entry.image.url not in found:
            lows, highs, _ = percentiles(entry.image.volumes[0], low, high, scheduler="threads")
            try:
                found[entry.image.url] = IntensityTransform(lows, highs)
            except ValueError as error:
                raise RequestError(f"{entry.image_name}: {error}") from error
    return tuple(found[entry.image.url] for entry in entries)


def volumes(data: TrainingData, numbers: Sequence[int], job: TrainJob) -> list[TrainingVolume]:
    """Some items as volumes to train or validate on.

    Parameters
    ----------
    data : TrainingData
        What `prepare_data` gave.
    numbers : sequence of int
        Items, such as those of a part.
    job : TrainJob
        Its percentiles count, which may be others than those of `data`.
    """
    if job.intensity_percentiles == data.percentiles:
        intensities = tuple(data.intensities[number] for number in numbers)
    else:
        entries = [data.entries[number] for number in numbers]
        intensities = _intensities(entries, job.intensity_percentiles)
    return [
        _volume(data.entries[number], data.table, transform)
        for number, transform in zip(numbers, intensities, strict=True)
    ]


def _volume(
    entry: Entry, table: tuple[int, ...] | None, transform: IntensityTransform
) -> TrainingVolume:
    label = entry.label.volumes[0]
    return TrainingVolume(
        entry.image.volumes[0],
        label if table is None else MappedLabels(label, table),
        entry.region,
        transform,
        entry.channel_axis,
        name=entry.name,
        group=entry.group,
    )
