"""Finding on how few specimens scores rest on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from segmentation.audit.finding import Finding, Table, listed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from segmentation.audit.thresholds import EvaluationThresholds


def support_findings(
    result: Mapping[str, Any], thresholds: EvaluationThresholds
) -> Iterator[Finding]:
    """EVAL-SMALL-N: too few specimens for an interval, of all classes or of one.

    Parameters
    ----------
    result : mapping
        result.json with scores.
    thresholds : EvaluationThresholds
        ``fewest_groups``.
    """
    groups = result.get("groups") or []
    rows = []
    for entry in result["classes"][1:]:
        value = entry["value"]
        holding = [sum(row["support"][value] > 0 for row in part) for part in _levels(result)]
        rows.append((entry["name"], *holding, entry["support"]))
    fewest = thresholds.fewest_groups
    rare = [f"{row[0]} ({row[1]})" for row in rows if 0 < row[1] < fewest]
    if not groups or (len(groups) >= fewest and not rare):
        return
    if len(groups) < fewest:
        what = (
            f"The scores come from {len(groups)} specimen{'s' * (len(groups) > 1)}, too few to say "
            "how much another one would differ."
        )
    else:
        what = (
            f"Of {len(groups)} specimens fewer than {fewest} hold some classes: {listed(rare)}; "
            "how much their scores differ between specimens is not known."
        )
    yield Finding(
        code="EVAL-SMALL-N",
        severity="warning",
        statement=what,
        rule=f"Fewer than {fewest} specimens, in all or with a class in their truth (measured "
        f"{len(groups)} in all, and {min((row[1] for row in rows), default=0)} of the class in "
        "the fewest). Sections of one specimen are not independent.",
        advice="Evaluate on volumes of more specimens: name them in a catalog, each with its "
        "`group`, and run `maskmill evaluate CATALOG.yaml --labels NAME`.",
        proves_not="It does not say that the scores are wrong, only that their spread is unknown.",
        evidence=(
            Table(
                "What the scores rest on",
                ("class", "specimens with it", "images with it", "voxels in truth"),
                tuple(rows),
            ),
        ),
    )


def _levels(result: Mapping[str, Any]) -> tuple[Sequence[Any], Sequence[Any]]:
    return result.get("groups") or (), result.get("images") or ()
