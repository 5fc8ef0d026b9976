"""Findings that need no truth: on units, and on what has no prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from segmentation.audit.finding import Finding, Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


def number_findings(result: Mapping[str, Any]) -> Iterator[Finding]:
    """Findings that do not need a confusion matrix.

    Parameters
    ----------
    result : mapping
        result.json.
    """
    yield from _missing(result)
    yield from _units(result)
    yield from _dropped(result)


def _units(result: Mapping[str, Any]) -> Iterator[Finding]:
    """EVAL-UNITS: distances whose unit nobody knows."""
    if result.get("unit") or "voxel_size" not in result:
        return
    surface = result.get("surface")
    size = " × ".join(f"{value:g}" for value in result["voxel_size"])
    yield Finding(
        code="EVAL-UNITS",
        severity="error" if surface else "info",
        statement=f"The image has no unit of length (voxel size {size}), so "
        + (
            f"the {len(surface['tolerances'])} surface tolerances mean nothing."
            if surface
            else "sizes and distances are in voxels at best."
        ),
        rule=f"The voxel size must have a unit; the image has {size} without one. An error where "
        "distances are among the scores.",
        advice="Import the image again with `maskmill import … --voxel-size … --unit micrometer`, "
        "sides in the order of the axes, and evaluate again.",
        proves_not="Scores that count voxels (Dice, IoU, recall) do not depend on it.",
        evidence=(
            Table(
                "Voxel size",
                ("axis", "size"),
                tuple(zip(result["axes"], result["voxel_size"], strict=False)),
            ),
        ),
    )


def _missing(result: Mapping[str, Any]) -> Iterator[Finding]:
    """EVAL-MISSING-PREDICTION: shards without result."""
    shards = result.get("shards") or {}
    planned = int(shards.get("planned", 0))
    missing = planned - int(shards.get("done", 0)) - int(shards.get("skipped", 0))
    if missing > 0:
        rows = tuple((name, int(count)) for name, count in shards.items())
        yield missing_finding(
            f"{missing:,} of {planned:,} shards have no result", (f"{missing:,}", "shards"), rows
        )


def missing_finding(
    what: str, measured: tuple[str, str], rows: Sequence[tuple[str, int | str]]
) -> Finding:
    """EVAL-MISSING-PREDICTION.

    Parameters
    ----------
    what : str
        What has no prediction, as the beginning of a sentence.
    measured : (str, str)
        How many, and of what.
    rows : sequence of (str, int or str)
        Evidence.
    """
    return Finding(
        code="EVAL-MISSING-PREDICTION",
        severity="error",
        statement=f"{what}, and they are in none of these scores.",
        rule=f"Everything that has a truth must have a prediction; {' '.join(measured)} have none.",
        advice="Run the same command again, which does only what is missing; the reasons stand "
        "in result.json and in the folder failures of the run.",
        proves_not="It does not say how the missing part would score; it may be the hardest.",
        evidence=(Table("What there is", ("what", "value"), tuple(rows)),),
    )


def _dropped(result: Mapping[str, Any]) -> Iterator[Finding]:
    """METRIC-LABELS-DROPPED: voxels that are in no score because their value is no class."""
    count, voxels = int(result.get("out_of_range") or 0), int(result.get("voxels") or 0)
    if not count:
        return
    known = len(result["classes"])
    rows = (
        ("scored", sum(map(sum, result["confusion"]))),
        ("ignored", int(result.get("ignored") or 0)),
        ("no class", count),
    )
    yield Finding(
        code="METRIC-LABELS-DROPPED",
        severity="error",
        statement=f"{count:,} of {voxels:,} voxels hold a value that is no class, in truth or "
        "mask, and are in none of these scores.",
        rule=f"Every voxel that is not ignored must hold a class from 0 to {known - 1}; "
        f"{count:,} do not.",
        advice="Import the labels again with `maskmill import-labels … --classes` naming every "
        "value, or give the value to leave out as --ignore-label.",
        proves_not="It does not say whether these voxels are right or wrong.",
        evidence=(Table("Voxels", ("counted as", "voxels"), rows),),
    )
