"""Volumes of a catalog as a survey, with the findings that it leads to."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from flows.slab_reader import slab_reader
from segmentation.audit.alignment import find_shift
from segmentation.audit.data import data_findings
from segmentation.audit.finding import in_order
from segmentation.audit.intensity import Intensities, intensity_findings
from segmentation.audit.likeness import label_agreement, pair_picture
from segmentation.audit.misaligned import Placement, alignment_findings, misaligned
from segmentation.audit.split import split_findings
from segmentation.audit.split_classes import no_parts_finding
from segmentation.audit.survey import PARTS, Survey, SurveyItem
from segmentation.audit.windows import MOST_WINDOWS, image_window, label_window, windows
from segmentation.training.fingerprint import THRESHOLD
from segmentation.training.isolate import MappedLabels

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from flows.catalog import Entry
    from flows.training_split import Likeness
    from segmentation.audit.finding import Finding, Picture
    from segmentation.audit.survey import Pair
    from segmentation.audit.thresholds import DataThresholds
    from segmentation.region import Region

MOST_PICTURES = 3
# Images whose labels are laid over them; each takes about a second.
MOST_PLACED = 32


def volume_findings(
    entries: Sequence[Entry],
    class_names: Sequence[str],
    counts: NDArray[Any],
    split: Mapping[str, Any] | None,
    likeness: Likeness,
    thresholds: DataThresholds,
    *,
    table: tuple[int, ...] | None = None,
) -> list[Finding]:
    """Everything worth knowing about volumes and their split.

    Parameters
    ----------
    entries : sequence of Entry
        Items: volumes, or their planes.
    class_names : sequence of str
        Of the network, by value.
    counts : int64, shape (items, classes + 1)
        Voxels of the classes, and those that do not count.
    split : mapping or None
        Content of split.json; None if the items cannot be divided.
    likeness : Likeness
        Of the items.
    thresholds : DataThresholds
        When something is said.
    table : tuple of int, optional
        What becomes of every label value, where one class is learned alone.

    Returns
    -------
    list of Finding
        The gravest first.
    """
    survey = volume_survey(
        entries, class_names, counts, split, likeness, table=table, alike=thresholds.alike
    )
    images = _images(entries, survey)
    found = [
        *data_findings(survey, thresholds),
        *intensity_findings(list(images), list(images.values()), thresholds, normalised=True),
        *alignment_findings(list(_placements(entries, thresholds)), thresholds),
        *split_findings(survey, thresholds),
    ]
    return in_order(found)


def volume_survey(
    entries: Sequence[Entry],
    class_names: Sequence[str],
    counts: NDArray[Any],
    split: Mapping[str, Any] | None,
    likeness: Likeness,
    *,
    table: tuple[int, ...] | None = None,
    alike: float = THRESHOLD,
) -> Survey:
    """Facts on volumes; parameters as of `volume_findings`."""
    items = tuple(
        SurveyItem(e.name, e.group, tuple(row[:-1]), _specimen(e), _intensities(e))
        for e, row in zip(entries, counts.tolist(), strict=True)
    )
    return Survey(
        task="segmentation",
        class_names=tuple(class_names),
        items=items,
        folds=survey_folds(split),
        fixed=all(entry.split for entry in entries),
        pairs=likeness.pairs,
        pictures=survey_pictures([item.name for item in items], likeness),
        agreements=_agreements(entries, split, len(class_names), table),
        linked=() if split is None else tuple(tuple(pair) for pair in split["linked"]),
        alike=alike,
    )


def no_part(splits: Sequence[str | None], groups: Sequence[str]) -> list[Finding]:
    """What is to be said if the catalog gives all items a part, but none to a part that is needed.

    Parameters
    ----------
    splits : sequence of str or None
        Parts that the catalog gives.
    groups : sequence of str
        Of the items.
    """
    empty = [part for part in PARTS[:2] if None not in splits and part not in splits]
    if not empty:
        return []
    return [no_parts_finding(f"no item has the split {' or '.join(empty)}", groups)]


def survey_folds(split: Mapping[str, Any] | None) -> tuple[dict[str, tuple[int, ...]], ...]:
    """Parts of every fold of a split; none without one."""
    folds = [] if split is None else split["folds"]
    return tuple({part: tuple(fold[part]) for part in PARTS} for fold in folds)


def survey_pictures(names: Sequence[str], likeness: Likeness) -> dict[Pair, Picture]:
    """Some pairs that look alike, side by side."""
    found = {}
    for a, b in list(likeness.pairs)[:MOST_PICTURES]:
        picture = pair_picture(
            likeness.prints[a], likeness.prints[b], f"{names[a]} (left) and {names[b]} (right)"
        )
        if picture is not None:
            found[a, b] = picture
    return found


def _specimen(entry: Entry) -> str:
    """The group of a volume; of a plane that of its stack."""
    return entry.group if entry.images_along is None else entry.group.rpartition("/")[0]


def _intensities(entry: Entry) -> Intensities:
    image = entry.image.volumes[0]
    return Intensities.of(
        image_window(image, box, entry.channel_axis) for box in windows(entry.region)
    )


def _images(entries: Sequence[Entry], survey: Survey) -> dict[str, Intensities]:
    """Intensities by image; of several regions or planes those with the widest range."""
    found: dict[str, Intensities] = {}
    for entry, item in zip(entries, survey.items, strict=True):
        one, before = item.intensities, found.get(entry.image_name)
        if one is not None and (before is None or not _width(one) <= _width(before)):
            found[entry.image_name] = one
    return found


def _width(one: Intensities) -> float:
    return one.largest - one.smallest


def _agreements(
    entries: Sequence[Entry],
    split: Mapping[str, Any] | None,
    num_classes: int,
    table: tuple[int, ...] | None,
) -> dict[Pair, tuple[float | None, ...]]:
    """Dice of the labels of items with one image and several labels; each with the first."""
    seen: dict[str, dict[str, int]] = {}
    for number, item in enumerate(split["items"] if split is not None else ()):
        seen.setdefault(item["image_digest"], {}).setdefault(item["label_digest"], number)
    rows = [list(numbers.values()) for numbers in seen.values()]
    pairs = [(first, other) for first, *others in rows for other in others]
    return {(a, b): _agreement(entries[a], entries[b], num_classes, table) for a, b in pairs}


def _agreement(
    first: Entry, second: Entry, num_classes: int, table: tuple[int, ...] | None
) -> tuple[float | None, ...]:
    one, other = (slab_reader(entry.label.volumes[0]) for entry in (first, second))
    regions = (first.region, second.region)
    if table is None:
        return label_agreement(one, other, regions, num_classes)
    labels = MappedLabels(one, table), MappedLabels(other, table)
    return label_agreement(*labels, regions, num_classes)


def _placements(entries: Sequence[Entry], thresholds: DataThresholds) -> Iterator[Placement]:
    """Labels that lie beside their images, of at most 32 images and 8 sections of each."""
    images: dict[tuple[str, str], list[tuple[Entry, Region]]] = {}
    for entry in entries:
        found = images.setdefault((entry.image.url, entry.label_name), [])
        found += [(entry, box) for box in windows(entry.region)]
    for boxes in list(images.values())[:MOST_PLACED]:
        kept = [boxes[k * len(boxes) // MOST_WINDOWS] for k in range(min(len(boxes), MOST_WINDOWS))]
        yield from _placement(kept if len(boxes) >= MOST_WINDOWS else boxes, thresholds)


def _placement(
    boxes: Sequence[tuple[Entry, Region]], thresholds: DataThresholds
) -> Iterator[Placement]:
    opened = lru_cache(maxsize=2)(slab_reader)
    images = [image_window(opened(e.image.volumes[0]), box, e.channel_axis) for e, box in boxes]
    labels = [label_window(opened(e.label.volumes[0]), box) for e, box in boxes]
    shift = find_shift(images, labels)
    if shift is not None and misaligned(shift, thresholds):
        middle = len(boxes) // 2
        yield Placement(boxes[0][0].image_name, shift, images[middle], labels[middle])
