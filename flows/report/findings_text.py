"""Findings as plain text, for a terminal."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from flows.report.blocks import symbol
from flows.report.finding_notes import WEIGHTS
from flows.report.numbers import counted
from flows.report.safe import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

WIDTH = 96  # letters of a line


def findings_text(findings: Sequence[Mapping[str, Any]]) -> str:
    """Return every finding with its advice, and how many there are, ending in a newline.

    Parameters
    ----------
    findings : sequence of mapping
        In plain form and in order.
    """
    lines = [line for finding in findings for line in _finding(finding)]
    return "\n".join([*lines, summary(findings)]) + "\n"


def summary(findings: Sequence[Mapping[str, Any]]) -> str:
    """Return "2 errors, 1 warning, 3 notes", or that nothing was found."""
    found = [finding["severity"] for finding in findings]
    if not found:
        return "nothing was found"
    nouns = {"error": "error", "warning": "warning", "info": "note"}
    return ", ".join(
        counted(found.count(severity), noun)
        for severity, noun in nouns.items()
        if severity in found
    )


def _finding(finding: Mapping[str, Any]) -> Iterator[str]:
    weight = WEIGHTS[finding["severity"]]
    yield f"{symbol(weight)} {weight.lower()} {finding['code']}"
    yield from _wrapped(finding["statement"], "  ")
    if finding.get("advice"):
        yield from _wrapped(finding["advice"], "  → ")


def _wrapped(text: str, lead: str) -> list[str]:
    return textwrap.wrap(
        one_line(text),
        WIDTH,
        initial_indent=lead,
        subsequent_indent=" " * len(lead),
        break_long_words=False,
        break_on_hyphens=False,
    )
