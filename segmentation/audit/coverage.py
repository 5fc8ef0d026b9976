"""Findings on what is stored of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from segmentation.audit.finding import Finding, Table, listed

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Coverage:
    """What is there of a run.

    Attributes
    ----------
    planned : int
        Shards of the plan.
    recorded : int
        Shards that have a good record.
    missing : tuple of str
        Recorded objects that are not stored.
    stored : int
        Recorded objects that are.
    damaged : int
        Records that are torn or belong to something else.
    """

    planned: int
    recorded: int
    missing: tuple[str, ...] = ()
    stored: int = 0
    damaged: int = 0


def coverage_findings(found: Coverage) -> Iterator[Finding]:
    """INFER-COVERAGE: shards without record, or stored pieces that are gone.

    Parameters
    ----------
    found : Coverage
        What is there.
    """
    absent = found.planned - found.recorded
    if not absent and not found.missing:
        return
    parts = [f"{absent:,} of {found.planned:,} shards have no record"] if absent else []
    if found.missing:
        gone = len(found.missing)
        parts.append(f"{gone:,} of {gone + found.stored:,} stored pieces of the mask are gone")
    rows: tuple[tuple[str, int | str], ...] = (
        ("shards planned", found.planned),
        ("shards recorded", found.recorded),
        ("records torn or foreign", found.damaged),
        ("pieces stored", found.stored),
        ("pieces missing", len(found.missing)),
        *(("missing", key) for key in found.missing[:8]),
    )
    yield Finding(
        code="INFER-COVERAGE",
        severity="error",
        statement=f"The mask is not whole: {' and '.join(parts)}; what is missing reads as "
        "background.",
        rule="Every shard of the plan must have a record, and every piece that a record names must "
        f"be stored; measured {absent:,} shards without record and {len(found.missing):,} pieces "
        f"that are gone ({listed(found.missing, 3) or 'none'}).",
        advice="Run the same `maskmill segment` command again: it does what is missing. "
        "`maskmill verify IMAGE.zarr --labels NAME` also finds pieces whose bytes have changed.",
        proves_not="It does not say that what is there is right.",
        evidence=(Table("What there is", ("what", "value"), rows),),
    )


def gone_finding(what: str, place: str) -> Finding:
    """INFER-COVERAGE, as a note: something to look at is gone, or is another one now.

    Parameters
    ----------
    what : str
        Such as "mask".
    place : str
        Where it was.
    """
    return Finding(
        code="INFER-COVERAGE",
        severity="info",
        statement=f"The {what} of this run is not there as the run left it, and nothing that needs "
        "it was looked at.",
        rule=f"The {what} must be where the run found it, unchanged; 1 part is not.",
        advice=f"Put the {what} back where it was, or run `maskmill segment` again, and audit the "
        "run again.",
        proves_not=f"It does not say that anything was wrong with the {what}.",
        evidence=(Table("Where it was", ("what", "place"), ((what, place),)),),
    )
