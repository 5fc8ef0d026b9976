"""Train, validation and test: groups stay whole, classes are spread evenly, the seed decides.

Voxels of one specimen resemble each other, so a specimen that is learned from can vouch for
nothing. What is divided are groups, never their items; of all divisions one is searched for in
which every part has every class, and its due share of it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from segmentation.training.stratify import assign_groups

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PARTS = ("train", "validation", "test")
FEWEST_FOLDS = 3
# How grave it is that a class is absent from train, validation and test.
WEIGHTS = (3.0, 2.0, 1.0)


@dataclass(frozen=True, slots=True)
class Item:
    """What is known of an item before the split.

    Attributes
    ----------
    group : str
        Specimen, paper or patient; items of one group go together.
    counts : tuple of int
        Voxels of every class.
    part : str or None
        ``train``, ``validation`` or ``test`` where that is fixed beforehand.
    """

    group: str
    counts: tuple[int, ...]
    part: str | None = None


@dataclass(frozen=True, slots=True)
class Parts:
    """Numbers of the items in each part, in order; no item is in two of them."""

    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]


def split_items(items: Sequence[Item], shares: Sequence[float], seed: int) -> Parts:
    """Train, validation and test part.

    Items with a part of their own keep it, and the rest of their group follows them. A validation
    or test part that has such items gets no others. Where the groups do not suffice for three
    parts, there is no test part.

    Parameters
    ----------
    items : sequence of Item
        At least one.
    shares : sequence of float
        Of the voxels, for train, validation and test; 1 in all.
    seed : int
        Of the search.

    Raises
    ------
    ValueError
        If the shares are unusable, there are too few groups, or a group is fixed to two parts and
        has items without one.
    """
    _check_shares(shares)
    parts = _fixed_parts(items)
    groups = {item.group for item, part in zip(items, parts, strict=True) if part is None}
    needed = [part for part in PARTS[:2] if part not in parts]
    if len(groups) < len(needed):
        raise ValueError(_too_few_message(len(groups), needed))
    if groups:
        wanted = [PARTS[0]]
        wanted += [PARTS[1]] * (PARTS[1] not in parts)
        spare = PARTS[2] not in parts and shares[2] > 0 and len(groups) > len(needed)
        wanted += [PARTS[2]] * spare
        found = _divide(items, parts, {p: shares[PARTS.index(p)] for p in wanted}, seed)
        parts = [found.get(i.group) if p is None else p for i, p in zip(items, parts, strict=True)]
    return Parts(*(_numbers(part == name for part in parts) for name in PARTS))


def split_folds(items: Sequence[Item], folds: int, seed: int) -> tuple[Parts, ...]:
    """Parts of every fold of a cross-validation.

    Fold k tests on the k-th share of the groups, validates on the next one and trains on the rest,
    so that every group is tested once. Groups with a fixed test item stay out of it.

    Parameters
    ----------
    items : sequence of Item
        At least one.
    folds : int
        3 or more.
    seed : int
        Of the search.

    Raises
    ------
    ValueError
        If there are fewer than three folds, fewer groups than folds, or items with another fixed
        part than test.
    """
    if folds < FEWEST_FOLDS:
        raise ValueError(
            f"{folds} folds leave nothing to train on beside validation and test; use 3 or more"
        )
    parts = _fixed_parts(items)
    if {*parts} - {None, "test"}:
        raise ValueError(
            "some items are fixed to train or validation, which folds take in turn; leave out "
            "their split, or the folds"
        )
    groups = {item.group for item, part in zip(items, parts, strict=True) if part is None}
    if len(groups) < folds:
        raise ValueError(
            f"{len(groups)} groups cannot make {folds} folds, as a group is never divided; use at "
            f"most {len(groups)} folds, or name more groups"
        )
    found = _divide(items, parts, {str(k): 1 / folds for k in range(folds)}, seed)
    places = [-1 if p else int(found[i.group]) for i, p in zip(items, parts, strict=True)]
    return tuple(_fold(places, k, (k + 1) % folds) for k in range(folds))


def _fold(places: Sequence[int], test: int, validation: int) -> Parts:
    return Parts(
        _numbers(place not in (-1, test, validation) for place in places),
        _numbers(place == validation for place in places),
        _numbers(place == test for place in places),
    )


def _numbers(inside: Iterable[bool]) -> tuple[int, ...]:
    return tuple(number for number, value in enumerate(inside) if value)


def _divide(
    items: Sequence[Item], parts: Sequence[str | None], wanted: dict[str, float], seed: int
) -> dict[str, str]:
    """Part of every group that has none yet; fixed items of the wanted parts count as theirs."""
    counts: dict[tuple[str, str], np.ndarray] = defaultdict(lambda: np.zeros(1, np.int64))
    for item, part in zip(items, parts, strict=True):
        if part is None or part in wanted:
            key = (part or "", item.group)
            counts[key] = counts[key] + np.array(item.counts, np.int64)
    keys, names = sorted(counts), list(wanted)
    fixed = np.array([names.index(part) if part else -1 for part, _ in keys], np.int64)
    total = sum(wanted.values())
    assigned = assign_groups(
        np.stack([counts[key] for key in keys]),
        [share / total for share in wanted.values()],
        fixed=fixed,
        weights=[WEIGHTS[PARTS.index(name)] if name in PARTS else 1.0 for name in names],
        seed=seed,
    )
    return {
        group: names[place]
        for (part, group), place in zip(keys, assigned.tolist(), strict=True)
        if not part
    }


def _fixed_parts(items: Sequence[Item]) -> list[str | None]:
    """Part of every item: its own, else the one that its group is fixed to."""
    by_group: dict[str, set[str]] = defaultdict(set)
    for item in items:
        if item.part is not None:
            by_group[item.group].add(item.part)
    for item in items:
        if item.part is None and len(by_group[item.group]) > 1:
            raise ValueError(
                f"the group {item.group} is fixed to {' and '.join(sorted(by_group[item.group]))}, "
                "so that its other items belong to none; give each of them a split"
            )
    return [item.part or next(iter(by_group[item.group]), None) for item in items]


def _check_shares(shares: Sequence[float]) -> None:
    if len(shares) != len(PARTS) or min(shares) < 0 or not math.isclose(sum(shares), 1):
        raise ValueError(
            f"the shares {tuple(shares)} are not those of train, validation and test; expected "
            "three numbers that add up to 1, such as 0.7,0.15,0.15"
        )
    if not shares[0] or not shares[1]:
        raise ValueError(f"the shares {tuple(shares)} leave train or validation empty; raise both")


def _too_few_message(groups: int, needed: Sequence[str]) -> str:
    return (
        f"{groups} groups without a split cannot make {' and '.join(needed)}, as a group is never "
        "divided; name more groups, or cut the volume up yourself: the same image several times, "
        "each with a region of its own and a split"
    )
