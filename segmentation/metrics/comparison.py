"""Two models on the same specimens: paired differences, and when a comparison is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from segmentation.metrics.intervals import (
    FEWEST_FOR_BOOTSTRAP,
    FEWEST_FOR_INTERVAL,
    check_level,
    counted,
)
from segmentation.metrics.paired import holm, paired_row
from segmentation.metrics.resampling import REPLICATES, SEED, foreground_dice
from segmentation.metrics.statistics import check_groups, score_labels

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

COMPARABLE = {
    "truth": "truth",
    "units": "specimens or images",
    "classes": "classes",
    "voxel_size": "voxel size",
    "unit": "unit of length",
}


def compare_groups(
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    class_names: Sequence[str],
    *,
    names: tuple[str, str] = ("first", "second"),
    unit: str,
    level: float = 0.95,
) -> dict[str, Any]:
    """Compare two results group by group, in the shape of result.json "comparison".

    Of every score: the mean over the groups of the first and of the second, and their paired
    differences, first minus second. The mean difference has a t interval for 3 to 19 groups and
    the percentile interval of 2000 bootstrap samples of groups for 20 or more; below 3 there is
    neither interval nor test. p is of `sign_flip_p`, p_holm adjusts it for the number of classes;
    the macro score stands alone. The order of the groups changes no digit.

    Parameters
    ----------
    first, second : int64, shape (groups, C, C)
        One confusion matrix per group, the same groups in the same order, rows truth.
    class_names : sequence of str
        Names of the classes 0..C-1, the background first.
    names : tuple of str
        What to call the two.
    unit : {"specimen", "image"}
        What a group is. Slices of one specimen resemble each other and are no groups.
    level : float
        Nominal coverage, in (0, 1).

    Returns
    -------
    dict
        Plain JSON. The rows under "scores" are macro-foreground Dice and the Dice of every
        foreground class. A group in which a score is undefined for one of the two is left out of
        its row, and the note says so. Wins are groups in which the first scores higher.

    Raises
    ------
    ValueError
        If the matrices do not fit each other or the names, the unit is no known one, or the level
        is not in (0, 1).
    """
    check_groups(first, class_names, unit)
    check_groups(second, class_names, unit)
    check_level(level)
    if len(first) != len(second):
        raise ValueError(
            f"received {counted(len(first), unit)} of {names[0]} and {len(second)} of {names[1]}; "
            f"a comparison needs both results of every {unit}"
        )
    rows = [
        {**label, **paired_row(*scores, unit=unit, level=level)}
        for label, *scores in zip(
            score_labels(class_names), foreground_dice(first), foreground_dice(second), strict=True
        )
    ]
    tested = [row for row in rows[1:] if row["p"] is not None]
    for row, adjusted in zip(tested, holm([row["p"] for row in tested]), strict=True):
        row["p_holm"] = adjusted
    return {
        "first": names[0],
        "second": names[1],
        "unit": unit,
        "groups": len(first),
        "level": level,
        "note": _note(len(first), unit, level),
        "scores": rows,
    }


def check_comparable(first: Mapping[str, Any], second: Mapping[str, Any]) -> None:
    """Refuse to compare what was not measured in the same way.

    Parameters
    ----------
    first, second : mapping
        Of each result: "truth", the key of the truth; "units", the specimens or images in order;
        "classes"; "voxel_size"; "unit", that of the voxel size. Tuples and lists are alike.

    Raises
    ------
    ValueError
        Once, with everything that differs or is not recorded.
    """
    problems = [
        problem
        for key, name in COMPARABLE.items()
        if (problem := _difference(key, name, first, second))
    ]
    if problems:
        raise ValueError(
            f"the two results cannot be compared: {'; '.join(problems)}. Evaluate both masks "
            "against the same truth, on the same split and at the same resolution"
        )


def _note(groups: int, unit: str, level: float) -> str:
    """Say in words how the rows were found, or why they have no interval."""
    if groups < FEWEST_FOR_INTERVAL:
        verb = "is" if groups == 1 else "are"
        return (
            f"{counted(groups, unit)} {verb} too few for an interval or a test; slices of one "
            f"{unit} resemble each other and are no substitute."
        )
    interval = "t interval"
    if groups >= FEWEST_FOR_BOOTSTRAP:
        interval = f"percentile interval of {REPLICATES} bootstrap replicates (seed {SEED})"
    text = (
        f"Paired differences of {counted(groups, unit)}: mean and {100 * level:g} % {interval}; "
        f"p by exchanging the two results of whole {unit}s, adjusted over the classes after Holm."
    )
    smallest = 2 / 2**groups
    if smallest <= 1 - level:
        return text
    return f"{text} With {counted(groups, unit)} no p can be below {smallest:g}."


def _difference(
    key: str, name: str, first: Mapping[str, Any], second: Mapping[str, Any]
) -> str | None:
    """Say how the two differ in one key, if they do."""
    if key not in first or key not in second:
        return f"{name} not recorded for both"
    one, other = _plain(first[key]), _plain(second[key])
    if one == other:
        return None
    if key != "units":
        return f"different {name}: {one!r} and {other!r}"
    only = [str(unit) for unit in one if unit not in other]
    also = [str(unit) for unit in other if unit not in one]
    if not only and not also:
        return f"{name} in another order"
    return (
        f"different {name}: {_listed(only)} only in the first, {_listed(also)} only in the second"
    )


def _listed(units: list[str]) -> str:
    """Return the first three names, and how many more there are."""
    more = f" and {len(units) - 3} more" if len(units) > 3 else ""
    return ", ".join(units[:3]) + more if units else "none"


def _plain(value: Any) -> Any:
    """Return tuples as lists, as they are after JSON."""
    return [_plain(part) for part in value] if isinstance(value, (list, tuple)) else value
