"""What a metric or loss really computes, as findings."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from segmentation.audit.finding import Finding, in_order
from segmentation.audit.loss_rules import class_blind, direction, fails, is_loss
from segmentation.audit.metric_masks import empty, labels_dropped
from segmentation.audit.metric_ratio import smoothed
from segmentation.audit.metric_rules import (
    batch_pooled,
    pooled,
    probabilities_cut,
    wrong_union,
)
from segmentation.audit.probe_fixtures import HARD, INVERTED, PERFECT
from segmentation.audit.probe_reading import Reading, fitting, readings
from segmentation.audit.probe_words import table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from segmentation.audit.probe_reading import ProbeResult
    from segmentation.audit.probe_subject import Subject
    from segmentation.audit.thresholds import MetricThresholds

RULES = (
    *(fails, labels_dropped, probabilities_cut, wrong_union, direction),
    *(empty, smoothed, batch_pooled, class_blind, pooled),
)


def metric_findings(
    subject: Subject, results: Sequence[ProbeResult], thresholds: MetricThresholds
) -> list[Finding]:
    """Findings on a metric or loss, the gravest first.

    Rules are asked in the layouts the metric was meant for: where a right prediction gets the
    best value, nearest to 1, or to 0 for a loss. The first finding shows all answers.

    Parameters
    ----------
    subject : Subject
        What was probed.
    results : sequence of ProbeResult
        From `run_probes`.
    thresholds : MetricThresholds
        When a difference counts.
    """
    every = readings(results)
    meant = fitting(every, loss=is_loss(subject))
    found = [rule(subject, reading, thresholds) for reading in meant for rule in RULES]
    found.append(_one_channel(subject, every, bool(meant), thresholds))
    if not meant and found[-1] is None:
        found.append(_no_layout(subject, every))
    ordered = in_order(_first_of_each(found))
    return _with_all_answers(subject, ordered, meant)


def _first_of_each(found: Iterable[Finding | None]) -> list[Finding]:
    by_code: dict[str, Finding] = {}
    for one in found:
        if one is not None:
            by_code.setdefault(one.code, one)
    return list(by_code.values())


def _with_all_answers(
    subject: Subject, found: list[Finding], meant: Sequence[Reading]
) -> list[Finding]:
    if not found:
        return []
    tables = tuple(table(subject.name, reading) for reading in meant)
    return [replace(found[0], evidence=found[0].evidence + tables), *found[1:]]


def _one_channel(
    subject: Subject, every: Sequence[Reading], elsewhere: bool, thresholds: MetricThresholds
) -> Finding | None:
    """Given one channel, whatever is predicted gets the same."""
    for found in every:
        values = [found.value(name) for name in HARD if found.asked(name)]
        flat = bool(values) and max(values) - min(values) <= thresholds.tolerance
        if found.layout.output == "plane" and flat:
            return _argmax(subject, found, elsewhere, thresholds)
    return None


def _argmax(
    subject: Subject, found: Reading, elsewhere: bool, thresholds: MetricThresholds
) -> Finding:
    return Finding(
        "METRIC-ARGMAX-1CH",
        "info" if elsewhere else "error",
        f"{subject.name} gives {found.value(PERFECT):.4g} to every prediction of one channel, "
        f"right ({found.value(PERFECT):.4g}) or wrong ({found.value(INVERTED):.4g}): alone in its "
        "voxel, a channel has none to be compared with.",
        f"on masks of 0 and 1, answers differ by at most {thresholds.tolerance:g} "
        "(metric.tolerance)",
        "For a network that ends in one sigmoid channel use keras.metrics.BinaryIoU("
        "target_class_ids=[1], threshold=0.5); `maskmill evaluate IMAGE.zarr --labels NAME "
        "--truth LABEL` gives the true scores of a mask.",
        "That it is wrong for a network with one channel a class."
        if elsewhere
        else "That the network is bad, or good: this number does not depend on it.",
        (table(subject.name, found, HARD),),
    )


def _no_layout(subject: Subject, every: Sequence[Reading]) -> Finding:
    ran = [one for one in every if any(result.value is not None for result in one.results)]
    first = ran[0]
    return Finding(
        "DATA-ONEHOT-VS-INT",
        "error",
        f"{subject.name} gives {first.value(PERFECT):.4g} to a perfect prediction and "
        f"{first.value(INVERTED):.4g} to a wrong one, given {first.layout.words}, and tells right "
        "from wrong in no other layout either: it seems to compare masks and outputs that are "
        "encoded in different ways.",
        f"in none of {len(every)} layouts, {len(ran)} of which it takes, does a perfect "
        "prediction get the best value",
        "Bring both to one form before they are compared: one-hot masks with one channel a class, "
        "or argmax of both, or integer masks with sparse_categorical_crossentropy. `maskmill "
        "train` takes integer labels and does so by itself.",
        "That your masks are wrong: only that this function misreads the usual forms.",
        tuple(table(subject.name, one, HARD) for one in ran),
    )
