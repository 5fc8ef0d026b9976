"""A part that is the end of a sorted list: the items it needs for comparison are in the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from segmentation.audit.finding import Curves, Finding
from segmentation.audit.order import drift_probability, sorted_probability

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from segmentation.audit.survey import Survey, SurveyItem
    from segmentation.audit.thresholds import DataThresholds


@dataclass(frozen=True, slots=True)
class Order:
    """Units in the order of the catalog, and what is sorted or drifts along them.

    Attributes
    ----------
    what : str
        What follows the order.
    probability : float
        Of so regular an order of the training part by chance.
    values : tuple of float
        Of every unit.
    """

    what: str
    probability: float
    values: tuple[float, ...]


def tail_findings(survey: Survey, thresholds: DataThresholds) -> list[Finding]:
    """Parts that are one end of the list, where the list is sorted or drifts.

    Units are specimens, of which a part holds all items or none; where one is divided, items.

    Parameters
    ----------
    survey : Survey
        Items and their parts.
    thresholds : DataThresholds
        How improbable an order has to be.
    """
    return [
        finding
        for part, numbers in survey.scored()
        for finding in _tail(survey, part, survey.folds[0]["train"], numbers, thresholds)
    ]


def _tail(
    survey: Survey,
    part: str,
    train: Sequence[int],
    numbers: Sequence[int],
    thresholds: DataThresholds,
) -> Iterator[Finding]:
    both = sorted((*train, *numbers))
    units = _units(survey, both, set(numbers))
    inside = [set(unit) <= set(numbers) for unit in units]
    if not _at_an_end(inside):
        return
    orders = _orders(survey, units, inside)
    found = min(orders, key=lambda order: order.probability)
    if found.probability >= thresholds.order / len(orders):
        return
    alone = len({survey.items[number].origin for number in both}) == 1
    yield Finding(
        "SPLIT-TAIL",
        "warning" if alone else "error",
        f"The {part} part is one end of the list ({sum(inside)} of {len(units)}), and {found.what} "
        "follow the order of the list: the part differs from the others by construction.",
        "found if a part is the head or tail of the list, and so few changes along the rest of it "
        f"have a probability below {thresholds.order / len(orders):g} (runs test of Wald and "
        f"Wolfowitz); measured {found.probability:.2g}",
        "Leave the split to maskmill (no field split), which mixes groups and spreads the classes; "
        "if the order is that of acquisition, find out what drifted.",
        "That the score is too high: it can be too low as well.",
        (_curves(part, inside, found),),
    )


def _units(survey: Survey, both: Sequence[int], part: set[int]) -> list[list[int]]:
    """Items by specimen, in the order in which these first appear; one by one if one is divided."""
    groups: dict[str, list[int]] = {}
    for number in both:
        groups.setdefault(survey.items[number].origin, []).append(number)
    divided = any(0 < len(part.intersection(unit)) < len(unit) for unit in groups.values())
    return [[number] for number in both] if divided else list(groups.values())


def _at_an_end(inside: Sequence[bool]) -> bool:
    """Whether the units of a part are the first or the last, and there are others."""
    number = sum(inside)
    return 0 < number < len(inside) and (all(inside[:number]) or all(inside[-number:]))


def _orders(survey: Survey, units: Sequence[Sequence[int]], inside: Sequence[bool]) -> list[Order]:
    """What may follow the order: classes, and mean intensities where they are known.

    The order is that of the training part: a part that differs as a whole is none of the list's
    making, and is found as a shift.
    """
    counts = [np.sum([survey.items[n].counts for n in unit], axis=0) for unit in units]
    means = [_mean([survey.items[n] for n in unit]) for unit in units]
    light = tuple(mean for mean in means if mean is not None)
    found = [_classes(survey, counts, inside)]
    if len(light) == len(means):
        chance = drift_probability(_outside(light, inside))
        found.append(Order("mean intensities", chance, light))
    return found


def _classes(survey: Survey, counts: Sequence[np.ndarray], inside: Sequence[bool]) -> Order:
    if survey.task == "classification":
        kinds = tuple(float(np.argmax(row)) for row in counts)
        chance = sorted_probability([int(kind) for kind in _outside(kinds, inside)])
        return Order("the classes", chance, kinds)
    shares = tuple(float(row[1:].sum() / max(1, row.sum())) for row in counts)
    return Order("shares of foreground", drift_probability(_outside(shares, inside)), shares)


def _outside(values: Sequence[float], inside: Sequence[bool]) -> list[float]:
    return [value for value, held in zip(values, inside, strict=True) if not held]


def _mean(items: Sequence[SurveyItem]) -> float | None:
    means = [item.intensities.mean for item in items if item.intensities is not None]
    return sum(means) / len(means) if len(means) == len(items) else None


def _curves(part: str, inside: Sequence[bool], found: Order) -> Curves:
    lines = tuple(
        (
            name,
            tuple(
                (float(place), value if held == wanted else None)
                for place, (value, held) in enumerate(zip(found.values, inside, strict=True), 1)
            ),
        )
        for name, wanted in (("train", False), (part, True))
    )
    return Curves(f"Along the list: {found.what}", "place in the list", found.what, lines)
