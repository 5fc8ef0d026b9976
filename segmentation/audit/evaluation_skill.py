"""Finding on masks that are no better than one and the same answer everywhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from segmentation.audit.evaluation_classes import foreground_overlap
from segmentation.audit.finding import Finding, Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from segmentation.audit.thresholds import EvaluationThresholds

HEADLINE = "macro_foreground_dice"


@dataclass(frozen=True, slots=True)
class Constants:
    """What the best mask of one class everywhere would score.

    Attributes
    ----------
    accuracy : float
        Share of the largest class.
    macro : float
        Best macro-foreground Dice: class k everywhere has 2s / (1 + s) where s is its share, and
        the other classes of the truth have 0.
    foreground : float
        Dice of foreground everywhere against background.
    """

    accuracy: float
    macro: float
    foreground: float


def best_constants(support: Sequence[int]) -> Constants:
    """Scores of the best constant masks.

    Parameters
    ----------
    support : sequence of int
        Voxels of every class in the truth, the background first; at least one voxel.
    """
    whole = sum(support)
    shares = [count / whole for count in support]
    present = sum(count > 0 for count in support[1:])
    inside = 1 - shares[0]
    macro = max((2 * s / (1 + s) for s in shares[1:]), default=0.0) / max(present, 1)
    return Constants(max(shares), macro, 2 * inside / (1 + inside))


def skill_findings(
    result: Mapping[str, Any], thresholds: EvaluationThresholds
) -> Iterator[Finding]:
    """EVAL-NO-SKILL of a segmentation.

    An error where the mask is no better than the best constant one, a warning where the
    interval of its score reaches down to that.
    """
    support = [entry["support"] for entry in result["classes"]]
    dice, overlap = foreground_overlap(result["confusion"])
    # Of a truth of one class every good mask is constant.
    if sum(count > 0 for count in support) < 2 or dice is None or overlap is None:
        return
    constants = best_constants(support)
    macro = result[HEADLINE] or 0.0
    none = macro <= constants.macro and dice <= constants.foreground
    alike = result["accuracy"] <= constants.accuracy and overlap < thresholds.no_skill_iou
    low = _low(result)
    unsure = low is not None and low <= constants.macro and dice <= constants.foreground
    if none or alike:
        yield _finding(result, constants, (macro, dice, overlap), thresholds)
    elif unsure:
        yield _unsure(result, constants, macro, low or 0.0)


def _low(result: Mapping[str, Any]) -> float | None:
    """Lower end of the interval of the macro-foreground Dice."""
    scores = (result.get("intervals") or {}).get("scores", ())
    return next((entry["low"] for entry in scores if entry["score"] == HEADLINE), None)


def _table(
    result: Mapping[str, Any], constants: Constants, macro: float, dice: float | None
) -> Table:
    rows = (
        ("accuracy", result["accuracy"], constants.accuracy),
        ("macro-foreground Dice", macro, constants.macro),
        ("foreground against background, Dice", dice, constants.foreground),
    )
    heads = ("score", "this mask", "best constant mask")
    return Table("Against one class everywhere", heads, rows)


ADVICE = (
    "Do not use these masks. Check that image, truth and bundle belong together with `maskmill "
    "audit CATALOG.yaml` and `maskmill audit BUNDLE --on IMAGE.zarr --truth LABEL`, then train "
    "again; `maskmill train … --overfit-one` shows whether the network can learn one sample."
)


def _finding(
    result: Mapping[str, Any],
    constants: Constants,
    found: tuple[float, float, float],
    thresholds: EvaluationThresholds,
) -> Finding:
    macro, dice, overlap = found
    return Finding(
        code="EVAL-NO-SKILL",
        severity="error",
        statement=f"These masks are no better than one class everywhere: accuracy "
        f"{result['accuracy']:.3f} against {constants.accuracy:.3f}, macro-foreground Dice "
        f"{macro:.3f} against {constants.macro:.3f}.",
        rule="Neither the macro-foreground Dice nor the Dice of all foreground is above that of "
        f"the best constant mask ({constants.macro:.3f} and {constants.foreground:.3f}; measured "
        f"{macro:.3f} and {dice:.3f}), or the accuracy is not above the share of the largest "
        f"class and the foreground has an IoU below {thresholds.no_skill_iou:g} (measured "
        f"{overlap:.3f}).",
        advice=ADVICE,
        proves_not="It does not tell a network that has learned nothing from images that were "
        "given to it in another way than in training.",
        evidence=(_table(result, constants, macro, dice),),
    )


def _unsure(result: Mapping[str, Any], constants: Constants, macro: float, low: float) -> Finding:
    return Finding(
        code="EVAL-NO-SKILL",
        severity="warning",
        statement=f"The macro-foreground Dice of {macro:.3f} may be as low as {low:.3f}, and one "
        f"class everywhere would have {constants.macro:.3f}.",
        rule="The interval of the macro-foreground Dice reaches down to the best constant mask "
        f"({constants.macro:.3f}; measured {low:.3f}), and all foreground together is not found "
        "any better.",
        advice="Evaluate on more specimens: `maskmill evaluate CATALOG.yaml --labels NAME`.",
        proves_not="It does not prove that the network has learned nothing; the data are too few "
        "to tell.",
        evidence=(_table(result, constants, macro, foreground_overlap(result["confusion"])[0]),),
    )
