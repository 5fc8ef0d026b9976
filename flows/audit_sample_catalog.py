"""Findings on a catalog of samples: images with one class each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flows.audit_survey import no_part, survey_folds, survey_pictures
from flows.jobs import TrainJob
from flows.sample_split import LOOK_ALIKE
from flows.samples import Samples, read_samples
from flows.training_split import Likeness, divide, fold_document
from segmentation.audit.data import data_findings
from segmentation.audit.finding import in_order
from segmentation.audit.intensity import Intensities, intensity_findings
from segmentation.audit.labels import shape_findings
from segmentation.audit.split import split_findings
from segmentation.audit.split_classes import no_parts_finding
from segmentation.audit.survey import SAME, Survey, SurveyItem
from segmentation.region import Region
from segmentation.training.fingerprint import Fingerprint, fingerprint, look_alikes
from segmentation.training.split import Item
from storage.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from segmentation.audit.finding import Finding
    from segmentation.audit.survey import Pair
    from segmentation.audit.thresholds import DataThresholds

Look = tuple[Fingerprint, Intensities]


def sample_catalog_findings(path: str, thresholds: DataThresholds) -> list[Finding]:
    """Everything worth knowing about samples and their split.

    Parameters
    ----------
    path : str
        Catalog of samples. Without a split in its table, that of ``maskmill train`` is taken.
    thresholds : DataThresholds
        When something is said.

    Returns
    -------
    list of Finding
        The gravest first.

    Raises
    ------
    RequestError, StorageError
        If it is no such catalog, or images are missing.
    """
    named = read_samples(path)
    looks = [_look(named, name) for name in named.images.names]
    unreadable = shape_findings([look for look in looks if len(look) == 3])
    kept = [number for number, look in enumerate(looks) if len(look) == 2]
    samples = Samples(named.classes, tuple(named.samples[n] for n in kept), named.images)
    seen = [look for look in looks if len(look) == 2]
    if not seen:
        return unreadable
    prints = tuple(one for one, _ in seen)
    likeness = Likeness(prints, look_alikes(prints, min(LOOK_ALIKE, thresholds.alike)))
    split, missing = _split(TrainJob(catalog=path), samples, likeness)
    intensities = [one for _, one in seen]
    found = table_findings(samples, likeness, split, thresholds, intensities=intensities)
    return in_order([*unreadable, *missing, *found])


def table_findings(
    samples: Samples,
    likeness: Likeness,
    split: Mapping[str, Any] | None,
    thresholds: DataThresholds,
    *,
    intensities: Sequence[Intensities] | None = None,
) -> list[Finding]:
    """Findings on samples whose images were looked at.

    Parameters
    ----------
    samples : Samples
        Every one with a label.
    likeness : Likeness
        Of their images, in the same order.
    split : mapping or None
        With "folds" and "linked", as split.json has them; None if they cannot be divided.
    thresholds : DataThresholds
        When something is said.
    intensities : sequence of Intensities, optional
        Of the images; nothing is said of them otherwise.
    """
    names = [sample.name for sample in samples.samples]
    light = [None] * len(names) if intensities is None else intensities
    survey = Survey(
        task="classification",
        class_names=samples.classes,
        items=tuple(_item(samples, number, one) for number, one in enumerate(light)),
        folds=survey_folds(split),
        fixed=all(sample.split for sample in samples.samples),
        pairs=likeness.pairs,
        pictures=survey_pictures(names, likeness),
        agreements=_conflicts(samples, likeness),
        linked=() if split is None else tuple(tuple(pair) for pair in split["linked"]),
        alike=min(LOOK_ALIKE, thresholds.alike),
    )
    found = [*data_findings(survey, thresholds), *split_findings(survey, thresholds)]
    if intensities is not None:
        found += intensity_findings(names, intensities, thresholds, normalised=True)
    return in_order(found)


def look_at_image(image: NDArray[Any]) -> Look:
    """Fingerprint and intensities of one image, shape (y, x, channels)."""
    grey = image.mean(axis=-1, dtype="float64")
    return fingerprint(image, Region.whole(image.shape[:2]), 2), Intensities.of([grey])


def _look(samples: Samples, name: str) -> Look | tuple[str, str, str]:
    """What an image looks like; or why that cannot be seen."""
    try:
        return look_at_image(samples.images.read(name))
    except StorageError as error:
        return name, f"no image that can be read ({error})", "one plane"


def _item(samples: Samples, number: int, intensities: Intensities | None) -> SurveyItem:
    sample = samples.samples[number]
    counts = tuple(int(value == sample.label) for value in range(len(samples.classes)))
    return SurveyItem(sample.name, sample.group, counts, intensities=intensities)


def _split(
    job: TrainJob, samples: Samples, likeness: Likeness
) -> tuple[dict[str, Any] | None, list[Finding]]:
    """The split that is there or would be made, and what keeps it from being one."""
    groups, linked = likeness.joined(samples.samples)
    if missing := no_part([sample.split for sample in samples.samples], groups):
        return None, missing
    items = [
        Item(group, _item(samples, number, None).counts, sample.split)
        for number, (group, sample) in enumerate(zip(groups, samples.samples, strict=True))
    ]
    try:
        return {"folds": [fold_document(p) for p in divide(job, items)], "linked": linked}, []
    except ValueError as error:
        return None, [no_parts_finding(str(error), groups)]


def _conflicts(samples: Samples, likeness: Likeness) -> dict[Pair, tuple[float | None, ...]]:
    """The same image with different classes."""
    labels = [sample.label for sample in samples.samples]
    return {
        (a, b): ()
        for (a, b), correlation in likeness.pairs.items()
        if correlation == SAME and labels[a] != labels[b]
    }
