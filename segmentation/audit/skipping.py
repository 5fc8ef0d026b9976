"""Finding on blocks that were taken for empty."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from segmentation.audit.finding import Finding, Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from segmentation.audit.thresholds import EvaluationThresholds


def skipping_findings(
    result: Mapping[str, Any], thresholds: EvaluationThresholds
) -> Iterator[Finding]:
    """INFER-FALSE-SKIP: skipped blocks are not as empty as they were taken for, or nobody knows.

    Parameters
    ----------
    result : mapping
        result.json.
    thresholds : EvaluationThresholds
        ``false_skip``.
    """
    found = result.get("skipping") or {}
    if not found.get("skipped_blocks"):
        return
    rate, most = found["false_skip_rate"], thresholds.false_skip
    if rate is not None and rate <= most:
        return
    skipped = f"{found['skipped_blocks']:,} of {found['blocks']:,} blocks were not computed"
    if rate is None:
        what = f"{skipped}, and none of them was drawn to be computed all the same: what they hold "
        what += "is not known."
    else:
        what = f"{skipped}; in {found['sampled_blocks']:,} others that looked as empty the network "
        what += f"gave {rate:.2%} of the voxels to a class."
    names = ("blocks", "skipped_blocks", "sampled_blocks", "false_blocks", "sampled_voxels")
    rows = tuple((name.replace("_", " "), found[name]) for name in (*names, "false_voxels"))
    yield Finding(
        code="INFER-FALSE-SKIP",
        severity="warning",
        statement=what,
        rule=f"Of the voxels of sampled blocks at most {most:.1%} may be given to a class; "
        f"{'not measured' if rate is None else f'measured {rate:.2%}'}.",
        advice="Lower --skip-below, look at a finer --skip-level, or draw more blocks with "
        "--skip-sample; without --skip-below every block is computed.",
        proves_not="The network is no truth: what it finds in empty blocks may be false itself. "
        "Look at such a block before you trust either.",
        evidence=(Table("Blocks taken for empty", ("what", "count"), rows),),
    )
