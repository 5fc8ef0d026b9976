"""Findings on a catalog before training; what a training refuses is found here as well."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flows.audit_classes import CatalogClasses, catalog_class_names
from flows.audit_sample_catalog import sample_catalog_findings
from flows.audit_survey import no_part, volume_findings
from flows.catalog import Entry, LabelShapeError, channel_count, open_entry
from flows.catalog_fields import class_names, read_content
from flows.catalog_items import planes
from flows.jobs import TrainJob
from flows.samples import is_sample_catalog
from flows.slab_reader import slab_reader
from flows.training_split import compare_images, split_document
from segmentation.audit.finding import in_order
from segmentation.audit.label_values import LabelValues, label_values, unset_share
from segmentation.audit.labels import label_findings, one_hot_findings, shape_findings
from segmentation.audit.split_classes import no_parts_finding
from storage.ome_labels import label_classes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from flows.jobs import AuditJob
    from flows.training_split import Likeness
    from segmentation.audit.finding import Finding
    from segmentation.audit.thresholds import DataThresholds, Thresholds

# They count classes, which labels with other values than classes do not tell.
OF_CLASSES = (
    *("DATA-IMBALANCE", "DATA-EMPTY-TARGET", "SPLIT-SINGLE-CLASS-VAL", "SPLIT-CLASS-SUPPORT"),
    *("SPLIT-PRIOR-SHIFT", "SPLIT-TAIL"),
)


def catalog_findings(job: AuditJob, thresholds: Thresholds) -> list[Finding]:
    """Everything worth knowing about a catalog and its split.

    Without parts in the catalog the split is that which ``maskmill train`` makes with seed 0.

    Parameters
    ----------
    job : AuditJob
        Its target is the catalog, of volumes or of samples.
    thresholds : Thresholds
        When something is said.

    Returns
    -------
    list of Finding
        The gravest first.

    Raises
    ------
    RequestError, StorageError
        If the file is no catalog, or names what cannot be opened.
    """
    path = job.target or ""
    if is_sample_catalog(path):
        return sample_catalog_findings(path, thresholds.data)
    content = read_content(path)
    folder, volumes = Path(path).absolute().parent, enumerate(content["volumes"], 1)
    opened = [_opened(folder, number, fields) for number, fields in volumes]
    entries = planes([one for one in opened if isinstance(one, Entry)])
    misfits = [one for one in opened if isinstance(one, Misfit)]
    found = [*_form_findings(misfits), *shape_findings(_channels(entries))]
    if not entries:
        return in_order(found)
    return in_order([*found, *_entry_findings(path, content, entries, thresholds.data)])


@dataclass(frozen=True, slots=True)
class Misfit:
    """A volume whose label does not lie on its image.

    Attributes
    ----------
    name : str
        As the catalog writes it.
    error : LabelShapeError
        Why.
    """

    name: str
    error: LabelShapeError


def _opened(folder: Path, number: int, fields: Any) -> Entry | Misfit:
    try:
        return open_entry(folder, number, fields)
    except LabelShapeError as error:
        return Misfit(str(fields["image"]), error)


def _form_findings(misfits: Sequence[Misfit]) -> list[Finding]:
    """Labels with planes for classes, and labels of other shapes."""
    planar, shapes = {}, []
    for misfit in misfits:
        image, label = (one.volumes[0] for one in (misfit.error.image, misfit.error.label))
        if misfit.error.one_hot:
            axis = label.axes.index("c")
            planar[misfit.name] = (label.shape[axis], unset_share(label, axis))
        else:
            wanted = _extents([n for a, n in zip(image.axes, image.shape, strict=True) if a != "c"])
            shapes.append((misfit.name, f"a label of {_extents(label.shape)} voxels", wanted))
    return [*one_hot_findings(planar), *shape_findings(shapes)]


def _extents(shape: Sequence[int]) -> str:
    return " × ".join(map(str, shape))


def _channels(entries: Sequence[Entry]) -> list[tuple[str, str, str]]:
    """Images with another number of channels than the first."""
    numbers = [channel_count(entry) for entry in entries]
    return [
        (entry.image_name, f"{number} channels", f"{numbers[0]}, as {entries[0].image_name} has")
        for entry, number in zip(entries, numbers, strict=True)
        if number != numbers[0]
    ]


def _entry_findings(
    path: str, content: dict[str, Any], entries: Sequence[Entry], thresholds: DataThresholds
) -> list[Finding]:
    """Findings on volumes whose labels lie on their images."""
    values = _values(entries)
    known = catalog_class_names(entries, class_names(content), values)
    wrong = label_findings(values, known.names, ignore_label=known.ignored)
    counts = _counts(values, known)
    likeness = compare_images(entries, thresholds.alike)
    job = TrainJob(catalog=path)
    split, missing = _split(job, entries, known, counts, likeness)
    found = volume_findings(entries, known.names, counts, split, likeness, thresholds)
    if known.findings or wrong:
        found = [finding for finding in found if finding.code not in OF_CLASSES]
    return [*known.findings, *wrong, *missing, *found]


def _values(entries: Sequence[Entry]) -> list[LabelValues]:
    opened = lru_cache(maxsize=1)(slab_reader)
    return [label_values(opened(e.label.volumes[0]), e.region, e.name) for e in entries]


def _counts(values: Sequence[LabelValues], known: CatalogClasses) -> NDArray[np.int64]:
    return np.array([one.by_class(len(known.names)) for one in values], np.int64)


def _split(
    job: TrainJob,
    entries: Sequence[Entry],
    known: CatalogClasses,
    counts: NDArray[np.int64],
    likeness: Likeness,
) -> tuple[dict[str, Any] | None, list[Finding]]:
    """The split that is there or would be made, and what keeps it from being one."""
    classes, groups = label_classes(dict(enumerate(known.names))), [e.group for e in entries]
    if missing := no_part([entry.split for entry in entries], groups):
        return None, missing
    try:
        return split_document(job, entries, classes, counts, likeness), []
    except ValueError as error:
        return None, [no_parts_finding(str(error), groups)]
