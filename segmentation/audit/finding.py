"""Findings: what is wrong, by which rule, what shows it, what it does not prove, what to do.

A finding is a pure function of data. Its code is one of `CODES`, which stand in the order in
which causes come before their symptoms: of the findings of one severity the first is the one to
look at first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from segmentation.audit.codes import CODES
from segmentation.metrics.codec import encode_array

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")
Cell = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Table:
    """Evidence in rows.

    Attributes
    ----------
    title : str
        What it shows.
    columns : tuple of str
        Heads.
    rows : tuple of tuple
        Texts, numbers or None, one a column.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def __post_init__(self) -> None:
        odd = [row for row in self.rows if len(row) != len(self.columns)]
        if odd:
            raise ValueError(
                f"table {self.title!r} has a row of {len(odd[0])} cells; expected one for each of "
                f"{len(self.columns)} columns"
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain form, for JSON."""
        rows = [list(row) for row in self.rows]
        return {"kind": "table", "title": self.title, "columns": list(self.columns), "rows": rows}


@dataclass(frozen=True, slots=True)
class Curves:
    """Evidence as lines over a common axis.

    Attributes
    ----------
    title, x_label, y_label : str
        What it shows, and of what.
    lines : tuple of (str, tuple of (float, float or None))
        Name and points of each line; None leaves a gap.
    """

    title: str
    x_label: str
    y_label: str
    lines: tuple[tuple[str, tuple[tuple[float, float | None], ...]], ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain form, for JSON."""
        return {
            "kind": "curves",
            "title": self.title,
            "x_label": self.x_label,
            "y_label": self.y_label,
            "lines": [[name, [list(point) for point in line]] for name, line in self.lines],
        }


@dataclass(frozen=True, slots=True)
class Picture:
    """Evidence to look at.

    Attributes
    ----------
    title : str
        What it shows.
    pixels : uint8, shape (y, x) or (y, x, 3)
        Grey, or red, green and blue; at most 256 pixels a side.
    """

    title: str
    pixels: NDArray[np.uint8]

    def to_dict(self) -> dict[str, Any]:
        """Plain form, for JSON; see `segmentation.metrics.codec`."""
        return {"kind": "picture", "title": self.title, "pixels": encode_array(self.pixels)}


Evidence = Table | Curves | Picture


@dataclass(frozen=True, slots=True)
class Finding:
    """One named result of the audit.

    Attributes
    ----------
    code : str
        One of `CODES`.
    severity : "error", "warning" or "info"
        A result is not valid; it may mislead; worth knowing.
    statement : str
        What was found, in one plain sentence with its numbers.
    rule : str
        When this is found, with the threshold and the number measured.
    advice : str
        What to do, where possible with a maskmill command.
    proves_not : str
        What must not be concluded from it.
    evidence : tuple of Table, Curves or Picture
        What shows it.
    """

    code: str
    severity: Severity
    statement: str
    rule: str
    advice: str
    proves_not: str
    evidence: tuple[Evidence, ...] = ()

    def __post_init__(self) -> None:
        if self.code not in CODES or self.severity not in SEVERITIES:
            raise ValueError(
                f"finding {self.code!r} of severity {self.severity!r}; expected a code of "
                f"segmentation.audit.codes and one of {', '.join(SEVERITIES)}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain form, for result.json; numbers that are none become null."""
        return {
            "code": self.code,
            "severity": self.severity,
            "statement": self.statement,
            "rule": self.rule,
            "evidence": [_plain(one.to_dict()) for one in self.evidence],
            "proves_not": self.proves_not,
            "advice": self.advice,
        }


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """The gravest first; of one severity causes before symptoms; otherwise as they came."""
    return sorted(findings, key=lambda f: (SEVERITIES.index(f.severity), CODES.index(f.code)))


def documents_in_order(findings: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """As `in_order`, of findings in plain form."""
    return sorted(findings, key=lambda f: (SEVERITIES.index(f["severity"]), CODES.index(f["code"])))


def listed(names: Sequence[str], most: int = 5) -> str:
    """Some names in a sentence, and how many more there are."""
    more = [f"{len(names) - most} more"] if len(names) > most else []
    return ", ".join([*names[:most], *more])
