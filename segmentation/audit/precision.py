"""Finding on masks that were computed in a lower precision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from segmentation.audit.finding import Finding, Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from segmentation.audit.thresholds import EvaluationThresholds


def precision_findings(
    result: Mapping[str, Any], thresholds: EvaluationThresholds
) -> Iterator[Finding]:
    """INFER-PRECISION: a lower precision gives too many voxels another class.

    Parameters
    ----------
    result : mapping
        result.json of `segment`; "precision" is read: the "policy", the "voxels" that were
        computed in float32 too, and the "agreement", the share of them of the same class.
    thresholds : EvaluationThresholds
        When it is a finding.
    """
    known = result.get("precision") or {}
    agreement = known.get("agreement")
    if agreement is None or agreement >= thresholds.agreement:
        return
    policy, voxels = known["policy"], known["voxels"]
    changed = voxels - round(agreement * voxels)
    yield Finding(
        code="INFER-PRECISION",
        severity="warning",
        statement=f"In {policy}, {changed:,} of {voxels:,} compared voxels ({changed / voxels:.2%})"
        " have another class than in float32.",
        rule=f"Found if fewer than {thresholds.agreement:.1%} of the voxels that were computed in "
        f"both have the same class; measured {agreement:.2%}.",
        advice="Run it with --precision float32, or pack the bundle again without --precision.",
        proves_not="That the masks are worse: classes change first where two are nearly as "
        "likely. It is measured on the first tile of a few shards, not on all voxels.",
        evidence=(
            Table(
                "Voxels in both precisions",
                ("class", "voxels"),
                (("the same", voxels - changed), ("another", changed)),
            ),
        ),
    )
