"""Findings on what a score over all classes hides: missed and confused classes, background."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from segmentation.audit.finding import Finding, Table, listed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from segmentation.audit.thresholds import EvaluationThresholds

MOST_PAIRS = 10


def class_findings(
    result: Mapping[str, Any], thresholds: EvaluationThresholds
) -> Iterator[Finding]:
    """Findings from the confusion matrix of a segmentation.

    Parameters
    ----------
    result : mapping
        result.json with scores.
    thresholds : EvaluationThresholds
        When something is a finding.
    """
    yield from missed_classes(result["classes"], thresholds, unit="voxels")
    yield from _pooled(result, thresholds)
    yield from _confused(result, thresholds)
    yield from _background(result, thresholds)


def missed_classes(
    classes: Sequence[Mapping[str, Any]], thresholds: EvaluationThresholds, *, unit: str
) -> Iterator[Finding]:
    """EVAL-CLASS-MISSED: classes of the truth that are hardly ever found.

    Parameters
    ----------
    classes : sequence of mapping
        Entries of ``classes`` in result.json.
    thresholds : EvaluationThresholds
        ``recall_missed``.
    unit : str
        What the support counts: "voxels" or "samples".
    """
    missed = [
        entry
        for entry in classes
        if entry["support"] and entry["recall"] < thresholds.recall_missed
    ]
    if not missed:
        return
    found = [
        f"{entry['name']} ({round(entry['recall'] * entry['support']):,} of "
        f"{entry['support']:,} {unit})"
        for entry in missed
    ]
    worst = min(entry["recall"] for entry in missed)
    yield Finding(
        code="EVAL-CLASS-MISSED",
        severity="error",
        statement=f"Of the classes in the truth, hardly anything is found of {listed(found)}.",
        rule=f"A class is in the truth and its recall is below {thresholds.recall_missed:g}; "
        f"measured {worst:.4f}.",
        advice="Look at the worst places of the class in the report. Then give it more weight: "
        "train on more examples of it with `maskmill train CATALOG.yaml --out BUNDLE`, and check "
        "with `maskmill audit CATALOG.yaml` that it is in every part.",
        proves_not="It does not prove that the network cannot learn the class: values may be "
        "swapped between truth and mask.",
        evidence=(_class_table(classes, unit),),
    )


def foreground_overlap(confusion: Sequence[Sequence[int]]) -> tuple[float | None, float | None]:
    """Dice and IoU of everything that is foreground, whatever its class; None where nothing is."""
    whole = sum(map(sum, confusion))
    truth = whole - sum(confusion[0])
    predicted = whole - sum(row[0] for row in confusion)
    both = sum(sum(row[1:]) for row in confusion[1:])
    if not truth + predicted:
        return None, None
    return 2 * both / (truth + predicted), both / (truth + predicted - both)


def _pooled(result: Mapping[str, Any], thresholds: EvaluationThresholds) -> Iterator[Finding]:
    """EVAL-POOLED: the score over all voxels is far above that of the classes."""
    pooled, macro = result["pooled_dice"], result["macro_foreground_dice"]
    if pooled is None or macro is None:
        return
    hidden = [
        entry
        for entry in result["classes"][1:]
        if entry["support"] and entry["dice"] < thresholds.class_low
    ]
    wide = pooled - macro > thresholds.pooled_gap
    if not wide and not (hidden and pooled > thresholds.pooled_high):
        return
    names = [f"{entry['name']} {entry['dice']:.3f}" for entry in hidden]
    yield Finding(
        code="EVAL-POOLED",
        severity="warning",
        statement=f"The pooled Dice of {pooled:.3f} is the share of voxels that are right, "
        f"background included; the foreground classes reach {macro:.3f} on average"
        + (f", and lowest are {listed(names)}." if names else "."),
        rule=f"Pooled Dice minus macro-foreground Dice is above {thresholds.pooled_gap:g} "
        f"(measured {pooled - macro:.3f}), or a foreground class has a Dice below "
        f"{thresholds.class_low:g} ({len(hidden)} have) while the pooled Dice is above "
        f"{thresholds.pooled_high:g}.",
        advice="Judge by the Dice of each class and by the macro-foreground Dice, and quote these. "
        "`maskmill train` chooses its epoch by the macro-foreground Dice.",
        proves_not="It does not prove that the masks are useless: a large class may be good.",
        evidence=(_class_table(result["classes"], "voxels"),),
    )


def _confused(result: Mapping[str, Any], thresholds: EvaluationThresholds) -> Iterator[Finding]:
    """EVAL-CLASS-CONFUSION: foreground is found, and given the wrong class."""
    macro = result["macro_foreground_dice"]
    dice, _ = foreground_overlap(result["confusion"])
    if dice is None or macro is None or len(result["classes"]) < 3:
        return
    if dice <= thresholds.foreground_found or macro >= thresholds.macro_low:
        return
    pairs = _top_pairs(result)
    said = [f"{share:.0%} of {truth} is called {guess}" for truth, guess, _, share in pairs]
    yield Finding(
        code="EVAL-CLASS-CONFUSION",
        severity="warning",
        statement=f"Foreground is told from background with a Dice of {dice:.3f}, but its classes "
        f"reach only {macro:.3f}: {listed(said)}.",
        rule=f"Foreground against background has a Dice above {thresholds.foreground_found:g} "
        f"(measured {dice:.3f}) and the macro-foreground Dice is below {thresholds.macro_low:g} "
        f"(measured {macro:.3f}).",
        advice="First check that truth and network number the classes alike (`maskmill info "
        "BUNDLE` and `maskmill info IMAGE.zarr` list them); import the truth again with "
        "`maskmill import-labels … --classes` in the right order if not. Otherwise train with "
        "more examples of the confused classes.",
        proves_not="It does not tell swapped class numbers from classes that look alike.",
        evidence=(Table("What is taken for what", ("truth", "mask", "voxels", "share"), pairs),),
    )


def _top_pairs(result: Mapping[str, Any]) -> tuple[tuple[str, str, int, float], ...]:
    names = [entry["name"] for entry in result["classes"]]
    pairs = [
        (names[truth], names[guess], count, count / sum(row))
        for truth, row in enumerate(result["confusion"])
        for guess, count in enumerate(row)
        if truth and guess and truth != guess and count
    ]
    return tuple(sorted(pairs, key=lambda pair: (-pair[3], -pair[2], pair[:2]))[:MOST_PAIRS])


def _background(result: Mapping[str, Any], thresholds: EvaluationThresholds) -> Iterator[Finding]:
    """EVAL-BACKGROUND-DOMINANCE: accuracy is mostly about background."""
    background = result["classes"][0]
    counted = sum(map(sum, result["confusion"]))
    share = background["support"] / counted if counted else 0.0
    if share <= thresholds.background_share:
        return
    yield Finding(
        code="EVAL-BACKGROUND-DOMINANCE",
        severity="info",
        statement=f"{share:.1%} of the voxels are background, so that an empty mask would have an "
        f"accuracy of {share:.3f}; this one has {result['accuracy']:.3f}.",
        rule=f"More than {thresholds.background_share:.0%} of the truth is background (measured "
        f"{share:.1%}), and accuracy and pooled Dice include it.",
        advice="Do not compare accuracies; compare the Dice of the foreground classes.",
        proves_not="It says nothing of how good the foreground is.",
        evidence=(_class_table(result["classes"], "voxels"),),
    )


def _class_table(classes: Sequence[Mapping[str, Any]], unit: str) -> Table:
    score = "dice" if "dice" in classes[0] else "f1"
    rows = tuple((c["name"], c["support"], c["recall"], c["precision"], c[score]) for c in classes)
    heads = ("class", f"{unit} in truth", "recall", "precision", score.capitalize())
    return Table("Scores of each class", heads, rows)
