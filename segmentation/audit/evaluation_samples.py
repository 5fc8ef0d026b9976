"""Findings on the scores of a classifier: one prediction a sample."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from segmentation.audit.evaluation_classes import missed_classes
from segmentation.audit.evaluation_numbers import missing_finding
from segmentation.audit.evaluation_probability import calibration_findings
from segmentation.audit.finding import Finding, Table, in_order, listed
from segmentation.audit.learned import learned_findings
from segmentation.audit.thresholds import EvaluationThresholds, ModelThresholds
from segmentation.metrics.statistics import wilson

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Confusion = list[list[int]]


def classification_findings(
    result: Mapping[str, Any],
    thresholds: EvaluationThresholds | None = None,
    model: ModelThresholds | None = None,
) -> list[Finding]:
    """Findings on the predictions of a classifier, the gravest first.

    Parameters
    ----------
    result : mapping
        result.json of `classify`. Without truth only what needs none is looked at.
    thresholds : EvaluationThresholds, optional
        When something is a finding.
    model : ModelThresholds, optional
        The same, of predictions that are all alike.
    """
    thresholds, model = thresholds or EvaluationThresholds(), model or ModelThresholds()
    found = list(_unreadable(result))
    confusion: Confusion = result.get("confusion") or []
    if any(map(sum, confusion)):
        names = [entry["name"] for entry in result["classes"]]
        found += missed_classes(result["classes"], thresholds, unit="samples")
        found += _skill(confusion, names)
        found += _collapse(confusion, names, model)
        found += learned_findings(result)
        found += _small(confusion, names, thresholds)
        found += _calibration(result, names, thresholds)
    return in_order(found)


def _unreadable(result: Mapping[str, Any]) -> Iterator[Finding]:
    """EVAL-MISSING-PREDICTION: images that could not be read."""
    failed = result.get("unreadable") or []
    if failed:
        names = listed([str(one["id"]) for one in failed])
        rows = [(str(one["id"]), str(one["reason"])) for one in failed]
        what = f"{len(failed)} images could not be read ({names})"
        yield missing_finding(what, (str(len(failed)), "images"), rows)


def _skill(confusion: Confusion, names: Sequence[str]) -> Iterator[Finding]:
    """EVAL-NO-SKILL: no better than naming the most frequent class, nor than guessing.

    Accuracy alone would condemn a classifier that pays for rare cases with false alarms, and
    balanced accuracy alone would not see what a constant answer earns: both must fail.
    """
    support = [sum(row) for row in confusion]
    hits = [row[value] for value, row in enumerate(confusion)]
    whole, present = sum(support), [value for value, count in enumerate(support) if count]
    if len(present) < 2:
        return
    accuracy, majority = sum(hits) / whole, max(support) / whole
    balanced = math.fsum(hits[value] / support[value] for value in present) / len(present)
    guess = 1 / len(present)
    ends = [hits[v] / support[v] - wilson(hits[v], support[v])[0] for v in present]
    low = balanced - math.sqrt(math.fsum(end**2 for end in ends)) / len(present)
    reach = wilson(sum(hits), whole)[0]
    if reach > majority or low > guess:
        return
    worse = accuracy <= majority and balanced <= guess
    rows = (
        ("accuracy", accuracy, reach, majority),
        ("balanced accuracy", balanced, low, guess),
    )
    yield Finding(
        code="EVAL-NO-SKILL",
        severity="error" if worse else "warning",
        statement=f"The accuracy of {accuracy:.3f} is no proof of skill: always answering "
        f"{names[support.index(max(support))]} has {majority:.3f}, and the balanced accuracy is "
        f"{balanced:.3f} where guessing has {guess:.3f}.",
        rule="The lower ends of the 95 % intervals of accuracy and of balanced accuracy do not "
        f"exceed the share of the largest class ({majority:.3f}; measured {reach:.3f}) and the "
        f"share of one class of {len(present)} ({guess:.3f}; measured {low:.3f}). An error where "
        "the scores themselves do not.",
        advice="Do not use these predictions. Run `maskmill audit BUNDLE --on IMAGE.zarr` for the "
        "network and `maskmill audit CATALOG.yaml` for its data, then train again with `maskmill "
        "train CATALOG.yaml --out BUNDLE --folds 5`.",
        proves_not="Few samples can hide skill; it does not prove that the network has learned "
        "nothing."
        if not worse
        else "It does not tell a network that has learned nothing from one that is fed otherwise "
        "than in training.",
        evidence=(
            Table(
                "Against one answer for all",
                ("score", "found", "lower end of the interval", "one answer for all"),
                rows,
            ),
            _confusion_table(confusion, names),
        ),
    )


def _collapse(
    confusion: Confusion, names: Sequence[str], thresholds: ModelThresholds
) -> Iterator[Finding]:
    """MODEL-OUTPUT-COLLAPSE: nearly every sample gets the same answer."""
    whole = sum(map(sum, confusion))
    predicted = [sum(row[value] for row in confusion) for value in range(len(confusion))]
    value = predicted.index(max(predicted))
    share, truth = predicted[value] / whole, sum(confusion[value]) / whole
    if share < thresholds.one_class or truth >= thresholds.class_share:
        return
    yield Finding(
        code="MODEL-OUTPUT-COLLAPSE",
        severity="error",
        statement=f"{predicted[value]:,} of {whole:,} samples are called {names[value]}, which "
        f"only {truth:.0%} of them are.",
        rule=f"At least {thresholds.one_class:.0%} of the predictions are one class (measured "
        f"{share:.1%}) that is less than {thresholds.class_share:.0%} of the truth (measured "
        f"{truth:.1%}).",
        advice="Run `maskmill audit BUNDLE --on IMAGE.zarr`: it compares the moving BatchNorm "
        "statistics with exact ones, and `--recalibrate OUT` writes a bundle with these.",
        proves_not="It does not say why: wrong BatchNorm statistics, unscaled input and a network "
        "that has not learned look the same from here.",
        evidence=(_confusion_table(confusion, names),),
    )


def _small(
    confusion: Confusion, names: Sequence[str], thresholds: EvaluationThresholds
) -> Iterator[Finding]:
    """EVAL-SMALL-N: classes of too few samples to know their recall."""
    rows: list[tuple[str, int, float | None, float | None, float | None]] = []
    for value, (name, row) in enumerate(zip(names, confusion, strict=True)):
        support = sum(row)
        low, high = wilson(row[value], support) if support else (None, None)
        rows.append((name, support, row[value] / support if support else None, low, high))
    rare = [row for row in rows if row[1] < thresholds.fewest_samples]
    if not rare:
        return
    said = [
        f"{name} has {count}"
        + (f" (recall {recall:.2f}, from {low:.2f} to {high:.2f})" if count else "")
        for name, count, recall, low, high in rare
    ]
    yield Finding(
        code="EVAL-SMALL-N",
        severity="warning",
        statement=f"Too few samples to know the recall of every class: {listed(said)}.",
        rule=f"A class has fewer than {thresholds.fewest_samples} samples in the truth; measured "
        f"{min(row[1] for row in rows)} in the smallest.",
        advice="Quote the intervals, and get more samples of the class: out-of-fold predictions "
        "of `maskmill train CATALOG.yaml --out BUNDLE --folds 5` score every sample once.",
        proves_not="It does not say that the recall is bad, only that it may be anywhere in its "
        "interval.",
        evidence=(
            Table(
                "Samples and 95 % intervals (Wilson)",
                ("class", "samples", "recall", "low", "high"),
                tuple(rows),
            ),
        ),
    )


def _calibration(
    result: Mapping[str, Any], names: Sequence[str], thresholds: EvaluationThresholds
) -> Iterator[Finding]:
    """EVAL-CALIBRATION, of class 1 of two, else of all classes counted together."""
    found = result.get("calibration")
    if not found or found.get("ece") is None:
        return
    name = names[1] if len(names) == 2 else "the predicted class"
    classes = [(name, found["ece"], found["bins"])]
    yield from calibration_findings(classes, thresholds, unit="samples")


def _confusion_table(confusion: Confusion, names: Sequence[str]) -> Table:
    rows: tuple[tuple[str | int, ...], ...] = tuple(
        (name, *row) for name, row in zip(names, confusion, strict=True)
    )
    return Table("Truth (rows) and prediction", ("truth", *names), rows)
