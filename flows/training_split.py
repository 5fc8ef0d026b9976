"""The split of a training as an artefact: items, who looks like whom, parts, digest."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

from flows.catalog_items import overlapping
from flows.slab_reader import slab_reader
from segmentation.training.fingerprint import (
    THRESHOLD,
    Fingerprint,
    fingerprint,
    look_alikes,
    voxel_digest,
)
from segmentation.training.split import Item, Parts, split_folds, split_items

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from flows.catalog import Entry
    from flows.jobs import TrainJob
    from storage.ome_labels import LabelClass

SCHEMA = 1
FIXED = "fixed by the catalog"
SEARCHED = "grouped, stratified"


class Divisible(Protocol):
    """A volume, plane or sample, as far as its place in a split matters."""

    @property
    def group(self) -> str:
        """What must not be divided."""

    @property
    def split(self) -> str | None:
        """Part that the catalog gives it."""


@dataclass(frozen=True, slots=True)
class Likeness:
    """Which items hold the same image.

    Attributes
    ----------
    prints : tuple of Fingerprint
        Of every item's image.
    pairs : dict
        Largest correlation of the items of a pair that look alike; 1.0 for the same voxels.
    """

    prints: tuple[Fingerprint, ...]
    pairs: dict[tuple[int, int], float]

    def across(self, entries: Sequence[Divisible]) -> dict[tuple[int, int], float]:
        """The pairs which the catalog puts into different parts.

        Sections of one group that merely resemble each other are none: there may be only one
        specimen, which a finding of its own says.
        """
        return {
            (a, b): correlation
            for (a, b), correlation in self.pairs.items()
            if entries[a].split and entries[b].split and entries[a].split != entries[b].split
            if correlation == 1.0 or entries[a].group != entries[b].group
        }

    def joined(self, entries: Sequence[Divisible]) -> tuple[list[str], list[list[str]]]:
        """Groups of the items, those that look alike joined; and the pairs that were joined.

        Pairs that the catalog has put where they are stay as they are.
        """
        head = {entry.group: entry.group for entry in entries}

        def find(group: str) -> str:
            while head[group] != group:
                group = head[group]
            return group

        linked = []
        for a, b in sorted(self.pairs):
            first, second = entries[a].group, entries[b].group
            one, other = sorted((find(first), find(second)))
            if one != other and not (entries[a].split and entries[b].split):
                head[other] = one
                linked.append(sorted((first, second)))
        return [find(entry.group) for entry in entries], linked


def compare_images(entries: Sequence[Entry], alike: float = THRESHOLD) -> Likeness:
    """Read all images once and find those that are the same, or nearly so.

    Parameters
    ----------
    entries : sequence of Entry
        Items.
    alike : float
        Correlation of sections above which two of them are.
    """
    opened = lru_cache(maxsize=1)(slab_reader)
    prints = [
        fingerprint(opened(entry.image.volumes[0]), entry.region, entry.channel_axis)
        for entry in entries
    ]
    shared = dict.fromkeys(overlapping(entries), 1.0)
    pairs = dict(sorted((look_alikes(prints, alike) | shared).items()))
    return Likeness(tuple(prints), pairs)


def split_document(
    job: TrainJob,
    entries: Sequence[Entry],
    classes: Sequence[LabelClass],
    counts: NDArray[Any],
    likeness: Likeness,
) -> dict[str, Any]:
    """Content of split.json: the same for the same catalog, voxels and seed, wherever they are.

    Parameters
    ----------
    job : TrainJob
        Gives shares, folds and seed.
    entries : sequence of Entry
        Items.
    classes : sequence of LabelClass
        Of the network.
    counts : int64, shape (items, classes + 1)
        Voxels of the classes, and those that do not count.
    likeness : Likeness
        Of the items.

    Raises
    ------
    ValueError
        If the groups do not suffice.
    """
    groups, linked = likeness.joined(entries)
    items = [
        Item(group, tuple(row[:-1]), entry.split)
        for group, row, entry in zip(groups, counts.tolist(), entries, strict=True)
    ]
    fixed = job.folds is None and all(entry.split for entry in entries)
    document = {
        "schema": SCHEMA,
        "rule": FIXED if fixed else SEARCHED,
        "seed": job.seed,
        "shares": list(job.shares),
        "classes": [c.name for c in classes],
        "items": _items(entries, counts, likeness),
        "linked": linked,
        "folds": [fold_document(parts) for parts in divide(job, items)],
    }
    text = json.dumps(document, sort_keys=True)
    return {**document, "digest": hashlib.sha256(text.encode()).hexdigest()}


def divide(job: TrainJob, items: Sequence[Item]) -> tuple[Parts, ...]:
    """Parts of every fold, or the three parts of the one training without folds."""
    if job.folds is not None:
        return split_folds(items, job.folds, job.seed)
    return (split_items(items, job.shares, job.seed),)


def fold_document(parts: Parts) -> dict[str, list[int]]:
    """Parts as split.json has them."""
    return {
        "train": list(parts.train),
        "validation": list(parts.validation),
        "test": list(parts.test),
    }


def _items(
    entries: Sequence[Entry], counts: NDArray[Any], likeness: Likeness
) -> list[dict[str, Any]]:
    opened = lru_cache(maxsize=1)(slab_reader)
    return [
        {
            "image": entry.image_name,
            "label": entry.label_name,
            "region": {"start": list(entry.region.start), "stop": list(entry.region.stop)},
            "group": entry.group,
            "image_digest": one.digest,
            "label_digest": voxel_digest(opened(entry.label.volumes[0]), entry.region),
            "counts": row[:-1],
            "ignored": row[-1],
        }
        for entry, one, row in zip(entries, likeness.prints, counts.tolist(), strict=True)
    ]
