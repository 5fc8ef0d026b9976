"""Findings on items, whatever part they are in: classes, empty items, copies, intensities."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from segmentation.audit.finding import Finding, Table, listed
from segmentation.audit.survey import SAME

if TYPE_CHECKING:
    from collections.abc import Iterator

    from segmentation.audit.finding import Evidence
    from segmentation.audit.survey import Pair, Survey
    from segmentation.audit.thresholds import DataThresholds

SHOWN = 8


def data_findings(survey: Survey, thresholds: DataThresholds) -> list[Finding]:
    """Everything worth knowing about the items, without regard to the split.

    Parameters
    ----------
    survey : Survey
        Items.
    thresholds : DataThresholds
        When something is said.
    """
    return [
        *_absent(survey),
        *_imbalance(survey, thresholds),
        *_empty(survey, thresholds),
        *_duplicates(survey),
        *_conflict(survey),
    ]


def class_table(survey: Survey) -> Table:
    """Amount, share and items of every class."""
    counts = np.array([item.counts for item in survey.items], np.int64)
    total = max(1, int(counts.sum()))
    unit = "samples" if survey.task == "classification" else "voxels"
    rows = tuple(
        (name, int(column.sum()), float(column.sum() / total), int((column > 0).sum()))
        for name, column in zip(survey.class_names, counts.T, strict=True)
    )
    return Table("Classes", ("class", unit, "share", survey.noun), rows)


def _absent(survey: Survey) -> Iterator[Finding]:
    table = class_table(survey)
    absent = [str(row[0]) for row in table.rows if row[3] == 0]
    if absent:
        yield Finding(
            "DATA-IMBALANCE",
            "error",
            f"None of the {len(survey.items)} {survey.noun} holds {listed(absent)}: it can neither "
            "be learned nor scored.",
            f"found if a class that is named has no {table.columns[1][:-1]} at all; "
            f"{len(absent)} have none",
            "Add items that hold it, or leave its name out (classes: in the catalog, or --classes "
            "of `maskmill import-labels`).",
            "That it does not occur in nature: only the labels lack it.",
            (table,),
        )


def _imbalance(survey: Survey, thresholds: DataThresholds) -> Iterator[Finding]:
    table = class_table(survey)
    amounts = {str(row[0]): int(row[1] or 0) for row in table.rows if row[1]}
    if len(amounts) < 2:
        return
    total, ratio = sum(amounts.values()), max(amounts.values()) / min(amounts.values())
    named = [survey.class_names[value] for value in survey.foreground]
    rare = [n for n in named if 0 < amounts.get(n, 0) / total < thresholds.rare_share]
    few = _few(survey, table, thresholds)
    if rare or few or ratio > thresholds.imbalance:
        names = rare or few or [min(amounts, key=lambda name: amounts[name])]
        shown = [f"{name} ({amounts[name] / total:.2%})" for name in names]
        yield Finding(
            "DATA-IMBALANCE",
            "warning",
            f"Some classes have few of the labelled {table.columns[1]}: {listed(shown)}; the "
            f"largest class has {ratio:.3g} times as many as the smallest.",
            f"found if a class has less than {thresholds.rare_share:.0%}, the largest is more than "
            f"{thresholds.imbalance:g} times the smallest (measured {ratio:.3g}), or fewer than "
            f"{thresholds.fewest_items} samples have a class. Accuracy, and losses that pool "
            "everything, hardly see such a class",
            "Keep class-aware crops and a loss by class, which are the defaults of `maskmill "
            "train`; try --class-weights sqrt; and look at the scores of each class, never at "
            "accuracy.",
            "That the class is learned badly: a rare class with a clear look can be easy.",
            (table,),
        )


def _few(survey: Survey, table: Table, thresholds: DataThresholds) -> list[str]:
    """Classes of single samples; the items of a segmentation may be large, and few."""
    if survey.task == "segmentation":
        return []
    return [str(row[0]) for row in table.rows if 0 < int(row[3] or 0) < thresholds.fewest_items]


def _empty(survey: Survey, thresholds: DataThresholds) -> Iterator[Finding]:
    if survey.task == "classification":
        return
    empty = [item.name for item in survey.items if not sum(item.counts[1:])]
    share = len(empty) / len(survey.items)
    if share > thresholds.empty_share:
        yield Finding(
            "DATA-EMPTY-TARGET",
            "warning",
            f"{len(empty)} of {len(survey.items)} items hold nothing but background.",
            f"found if more than {thresholds.empty_share:.0%} of the items have no foreground; "
            f"measured {share:.0%}",
            "Keep them where they are typical of what will be segmented: `maskmill train` lays "
            "crops around the classes often enough (--class-share). If other classes were drawn as "
            "background, mark them instead (--only-class NAME --other-classes ignore).",
            "That the labels are incomplete: there may be nothing to see in these items.",
            (Table("Items without foreground", ("item",), tuple((n,) for n in empty[:SHOWN])),),
        )


def _duplicates(survey: Survey) -> Iterator[Finding]:
    """Exact copies that are nowhere on two sides, and do not contradict each other."""
    parts = [survey.part_of(fold) for fold in range(len(survey.folds))]
    copies = [
        (a, b)
        for (a, b), correlation in survey.pairs.items()
        if correlation == SAME
        and (a, b) not in survey.agreements
        and all(part.get(a) == part.get(b) for part in parts)
    ]
    if copies:
        first, second = (survey.items[number].name for number in copies[0])
        yield Finding(
            "DATA-DUPLICATE",
            "warning",
            f"{len(copies)} pairs of {survey.noun} hold the same image or share voxels, such as "
            f"{first} and {second}.",
            "found if the voxels of two images of one part are identical, or regions overlap; "
            f"{len(copies)} pairs are so",
            "Remove the copies from the catalog: they count twice in training and in every score.",
            "That the scores are wrong: no copy stands on both sides of the split.",
            pair_evidence(survey, copies),
        )


def pair_evidence(survey: Survey, pairs: list[Pair]) -> tuple[Evidence, ...]:
    """Pairs of items that look alike as a table, and the pictures there are of them."""
    parts = survey.part_of() if len(survey.folds) == 1 else {}
    rows = tuple(
        (
            survey.items[a].name,
            survey.items[b].name,
            parts.get(a, ""),
            parts.get(b, ""),
            survey.pairs[a, b],
        )
        for a, b in pairs[:SHOWN]
    )
    heads = ("first", "second", "part of the first", "part of the second", "correlation")
    pictures = [survey.pictures[pair] for pair in pairs if pair in survey.pictures]
    return (Table("Pairs that look alike", heads, rows), *pictures)


def _conflict(survey: Survey) -> Iterator[Finding]:
    if not survey.agreements:
        return
    pairs = list(survey.agreements)
    names = [" and ".join(survey.items[n].name for n in pair) for pair in pairs]
    yield Finding(
        "DATA-DUP-CONFLICT",
        "warning",
        f"The same image has different labels in {listed(names)}{_ceiling(survey)}.",
        f"found if images are identical and their labels are not; {len(pairs)} pairs are so",
        "Keep the better one, and remove the other from the catalog: no network can agree with "
        "both.",
        "Which of the two is right.",
        (_agreement_table(survey), *pair_evidence(survey, pairs)[1:]),
    )


def _ceiling(survey: Survey) -> str:
    """What two labels of one image agree in: no network can be expected to agree better."""
    found = [dice for row in survey.agreements.values() for dice in row[1:] if dice is not None]
    if not found:
        return ""
    return f"; the two agree with a Dice of {min(found):.3f} in the class where they differ most"


def _agreement_table(survey: Survey) -> Table:
    names = survey.class_names if survey.task == "segmentation" else ()
    rows = tuple(
        (*(survey.items[n].name for n in pair), *(row if names else ()))
        for pair, row in survey.agreements.items()
    )
    return Table("Agreement of the two labels (Dice)", ("first", "second", *names), rows[:SHOWN])
