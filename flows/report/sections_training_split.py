"""Sections on what a network learned from: the split, and what drawing crops does to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flows.report.document import Cell, Section, Table, Text
from flows.report.numbers import counted, named, percent, quantity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flows.report.document import Block

Row = dict[str, Any]
#: Key of a part, its name, and what it is there for.
PARTS = (
    ("train", "Training", "the weights"),
    ("validation", "Validation", "the choice of the epoch"),
    ("test", "Test", "the final score, no choice"),
)
NO_TEST = "the choice of the epoch, and the final score"


def split_table(result: Mapping[str, Any]) -> Section | None:
    """Return which items are in which part, and the share of every class there."""
    split = result.get("split")
    if not split or not split.get("folds"):
        return None
    parts = split["folds"][0]
    blocks = [*_rule(split), *_divided(split), _parts(split, parts), _shares(split, parts)]
    return Section("How the data were split", (*blocks, _items(split, parts), _digest(split)))


def fold_split(result: Mapping[str, Any]) -> Section | None:
    """Return how much every fold learned from and was tested on, and the classes there."""
    split = result.get("split")
    if not split or not split.get("folds"):
        return None
    rows = tuple(
        (Cell(f"fold {number}"), *[_size(split, parts[key]) for key, *_ in PARTS])
        for number, parts in enumerate(split["folds"])
    )
    sizes = Table(("Fold", *[name for _, name, _ in PARTS]), rows)
    blocks = [*_rule(split), sizes, _fold_shares(split), _digest(split)]
    return Section("How the data were split", tuple(blocks))


def sampling(result: Mapping[str, Any], names: Sequence[str]) -> Section | None:
    """Return how often a class is seen in the crops, beside how often it occurs."""
    found = result.get("sampling")
    if not found:
        return None
    rows = tuple(
        (Cell(name, value=value), _share(there), _share(seen), Cell(_factor(there, seen)))
        for value, (name, there, seen) in enumerate(
            zip(names, found["voxel_share"], found["crop_share"], strict=True)
        )
    )
    lead = (
        f"{percent(found['class_share'])} of the crops are laid around a voxel of a class that is "
        "drawn first, every class alike; the others lie anywhere. The last column says what that "
        "does."
    )
    heads = ("Class", "Share in the training part", "Share in crops", "In crops, times as often")
    blocks = (Text(lead), Table(heads, rows))
    return Section("What the crops show", blocks, ("crop_share",))


def _rule(split: Mapping[str, Any]) -> list[Block]:
    """Say by what rule the parts were made, and which groups had to stay together."""
    if split["rule"] == "fixed by the catalog":
        words = "The catalog says which part each item belongs to."
    else:
        words = (
            f"Whole groups were dealt out with seed {split['seed']} so that every class has about "
            "the same share in every part."
        )
    linked = [" and ".join(map(str, pair)) for pair in split.get("linked") or ()]
    if linked:
        words += (
            f" Kept in one part because their images are the same or nearly so: {named(linked)}."
        )
    return [Text(words)]


def _divided(split: Mapping[str, Any]) -> list[Block]:
    """Warn of groups that lie in more than one part."""
    inside = [_groups(split, split["folds"][0][key]) for key, *_ in PARTS]
    every = dict.fromkeys(group for groups in inside for group in groups)
    divided = [group for group in every if sum(group in groups for groups in inside) > 1]
    if not divided:
        return []
    words = f"▲ {counted(len(divided), 'group')} in more than one part: {named(divided)}. "
    return [Text(f"{words}What is alike within a group makes scores look better than they are.")]


def _groups(split: Mapping[str, Any], numbers: Sequence[int]) -> list[str]:
    """Return the names of the groups of some items."""
    return list(dict.fromkeys(str(split["items"][number]["group"]) for number in numbers))


def _parts(split: Mapping[str, Any], parts: Mapping[str, Sequence[int]]) -> Table:
    rows = []
    for key, name, purpose in PARTS:
        numbers, groups = parts[key], _groups(split, parts[key])
        told = NO_TEST if key == "validation" and not parts["test"] else purpose
        ignored = sum(split["items"][number]["ignored"] for number in numbers)
        rows.append(
            (
                Cell(name),
                Cell(told if numbers else "there is none", words=True),
                Cell(f"{len(groups):,}: {named(groups)}" if groups else "0", words=True),
                Cell(f"{len(numbers):,}"),
                Cell(f"{_voxels(split, numbers):,}"),
                Cell(f"{ignored:,}"),
            )
        )
    heads = ("Part", "Used for", "Groups", "Items", "Voxels counted", "Voxels ignored")
    return Table(heads, tuple(rows))


def _voxels(split: Mapping[str, Any], numbers: Sequence[int]) -> int:
    return sum(sum(split["items"][number]["counts"]) for number in numbers)


def _shares(split: Mapping[str, Any], parts: Mapping[str, Sequence[int]]) -> Table:
    shown = [(key, name) for key, name, _ in PARTS if parts[key]]
    rows = tuple(
        (Cell(name, value=value), *[_class_share(split, parts[key], value) for key, _ in shown])
        for value, name in enumerate(split["classes"])
    )
    heads = ("Class", *[f"Share in {name.lower()}" for _, name in shown])
    return Table(heads, rows, "Share of every class in the voxels counted")


def _fold_shares(split: Mapping[str, Any]) -> Table:
    folds = split["folds"]
    rows = tuple(
        (Cell(name, value=value), *[_class_share(split, parts["test"], value) for parts in folds])
        for value, name in enumerate(split["classes"])
    )
    heads = ("Class", *[f"Fold {number}" for number in range(len(folds))])
    return Table(heads, rows, "Share of every class in the test part")


def _class_share(split: Mapping[str, Any], numbers: Sequence[int], value: int) -> Cell:
    """Return the share of a class, and in how many of the groups it occurs."""
    voxels = _voxels(split, numbers)
    here = sum(split["items"][number]["counts"][value] for number in numbers)
    holding = [number for number in numbers if split["items"][number]["counts"][value]]
    found, every = len(_groups(split, holding)), len(_groups(split, numbers))
    note = f"in {found:,} of {counted(every, 'group')}" if found else "▲ in no group"
    return Cell(percent(here / voxels) if voxels else "–", note=note)


def _share(share: float | None) -> Cell:
    return Cell("–" if share is None else percent(share))


def _factor(there: float | None, seen: float | None) -> str:
    return f"× {quantity(float(f'{seen / there:.2g}'))}" if there and seen is not None else "–"


def _size(split: Mapping[str, Any], numbers: Sequence[int]) -> Cell:
    groups = counted(len(_groups(split, numbers)), "group")
    note = f"{counted(len(numbers), 'item')}, {counted(_voxels(split, numbers), 'voxel')}"
    return Cell(groups, note=note)


def _items(split: Mapping[str, Any], parts: Mapping[str, Sequence[int]]) -> Table:
    """Return every item with its group and its part, folded."""
    part_of = {number: name for key, name, _ in PARTS for number in parts[key]}
    rows = tuple(
        (
            Cell(str(item["image"]), note=_region(item["region"])),
            Cell(str(item["label"]), words=True),
            Cell(str(item["group"]), words=True),
            Cell(part_of.get(number, "none"), words=True),
            Cell(f"{sum(item['counts']):,}"),
        )
        for number, item in enumerate(split["items"])
    )
    heads = ("Image", "Label", "Group", "Part", "Voxels counted")
    return Table(heads, rows, f"All {counted(len(rows), 'item')}", folded=True)


def _region(region: Mapping[str, Sequence[int]]) -> str:
    """Return the ends of a region along every axis, half open."""
    return ", ".join(f"{a}:{b}" for a, b in zip(region["start"], region["stop"], strict=True))


def _digest(split: Mapping[str, Any]) -> Text:
    words = "The same catalog, data and seed make the same split; its digest begins with"
    return Text(f"{words} {split['digest'][:12]}.", soft=True)
