"""What a training is refused for before it starts, and what its classes are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flows.catalog import channel_count
from flows.catalog_fields import SPLITS
from flows.errors import RequestError
from segmentation.training.isolate import IGNORED, class_table
from storage.ome_labels import LabelClass

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from flows.catalog import Entry
    from flows.jobs import TrainJob

SHOWN_PAIRS = 3


def check_entries(job: TrainJob, entries: Sequence[Entry]) -> None:
    """Refuse volumes that do not fit the network, the options or each other.

    Raises
    ------
    RequestError
        With what to change; no voxel is read for it.
    """
    low_high = job.intensity_percentiles
    if len(low_high) != 2 or not 0 <= low_high[0] < low_high[1] <= 100:
        raise RequestError(
            f"--intensity-percentiles {_listed(low_high)}: expected two numbers between 0 and 100, "
            "the lower one first"
        )
    for entry in entries:
        _check_axes(job, entry)
    _check_crop(job, entries)
    found = {entry.split for entry in entries}
    for split in SPLITS[:2]:
        if None not in found and split not in found:
            raise RequestError(f"the catalog has no volume with split: {split}; name at least one")
    channels = sorted({channel_count(entry) for entry in entries})
    if len(channels) > 1:
        raise RequestError(f"the volumes have {channels} channels; expected one number")


def _check_axes(job: TrainJob, entry: Entry) -> None:
    axes = entry.label.volumes[0].axes
    if axes not in ("yx", "zyx") or not axes.endswith(job.axes):
        raise RequestError(
            f"{entry.image.url} has the axes {axes} without channels; a network of the axes "
            f"{job.axes} learns from {'yx and zyx' if job.axes == 'yx' else 'zyx'}"
        )
    if entry.images_along is not None and job.axes == "zyx":
        raise RequestError(
            f"{entry.image_name} has images_along: z, so that its planes have nothing to do with "
            "each other; a network of the axes zyx cannot learn from them"
        )


def _check_crop(job: TrainJob, entries: Sequence[Entry]) -> None:
    if job.crop is None:
        return
    if len(job.crop) != len(job.axes) or min(job.crop) < 1:
        raise RequestError(f"--crop {job.crop} does not give one extent for each of {job.axes}")
    for entry in entries:
        extents = entry.region.shape[-len(job.crop) :]
        if any(wanted > there for wanted, there in zip(job.crop, extents, strict=True)):
            raise RequestError(
                f"--crop {_listed(job.crop)} is larger than the region of {entry.image_name}, "
                f"which has {_listed(extents)} voxels along {job.axes}; use a smaller crop"
            )


def _listed(values: Sequence[float]) -> str:
    return ",".join(f"{value:g}" for value in values)


def learned_classes(
    job: TrainJob, known: tuple[LabelClass, ...]
) -> tuple[tuple[LabelClass, ...], tuple[int, ...] | None, int | None]:
    """Classes of the network, the table that makes them of the labels, and what is ignored then.

    Raises
    ------
    RequestError
        If the class that is to be learned alone is none of those known.
    """
    if job.only_class is None:
        return known, None, job.ignore_label
    names = [c.name for c in known[1:]]
    if job.only_class not in names:
        raise RequestError(
            f"--only-class {job.only_class}: the labels have no such class to learn; "
            f"expected one of {', '.join(names)}"
        )
    chosen = known[1 + names.index(job.only_class)]
    table = class_table(len(known), chosen.value, job.other_classes, job.ignore_label)
    ignoring = job.other_classes == "ignore" or job.ignore_label is not None
    classes = (known[0], LabelClass(1, chosen.name, chosen.color))
    return classes, table, IGNORED if ignoring else None


def refuse_leaks(
    entries: Sequence[Entry], leaks: Mapping[tuple[int, int], float], *, allowed: bool
) -> None:
    """Refuse parts of the catalog that share an image, unless that is wanted.

    Parameters
    ----------
    entries : sequence of Entry
        Items.
    leaks : mapping
        Correlation of pairs of items that look alike and are in different parts.
    allowed : bool
        Whether that is accepted.

    Raises
    ------
    RequestError
        With some of the pairs.
    """
    if leaks and not allowed:
        raise RequestError(
            f"{described_pairs(entries, leaks)}: what is learned would be scored; put them in one "
            "part, leave the split to maskmill, or, for an experiment, accept it with "
            "--allow-overlap"
        )


def described_pairs(entries: Sequence[Entry], pairs: Mapping[tuple[int, int], float]) -> str:
    """Some pairs of items that look alike, in words."""
    shown = [
        f"{_placed(entries[first])} and {_placed(entries[second])} {_alike(correlation)}"
        for (first, second), correlation in list(pairs.items())[:SHOWN_PAIRS]
    ]
    more = len(pairs) - len(shown)
    return "; ".join([*shown, f"{more} more pairs"] if more else shown)


def _placed(entry: Entry) -> str:
    return f"{entry.name} ({entry.split})" if entry.split else entry.name


def _alike(correlation: float) -> str:
    if correlation == 1.0:
        return "hold the same image"
    return f"look alike in a section (correlation {correlation:.3f})"


def check_present(
    job: TrainJob,
    classes: Sequence[LabelClass],
    counts: NDArray[Any],
    split: Mapping[str, Any],
) -> None:
    """Refuse a split in which a class cannot be learned or chosen by.

    Parameters
    ----------
    job : TrainJob
        What was asked for.
    classes : sequence of LabelClass
        Of the network.
    counts : int64, shape (items, classes + 1)
        Voxels.
    split : mapping
        Content of split.json.

    Raises
    ------
    RequestError
        If a class has no voxel in a train or validation part.
    """
    for number, fold in enumerate(split["folds"]):
        for part in SPLITS[:2]:
            voxels = counts[fold[part]].sum(axis=0)
            absent = [c for c in classes if not voxels[c.value]]
            if absent:
                where = f"the {part} part" + (f" of fold {number}" if job.folds else "")
                advice = _advice(job, absent[0], counts, split)
                raise RequestError(f"the class {absent[0].name} has no voxel in {where}; {advice}")


def _advice(
    job: TrainJob, absent: LabelClass, counts: NDArray[Any], split: Mapping[str, Any]
) -> str:
    items = zip(split["items"], counts[:, absent.value].tolist(), strict=True)
    groups = sorted({item["group"] for item, voxels in items if voxels})
    if not groups:
        return "it occurs in no volume at all: name classes that occur, counted from 0"
    if split["rule"] == "fixed by the catalog":
        return "choose volumes or regions for that part that hold it"
    some = f"it occurs in {len(groups)} of the groups ({', '.join(groups[:3])}…)"
    if len(groups) <= 3:
        some = some.replace("…", "")
    few = ", or use fewer folds" if job.folds else ""
    return f"{some}, and groups are never divided: add groups that hold it{few}"
