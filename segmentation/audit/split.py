"""Findings on a split: what stands on both sides, what is missing, and how it came about."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from segmentation.audit.data import pair_evidence
from segmentation.audit.finding import Finding, Table, listed
from segmentation.audit.split_classes import class_findings
from segmentation.audit.split_shift import shift_findings
from segmentation.audit.split_tail import tail_findings
from segmentation.audit.survey import PARTS, SAME

if TYPE_CHECKING:
    from collections.abc import Iterator

    from segmentation.audit.survey import Pair, Survey
    from segmentation.audit.thresholds import DataThresholds


def split_findings(survey: Survey, thresholds: DataThresholds) -> list[Finding]:
    """Everything worth knowing about the parts, before and after a training.

    Parameters
    ----------
    survey : Survey
        Items and their parts.
    thresholds : DataThresholds
        When something is said.
    """
    if not survey.folds:
        return []
    leaks = leaking(survey)
    return [
        *_leak(survey, leaks),
        *class_findings(survey, thresholds),
        *tail_findings(survey, thresholds),
        *_divided(survey),
        *shift_findings(survey, thresholds),
        *_no_test(survey),
        *_linked(survey),
    ]


def leaking(survey: Survey) -> list[Pair]:
    """Pairs of items that look alike and stand in different parts.

    Sections of one specimen that merely resemble each other are no leak: there may be only one
    specimen, and `SPLIT-GROUP-DIVIDED` says what that means.
    """
    parts = [survey.part_of(fold) for fold in range(len(survey.folds))]
    return [
        pair
        for pair, correlation in survey.pairs.items()
        if any(_apart(part, pair) for part in parts)
        and (correlation == SAME or not _one_specimen(survey, pair))
    ]


def _apart(part: dict[int, str], pair: Pair) -> bool:
    first, second = (part.get(number) for number in pair)
    return first is not None and second is not None and first != second


def _one_specimen(survey: Survey, pair: Pair) -> bool:
    first, second = (survey.items[number].origin for number in pair)
    return first == second


def _leak(survey: Survey, leaks: list[Pair]) -> Iterator[Finding]:
    if not leaks:
        return
    shown = [_in_words(survey, pair) for pair in leaks]
    same = sum(survey.pairs[pair] == SAME for pair in leaks)
    yield Finding(
        "SPLIT-LEAK",
        "error",
        "THE SCORES ARE NOT VALID: images stand in two parts, so that what was learned is scored. "
        f"{listed(shown, 3)}.",
        "found if images in two parts are identical, regions overlap, or thumbnails correlate more "
        f"than {survey.alike:g}; {same} pairs are identical or overlap, and "
        f"{len(leaks) - same} look alike",
        "Put each pair in one part (fields group and split of the catalog), or leave the split to "
        "maskmill, and train again without --allow-overlap.",
        "How much the scores are too good by: evaluate images of other specimens for that.",
        pair_evidence(survey, leaks),
    )


def _in_words(survey: Survey, pair: Pair) -> str:
    correlation, parts = survey.pairs[pair], survey.part_of()
    names = [
        f"{survey.items[n].name} ({parts[n]})" if n in parts else survey.items[n].name for n in pair
    ]
    alike = f"look alike in a section (correlation {correlation:.3f})"
    return f"{' and '.join(names)} {'hold the same image' if correlation == SAME else alike}"


def _divided(survey: Survey) -> Iterator[Finding]:
    """Specimens in several parts; with planes, whose groups are whole, the stacks they are of."""
    if len(survey.folds) > 1:
        return
    where: dict[str, dict[str, int]] = defaultdict(dict)
    for number, part in survey.part_of().items():
        found = where[survey.items[number].group]
        found[part] = found.get(part, 0) + 1
    divided = {group: parts for group, parts in where.items() if len(parts) > 1}
    if divided:
        rows = tuple(
            (group, parts.get("train", 0), parts.get("validation", 0), parts.get("test", 0))
            for group, parts in divided.items()
        )
        near = [p for p in survey.pairs if _apart(survey.part_of(), p) and _one_specimen(survey, p)]
        yield Finding(
            "SPLIT-GROUP-DIVIDED",
            "warning",
            f"The catalog divides {listed(list(divided))} between parts. The scores tell how well "
            "other places of the same specimen are segmented, not other specimens.",
            f"found if items of one group stand in several parts; {len(divided)} groups do",
            "If there is only one specimen, this is the best that can be done: say so beside the "
            "scores, and leave some sections between the parts unused. Otherwise give whole "
            "groups to a part (fields group and split of the catalog), or leave the split to "
            "maskmill.",
            "That the masks of other specimens are bad: nothing here tells.",
            (Table("Items of the divided groups", ("group", *PARTS), rows), *_near(survey, near)),
        )


def _near(survey: Survey, pairs: list[Pair]) -> tuple[Table, ...]:
    """Places of one specimen that look alike across parts, if there are any."""
    found = pair_evidence(survey, pairs)[:1] if pairs else ()
    return tuple(one for one in found if isinstance(one, Table))


def _no_test(survey: Survey) -> Iterator[Finding]:
    if any(fold["test"] for fold in survey.folds):
        return
    fold = survey.folds[0]
    rows = tuple((part, len(fold[part])) for part in PARTS)
    yield Finding(
        "SPLIT-NO-TEST",
        "warning",
        "There is no test part. The epoch is chosen on the validation part, whose score is "
        "therefore too good.",
        f"found if no {survey.noun[:-1]} is kept for a test; of {len(survey.items)} none is",
        "Name further groups, give items split: test in the catalog, or use `maskmill train "
        "--folds 5`, which tests every group once.",
        "That the network is over-fitted: only that no number shows it is not.",
        (Table("Parts", ("part", survey.noun), rows),),
    )


def _linked(survey: Survey) -> Iterator[Finding]:
    if survey.linked:
        pairs = [" and ".join(pair) for pair in survey.linked]
        yield Finding(
            "SPLIT-LINKED",
            "info",
            f"Groups with the same or nearly the same image are kept in one part: {listed(pairs)}.",
            f"found if thumbnails of two groups correlate more than {survey.alike:g} and the "
            "catalog does not "
            f"fix their parts; {len(survey.linked)} pairs of groups do",
            "Name them as one group in the catalog, or remove the copies.",
            "That they are the same specimen: empty or very regular images look alike too.",
            pair_evidence(survey, _of_several_groups(survey)),
        )


def _of_several_groups(survey: Survey) -> list[Pair]:
    return [(a, b) for a, b in survey.pairs if survey.items[a].group != survey.items[b].group]
