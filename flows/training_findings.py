"""Findings on data and split that do not stop a training, but belong beside its scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flows.training_checks import described_pairs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from flows.catalog import Entry
    from storage.ome_labels import LabelClass

Finding = dict[str, Any]
PARTS = ("train", "validation", "test")
# Rules of thumb, which the findings state.
FEWEST_ITEMS = 5
RARE_SHARE = 0.01


def data_findings(
    entries: Sequence[Entry],
    classes: Sequence[LabelClass],
    counts: NDArray[Any],
    split: Mapping[str, Any],
    leaks: Mapping[tuple[int, int], float],
) -> list[Finding]:
    """Everything worth knowing about items and split.

    Parameters
    ----------
    entries : sequence of Entry
        Items.
    classes : sequence of LabelClass
        Of the network.
    counts : int64, shape (items, classes + 1)
        Voxels of the classes, and those that do not count.
    split : mapping
        Content of split.json.
    leaks : mapping
        Correlation of pairs of items that look alike in different parts; they were accepted.

    Returns
    -------
    list of dict
        "code", "severity" (error, warning or info), "statement" and "advice"; the gravest first.
    """
    found = [
        *_leak(entries, leaks),
        *_no_test(split),
        *_divided(split),
        *_support(classes, counts, split),
        *_imbalance(classes, counts),
        *_empty(entries, counts),
        *_conflict(entries, split),
        *_linked(split),
    ]
    order = ("error", "warning", "info")
    return sorted(found, key=lambda finding: order.index(finding["severity"]))


def _finding(code: str, severity: str, statement: str, advice: str) -> Finding:
    return {"code": code, "severity": severity, "statement": statement, "advice": advice}


def _leak(entries: Sequence[Entry], leaks: Mapping[tuple[int, int], float]) -> Iterator[Finding]:
    if leaks:
        yield _finding(
            "SPLIT-LEAK",
            "error",
            "THE SCORES ARE NOT VALID: images stand in two parts, so that what was learned is "
            f"scored. {described_pairs(entries, leaks)}.",
            "Overlap was allowed for an experiment; for scores that mean something, train again "
            "without --allow-overlap.",
        )


def _no_test(split: Mapping[str, Any]) -> Iterator[Finding]:
    if not any(fold["test"] for fold in split["folds"]):
        yield _finding(
            "SPLIT-NO-TEST",
            "warning",
            "There is no test part. The epoch is chosen on the validation part, whose score is "
            "therefore too good.",
            "Name further groups, give volumes split: test, or use --folds.",
        )


def _divided(split: Mapping[str, Any]) -> Iterator[Finding]:
    where: dict[str, set[str]] = {}
    for part in PARTS:
        for number in split["folds"][0][part]:
            where.setdefault(split["items"][number]["group"], set()).add(part)
    divided = [group for group, parts in where.items() if len(parts) > 1]
    if divided:
        yield _finding(
            "SPLIT-GROUP-DIVIDED",
            "warning",
            f"The catalog divides {_some(divided)} between parts. The scores tell how well other "
            "places of the same specimen are segmented, not other specimens.",
            "Give whole groups to a part, or leave the split to maskmill.",
        )


def _support(
    classes: Sequence[LabelClass], counts: NDArray[Any], split: Mapping[str, Any]
) -> Iterator[Finding]:
    """Classes that stand in few items of a part that is scored; with folds, of any of them."""
    for part in PARTS[1:]:
        folds = [counts[fold[part]] for fold in split["folds"] if fold[part]]
        items = [min((rows[:, c.value] > 0).sum() for rows in folds) for c in classes if folds]
        few = [
            f"{c.name} ({n})"
            for c, n in zip(classes, items, strict=False)
            if n < FEWEST_ITEMS and c.value
        ]
        if few:
            every = " of every fold" if len(split["folds"]) > 1 else ""
            yield _finding(
                "SPLIT-CLASS-SUPPORT",
                "warning",
                f"Few items of the {part} part{every} hold {_some(few)}: fewer than "
                f"{FEWEST_ITEMS} say little about others.",
                "Label more specimens, or use --folds, which scores every one of them.",
            )


def _imbalance(classes: Sequence[LabelClass], counts: NDArray[Any]) -> Iterator[Finding]:
    voxels = counts[:, : len(classes)].sum(axis=0)
    shares = (voxels / voxels.sum()).tolist()
    rare = [
        f"{c.name} ({shares[c.value]:.2%})" for c in classes[1:] if shares[c.value] < RARE_SHARE
    ]
    if rare:
        yield _finding(
            "DATA-IMBALANCE",
            "warning",
            f"Some classes have few of the labelled voxels: {_some(rare)}. Accuracy and losses "
            "that pool all voxels hardly see them.",
            "Keep class-aware crops and a loss by class, which are the default, and look at the "
            "Dice of each class.",
        )


def _empty(entries: Sequence[Entry], counts: NDArray[Any]) -> Iterator[Finding]:
    empty = int((counts[:, 1:-1].sum(axis=1) == 0).sum())
    if empty > len(entries) / 2:
        yield _finding(
            "DATA-EMPTY-TARGET",
            "warning",
            f"{empty} of {len(entries)} items hold nothing but background.",
            "Keep them where they are typical; crops are laid around the classes often enough.",
        )


def _conflict(entries: Sequence[Entry], split: Mapping[str, Any]) -> Iterator[Finding]:
    labels: dict[str, dict[str, str]] = {}
    for entry, item in zip(entries, split["items"], strict=True):
        labels.setdefault(item["image_digest"], {}).setdefault(item["label_digest"], entry.name)
    pairs = [" and ".join(names.values()) for names in labels.values() if len(names) > 1]
    if pairs:
        yield _finding(
            "DATA-DUP-CONFLICT",
            "warning",
            f"The same image has different labels in {_some(pairs)}.",
            "Keep the better one; no network can agree with both.",
        )


def _linked(split: Mapping[str, Any]) -> Iterator[Finding]:
    if split["linked"]:
        pairs = [" and ".join(pair) for pair in split["linked"]]
        yield _finding(
            "SPLIT-LINKED",
            "info",
            f"Groups with the same or nearly the same image are kept in one part: {_some(pairs)}.",
            "Name them as one group, or remove the copies.",
        )


def _some(names: Sequence[str], most: int = 5) -> str:
    more = [f"{len(names) - most} more"] if len(names) > most else []
    return ", ".join([*names[:most], *more])
