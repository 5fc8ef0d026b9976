"""A metric that was not reset between calls, and what the calls really found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segmentation.audit.decode import (
    MOST_CARRIED,
    decode_carried,
    decodes_alone,
    expected_by_chance,
    whole,
)
from segmentation.audit.finding import Finding, Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from segmentation.audit.decode import Decoding
    from segmentation.audit.log import LoggedEvaluation, TrainingLog
    from segmentation.audit.thresholds import TrainThresholds


def reset_findings(log: TrainingLog, thresholds: TrainThresholds) -> Iterator[Finding]:
    """LOG-METRIC-NOT-RESET, with the counts of every call."""
    evaluations = log.evaluations
    if not evaluations or decodes_alone(evaluations):
        return
    found = decode_carried(evaluations)
    by_chance = expected_by_chance(evaluations)
    if not found or by_chance > thresholds.by_chance:
        return
    best = found[0]
    carried = _carried(log, best)
    yield _finding(evaluations, best, carried, len(found), (by_chance, thresholds.by_chance))


def _carried(log: TrainingLog, decoding: Decoding) -> int | None:
    """Right ones among those carried in: the last validation pass, where its size fits."""
    if decoding.carried_least == decoding.carried_most:
        return decoding.carried_least
    value, size = log.last("val_accuracy"), log.settings.validation_samples
    if value is None or size not in (None, decoding.carried_samples):
        return None
    right = whole(value, decoding.carried_samples, 4)
    fits = right is not None and decoding.carried_least <= right <= decoding.carried_most
    return right if fits else None


def _counts(decoding: Decoding, carried: int | None) -> tuple[str, str]:
    """What was carried in, and what the first call found, in words."""
    total = decoding.carried_samples
    if carried is not None:
        return f"{carried}/{total}", str(decoding.totals[0][0] - carried)
    return (
        f"{decoding.carried_least} to {decoding.carried_most} of {total}",
        f"{decoding.first_least} to {decoding.first_most}",
    )


def _rows(
    evaluations: Sequence[LoggedEvaluation], decoding: Decoding, carried: int | None
) -> tuple[tuple[str | int | float | None, ...], ...]:
    start, first = _counts(decoding, carried)
    found = [first, *map(str, decoding.later)]
    alone = [None if carried is None else decoding.totals[0][0] - carried, *decoding.later]
    rows: list[tuple[str | int | float | None, ...]] = [
        ("carried in", None, None, start.split("/")[0], decoding.carried_samples, None)
    ]
    for one, total, text, right in zip(evaluations, decoding.totals, found, alone, strict=True):
        size = one.samples or 0
        true = None if right is None else right / size
        rows.append((one.call, one.accuracy, f"{total[0]}/{total[1]}", text, size, true))
    return tuple(rows)


def _finding(
    evaluations: Sequence[LoggedEvaluation],
    decoding: Decoding,
    carried: int | None,
    solutions: int,
    chance: tuple[float, float],
) -> Finding:
    start, first = _counts(decoding, carried)
    sizes = [one.samples or 0 for one in evaluations]
    later = ", ".join(f"{k} of {n}" for k, n in zip(decoding.later, sizes[1:], strict=True))
    only = "the only reading" if solutions == 1 else f"the first of {solutions} readings"
    heads = ("call", "printed", "means", "right", "samples", "true accuracy")
    return Finding(
        code="LOG-METRIC-NOT-RESET",
        severity="error",
        statement=f"The printed accuracies are one count that was never set back to 0: {start} "
        f"right were carried in, then {first} of {sizes[0]}"
        f"{', then ' + later if later else ''} were right. {_truth(decoding, sizes)}".rstrip(),
        rule=f"Not every accuracy is a whole number of its own samples, but all of them are of "
        f"the samples so far; it is {only} with up to {MOST_CARRIED} samples carried in, and "
        f"{chance[0]:.1g} would fit by chance (at most {chance[1]:g}).",
        advice="Evaluate in inference mode with a metric of its own for every call, such as "
        "`maskmill evaluate` or `maskmill classify --truth TABLE.csv`: called twice, they give "
        "the same numbers.",
        proves_not="It does not say whether the network is good in inference mode: a call in "
        "training mode has dropout on and takes BatchNorm's statistics from the batch.",
        evidence=(Table("The calls, decoded", heads, _rows(evaluations, decoding, carried)),),
    )


def _truth(decoding: Decoding, sizes: Sequence[int]) -> str:
    """The later calls together, where they were made on as many samples each."""
    right, samples = sum(decoding.later), sum(sizes[1:])
    if not samples or len(set(sizes[1:])) > 1:
        return ""
    return f"The later calls are right in {right} of {samples}, {right / samples:.3f}."
