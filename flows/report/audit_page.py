"""The page of an audit: every finding with what shows it, and the thresholds that were used."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from flows.report.blocks import flat, render_section
from flows.report.document import Cell, Section, Table, Text
from flows.report.finding_notes import WEIGHTS, evidence_block, finding_note
from flows.report.findings_text import summary
from flows.report.page import contents, verdict_box, whole_page

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

HEADINGS = {"Error": "Errors", "Warning": "Warnings", "Note": "Notes"}
VERDICTS = {
    "Error": "Results are not valid as long as the errors stand.",
    "Warning": "Nothing is invalid; the warnings say what may mislead.",
    "Note": "Nothing is wrong; some things are worth knowing.",
}
NOTHING = "No rule that applies to it has found anything; that is no proof that nothing is wrong."


def render_audit(result: Mapping[str, Any]) -> str:
    """Return the page of an audit, one file that needs no other.

    Parameters
    ----------
    result : mapping
        What `flows.audit.run_audit` gives.
    """
    findings = result["findings"]
    shown = [*_sections(findings), *_metric(result)]
    body = [*_box(result), *contents(shown)]
    body += [render_section(section, {}) for section in shown]
    body.append(render_section(_thresholds(result), {}))
    return whole_page(f"Audit of {result['target']}", body)


def _box(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield how many findings there are, the gravest kind large."""
    findings = result["findings"]
    first, *others = summary(findings).split(", ")
    beside = [tuple(reversed(other.split(" ", 1))) for other in others]
    name = f"Audit of a {result['kind']}"
    return verdict_box(name, first, _verdict(findings), [(noun, n) for noun, n in beside])


def _metric(result: Mapping[str, Any]) -> Iterator[Section]:
    """Yield what a metric is, and everything it answered."""
    if "described" in result:
        answers = [evidence_block(table) for table in result["answers"]]
        yield Section("What it computes", (Text(result["described"]), *answers))


def _thresholds(result: Mapping[str, Any]) -> Section:
    """Return the numbers that the rules go by, folded away."""
    rows = tuple((Cell(name), Cell(value)) for name, value in flat(result["thresholds"]))
    caption = "All thresholds; each can be set with --thresholds NAME=NUMBER"
    return Section("Thresholds", (Table(("threshold", "value"), rows, caption, folded=True),))


def _verdict(findings: Sequence[Mapping[str, Any]]) -> str:
    weights = {WEIGHTS[finding["severity"]] for finding in findings}
    return next((text for weight, text in VERDICTS.items() if weight in weights), NOTHING)


def _sections(findings: Sequence[Mapping[str, Any]]) -> Iterator[Section]:
    for weight, heading in HEADINGS.items():
        notes = [finding_note(f) for f in findings if WEIGHTS[f["severity"]] == weight]
        # Here evidence is what the reader came for; a report shows its scores first.
        notes = [replace(note, opened=weight != "Note") for note in notes]
        if notes:
            yield Section(heading, tuple(notes))
    if not findings:
        yield Section("Findings", (Text("No finding."),))
