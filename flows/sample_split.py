"""The split of samples as an artefact: items, who looks like whom, parts, digest."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from flows.errors import RequestError
from flows.training_split import FIXED, SEARCHED, divide, fold_document
from segmentation.training.split import Item

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flows.jobs import TrainJob
    from flows.samples import Sample, Samples
    from flows.training_split import Likeness

SCHEMA = 1
# Of thumbnails, above which two images count as one: figures of one kind are never as different
# as sections of stacks. Of 746 CT figures the 38 pairs above it have one class each, as copies
# have; below 0.945 pairs of two classes begin.
LOOK_ALIKE = 0.95
SHOWN_PAIRS = 3


def sample_split(job: TrainJob, samples: Samples, likeness: Likeness) -> dict[str, Any]:
    """Content of split.json: the same for the same table, images and seed, wherever they are.

    Groups that hold images which look alike are joined, so that none is learned and then scored.

    Parameters
    ----------
    job : TrainJob
        Gives shares, folds and seed.
    samples : Samples
        Of the catalog.
    likeness : Likeness
        Of their images.

    Raises
    ------
    RequestError
        If the groups do not suffice, a part lacks a class, or the table puts images that look
        alike into different parts.
    """
    rows = samples.samples
    _refuse_leaks(rows, likeness, allowed=job.allow_overlap)
    groups, linked = likeness.joined(rows)
    items = [
        Item(
            group,
            tuple(int(row.label == value) for value in range(len(samples.classes))),
            row.split,
        )
        for group, row in zip(groups, rows, strict=True)
    ]
    fixed = job.folds is None and all(row.split for row in rows)
    try:
        folds = [fold_document(parts) for parts in divide(job, items)]
    except ValueError as error:
        raise RequestError(str(error)) from error
    document = {
        "schema": SCHEMA,
        "rule": FIXED if fixed else SEARCHED,
        "seed": job.seed,
        "shares": list(job.shares),
        "classes": list(samples.classes),
        "items": _items(rows, items, likeness),
        "linked": linked,
        "look_alikes": [
            {"first": rows[a].name, "second": rows[b].name, "correlation": round(value, 4)}
            for (a, b), value in sorted(likeness.pairs.items())
        ],
        "folds": folds,
    }
    _check_present(samples, folds, in_folds=job.folds is not None)
    text = json.dumps(document, sort_keys=True)
    return {**document, "digest": hashlib.sha256(text.encode()).hexdigest()}


def across_groups(samples: Sequence[Sample], likeness: Likeness) -> list[tuple[int, int]]:
    """Pairs of samples that look alike although the table gives them different groups."""
    return [(a, b) for a, b in sorted(likeness.pairs) if samples[a].group != samples[b].group]


def _items(
    rows: Sequence[Sample], items: Sequence[Item], likeness: Likeness
) -> list[dict[str, Any]]:
    return [
        {
            "image": row.name,
            "group": row.group,
            "label": row.label,
            "image_digest": seen.digest,
            "counts": list(item.counts),
        }
        for row, item, seen in zip(rows, items, likeness.prints, strict=True)
    ]


def _refuse_leaks(rows: Sequence[Sample], likeness: Likeness, *, allowed: bool) -> None:
    leaks = likeness.across(rows)
    if not leaks or allowed:
        return
    shown = "; ".join(
        f"{rows[a].name} ({rows[a].split}) and {rows[b].name} ({rows[b].split}), "
        f"correlation {value:.3f}"
        for (a, b), value in list(leaks.items())[:SHOWN_PAIRS]
    )
    more = f" and {len(leaks) - SHOWN_PAIRS} more pairs" if len(leaks) > SHOWN_PAIRS else ""
    raise RequestError(
        f"images in different parts look alike: {shown}{more}. What is learned would be scored; "
        "put them in one part, leave the column split out, or, for an experiment, accept it with "
        "--allow-overlap"
    )


def _check_present(samples: Samples, folds: Sequence[dict[str, Any]], *, in_folds: bool) -> None:
    """Refuse a split in which a class cannot be learned or chosen by."""
    for number, fold in enumerate(folds):
        for part in ("train", "validation"):
            there = {samples.samples[n].label for n in fold[part]}
            absent = [name for value, name in enumerate(samples.classes) if value not in there]
            if absent:
                where = f"the {part} part" + (f" of fold {number}" if in_folds else "")
                raise RequestError(
                    f"the class {absent[0]} has no image in {where}; groups are never divided: "
                    f"add groups that have it{', or use fewer folds' if in_folds else ''}"
                )
