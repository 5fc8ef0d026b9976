"""Findings on the classes of every part: absent ones, rare ones, and too little to validate on."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import stdtrit

from segmentation.audit.finding import Finding, Table, listed
from segmentation.audit.survey import PARTS, SCORED
from segmentation.metrics.statistics import wilson

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from segmentation.audit.survey import Survey
    from segmentation.audit.thresholds import DataThresholds


def class_findings(survey: Survey, thresholds: DataThresholds) -> list[Finding]:
    """What the parts hold of every class.

    Parameters
    ----------
    survey : Survey
        Items and their parts; with folds the poorest fold counts.
    thresholds : DataThresholds
        How much of a class is enough.
    """
    return [*_single_class(survey), *_support(survey, thresholds), *_tiny(survey, thresholds)]


def part_table(survey: Survey) -> Table:
    """Items, groups and shares of the classes in every part of the first fold."""
    rows = []
    for part in PARTS:
        numbers = survey.folds[0][part]
        counts = _counts(survey, numbers).sum(axis=0)
        shares = (counts / counts.sum()).tolist() if counts.sum() else [None] * len(counts)
        groups = {survey.items[number].group for number in numbers}
        rows.append((part, len(numbers), len(groups), *shares))
    shares_of = [f"share of {name}" for name in survey.class_names]
    return Table("Parts", ("part", survey.noun, "groups", *shares_of), tuple(rows))


def _counts(survey: Survey, numbers: Sequence[int]) -> NDArray[np.int64]:
    rows = [survey.items[number].counts for number in numbers]
    return np.array(rows, np.int64).reshape(len(rows), len(survey.class_names))


def _single_class(survey: Survey) -> Iterator[Finding]:
    """Classes that occur, but not in a part that needs them."""
    occurring = _present(survey, range(len(survey.items)))
    absent: dict[str, list[str]] = {}
    for part in PARTS:
        folds = [_present(survey, fold[part]) for fold in survey.folds if fold[part]]
        here = occurring.intersection(*folds)
        names = [name for name in survey.class_names if name in occurring - here]
        if names:
            absent[part] = names
    if absent:
        where = "; ".join(f"{listed(names)} in the {part} part" for part, names in absent.items())
        yield Finding(
            "SPLIT-SINGLE-CLASS-VAL",
            "error",
            f"Classes are absent where they are needed: {where}{_of_folds(survey)}. "
            f"{_consequence(survey, absent)}",
            "found if a class that occurs has nothing in the train, validation or test part; "
            f"{sum(map(len, absent.values()))} times",
            "Leave the split to maskmill (no field split), which spreads the classes, or choose "
            "items of each class for every part. Never take the last share of a sorted list.",
            "That the network is bad: such a part cannot show whether it is.",
            (part_table(survey),),
        )


def _present(survey: Survey, numbers: Sequence[int]) -> set[str]:
    """Classes that some of the items hold."""
    rows = [survey.items[number].counts for number in numbers]
    return {name for value, name in enumerate(survey.class_names) if any(r[value] for r in rows)}


def _of_folds(survey: Survey) -> str:
    return " of a fold" if len(survey.folds) > 1 else ""


def _consequence(survey: Survey, absent: dict[str, list[str]]) -> str:
    """What a part without a class leads to."""
    left = {part: len(survey.class_names) - len(names) for part, names in absent.items()}
    for part in SCORED:
        if left.get(part) == 1:
            return f"A network that always answers the same class is perfect on the {part} part."
    if "train" in absent:
        return "What is never shown cannot be learned."
    return "Their scores there are undefined, and no epoch is chosen by them."


def _support(survey: Survey, thresholds: DataThresholds) -> Iterator[Finding]:
    """Classes that stand in few items or groups of a part that is scored."""
    for part in SCORED:
        folds = [fold[part] for fold in survey.folds if fold[part]]
        found = {
            survey.class_names[v]: _least(survey, folds, v) for v in survey.foreground if folds
        }
        few = {
            name: (items, groups)
            for name, (items, groups) in found.items()
            if items > 0 and (items < thresholds.fewest_items or groups < thresholds.fewest_groups)
        }
        if few:
            shown = [f"{name} ({items})" for name, (items, _) in few.items()]
            rows = tuple((name, *numbers) for name, numbers in found.items())
            every = " of every fold" if len(survey.folds) > 1 else ""
            yield Finding(
                "SPLIT-CLASS-SUPPORT",
                "warning",
                f"Few {survey.noun} of the {part} part{every} hold {listed(shown)}: their scores "
                "say little about others.",
                f"found if a class stands in fewer than {thresholds.fewest_items} {survey.noun} or "
                f"{thresholds.fewest_groups} groups of a part; {len(few)} classes do",
                "Label more specimens, or, with five groups or more, use `maskmill train "
                "--folds 5`, which scores every one of them.",
                "That the class is segmented badly: its score is only uncertain.",
                (Table(f"Classes of the {part} part", ("class", survey.noun, "groups"), rows),),
            )


def _least(survey: Survey, folds: Sequence[Sequence[int]], value: int) -> tuple[int, int]:
    """Items and groups that hold a class, in the fold with the fewest."""
    holding = [[n for n in numbers if survey.items[n].counts[value]] for numbers in folds]
    return (
        min(len(numbers) for numbers in holding),
        min(len({survey.items[n].group for n in numbers}) for numbers in holding),
    )


def _tiny(survey: Survey, thresholds: DataThresholds) -> Iterator[Finding]:
    for part in SCORED:
        sizes = [len({survey.items[n].group for n in f[part]}) for f in survey.folds if f[part]]
        if sizes and (half := half_width(survey, min(sizes), thresholds)) > thresholds.half_width:
            groups = min(sizes)
            yield Finding(
                "SPLIT-TINY-VAL",
                "warning",
                f"The {part} part has {groups} independent {_counted(groups)}: "
                f"{_width(survey, groups, half)}.",
                f"found if half the width of the 95 % interval exceeds {thresholds.half_width:g}; "
                f"expected at best {half:.3g} ({_method(survey, thresholds)})",
                "Label more specimens, or, with five groups or more, use `maskmill train "
                "--folds 5`, so that each is scored once; do not compare networks by "
                "smaller differences.",
                "That the score is wrong: it is only known roughly.",
                (part_table(survey),),
            )


def _counted(groups: int) -> str:
    return "group" if groups == 1 else "groups"


def half_width(survey: Survey, groups: int, thresholds: DataThresholds) -> float:
    """Half the width of the interval that a part of so many groups can give, at best.

    For samples that of Wilson (1927) with all of them right; for a Dice that of Student's t with
    the spread expected between specimens; the whole range where there is one group.
    """
    if survey.task == "classification":
        low, high = wilson(groups, groups)
        return 0.5 * (high - low)
    if groups < 2:
        return 0.5
    error = thresholds.expected_spread / math.sqrt(groups)
    return min(0.5, float(stdtrit(groups - 1, 0.975)) * error)


def _width(survey: Survey, groups: int, half: float) -> str:
    if survey.task == "classification":
        low = wilson(groups, groups)[0]
        return (
            f"one of them is {100 / groups:.3g} points of accuracy, and even {groups} right of "
            f"{groups} prove no more than {low:.2f}"
        )
    if groups == 1:
        return "no interval can be given for its score"
    return f"its Dice is known to about ±{half:.2f}"


def _method(survey: Survey, thresholds: DataThresholds) -> str:
    if survey.task == "classification":
        return "Wilson, all right"
    return f"Student's t, a standard deviation of {thresholds.expected_spread:g} between groups"


def no_parts_finding(reason: str, groups: Sequence[str]) -> Finding:
    """Items that cannot be divided into something to learn from and something to validate on.

    Parameters
    ----------
    reason : str
        Why not; what follows a semicolon is left out.
    groups : sequence of str
        Of the items.
    """
    names = sorted(set(groups))
    return Finding(
        "SPLIT-TINY-VAL",
        "error",
        f"Nothing is left to validate on: {reason.partition(';')[0]}.",
        f"found if no validation part can be made; there are {len(names)} groups",
        "Label a second specimen; or cut the volume up yourself: name the same image several "
        "times in the catalog, each with a region of its own and a split.",
        "That the data are bad: they are only too few to check anything with.",
        (Table("Groups", ("group",), tuple((name,) for name in names[:8])),),
    )
