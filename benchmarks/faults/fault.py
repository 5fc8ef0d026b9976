"""Planted faults and clean pipelines: what each is, and whether the audit says the right thing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from benchmarks.faults.pipeline import Pipeline
from flows.audit import run_audit
from flows.jobs import AuditJob

Room = Literal["data", "split", "training", "model", "metric", "evaluation", "inference"]
ROOMS: tuple[Room, ...] = (
    *("data", "split", "metric", "training", "model", "evaluation", "inference"),
)
Document = Mapping[str, Any]
Planted = AuditJob | Sequence[Document]
Plant = Callable[[Pipeline, Path], Planted]


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault, and what the audit has to say of it.

    Attributes
    ----------
    name : str
        The fault in a few words.
    room : str
        Where it is planted.
    code, severity : str
        The finding that has to be the first of its severity.
    plant : callable
        Gets the clean pipeline and an empty folder. It leaves the pipeline as it is, makes a copy
        with the fault, and gives what is to be audited, or findings that a command gave already.
    quick : bool
        Whether it takes less than about two seconds; none that needs the trained network does.
    """

    name: str
    room: Room
    code: str
    severity: str
    plant: Plant
    quick: bool = True


@dataclass(frozen=True, slots=True)
class CleanPipeline:
    """A pipeline without a fault.

    Attributes
    ----------
    name : str
        What is special about it.
    make : callable
        As `Fault.plant`.
    allowed : mapping
        Codes of warnings that are right there, and why; written down before the first run.
    quick : bool
        As of a fault.
    """

    name: str
    make: Plant
    allowed: Mapping[str, str] = field(default_factory=dict)
    quick: bool = True


@dataclass(frozen=True, slots=True)
class Detection:
    """What the audit said of a fault.

    Attributes
    ----------
    fault : Fault
        The fault.
    found : bool
        Whether a finding of the right code and severity is there.
    place : int or None
        Its place among the findings of its severity, counted from 1.
    statement : str
        What it says; where it is missing, what was found instead.
    """

    fault: Fault
    found: bool
    place: int | None
    statement: str

    @property
    def detected(self) -> bool:
        """Whether the right code comes first among the findings of its severity."""
        return self.found and self.place == 1


def audited(planted: Planted) -> list[Document]:
    """Findings in order, as `maskmill audit` gives them."""
    return list(run_audit(planted)["findings"] if isinstance(planted, AuditJob) else planted)


def detect(fault: Fault, pipeline: Pipeline, folder: Path) -> Detection:
    """Plant a fault and look for its finding."""
    findings = audited(fault.plant(pipeline, folder))
    alike = [finding for finding in findings if finding["severity"] == fault.severity]
    codes = [finding["code"] for finding in alike]
    if fault.code not in codes:
        others = ", ".join(f"{f['code']} ({f['severity']})" for f in findings) or "nothing"
        return Detection(fault, False, None, f"found {others}")
    place = codes.index(fault.code)
    return Detection(fault, True, place + 1, alike[place]["statement"])


def disturbances(clean: CleanPipeline, pipeline: Pipeline, folder: Path) -> list[str]:
    """Findings on a clean pipeline that were not written down: all errors, other warnings."""
    return [
        f"{finding['code']} ({finding['severity']}): {finding['statement']}"
        for finding in audited(clean.make(pipeline, folder))
        if finding["severity"] == "error"
        or (finding["severity"] == "warning" and finding["code"] not in clean.allowed)
    ]
