"""What ``predict``, ``evaluate`` and ``test_function`` printed, and of how many samples."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from segmentation.audit.log import LoggedEvaluation, LoggedPredictions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from segmentation.audit.keras_calls import Call

_ARRAY = re.compile(r"^\W*(\w+)\s*=\s*np\.(?:ones|zeros)\((\d{1,15})\)")
_LIST = re.compile(r"^\W*(\w+)\s*=\s*\[([\w\s,.]+)\]\s*$")
_PREDICT = re.compile(r"\bpredict\(\s*(\w+)")
_EVALUATE = re.compile(r"\b((?:test_function|test_on_batch|evaluate)\(([^()]*)\))")
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?"
_ROW = re.compile(rf"\[\s*({_NUMBER}(?:[\s,]+{_NUMBER})*)\s*,?\s*\]", re.IGNORECASE)
_ARRAY_LINE = re.compile(
    r"^[\W\d]*+(?:array)?+[\W\d]*+(?:e[-+]?\d++[\W\d]*+)*+(?:dtype=\w++\W*+)?$"
)
_TAIL = re.compile(r"#.*$")


@dataclass(slots=True)
class Sizes:
    """How many samples stand behind the names of a text.

    Attributes
    ----------
    known : dict of str to int
        By name.
    members : dict of str to list of str
        Lists of other names.
    """

    known: dict[str, int] = field(default_factory=dict)
    members: dict[str, list[str]] = field(default_factory=dict)

    def note(self, line: str) -> None:
        """Take what an assignment tells."""
        if array := _ARRAY.match(line):
            self.known[array[1]] = int(array[2])
        elif names := _LIST.match(line):
            self.members[names[1]] = [name.strip() for name in names[2].split(",")]

    def of(self, names: Iterable[str]) -> int | None:
        """Samples of the first name whose size is known, in lists of names and lists of those."""
        waiting, seen = [*names], set()
        while waiting:
            name = waiting.pop(0)
            if self.known.get(name):
                return self.known[name]
            if name not in seen:
                seen.add(name)
                waiting[:0] = self.members.get(name, ())
        return None

    def size_of_call(self, call: Call) -> int | None:
        """Samples of the first argument, by position or as ``x``."""
        given = call.named.get("x", next(iter(call.arguments), None))
        return self.of([given.id]) if isinstance(given, ast.Name) else None


@dataclass(slots=True)
class OutputReader:
    """Reads lines one after another, and knows what the next one belongs to.

    Attributes
    ----------
    sizes : Sizes
        So far.
    """

    sizes: Sizes = field(default_factory=Sizes)
    _evaluated: list[tuple[tuple[str, str], str]] = field(default_factory=list)
    _predicted: list[tuple[str, list[list[float]]]] = field(default_factory=list)
    _call: tuple[str, str] | None = None
    _is_predicting: bool = False

    def read(self, lines: Iterable[str]) -> OutputReader:
        """Read all lines.

        Returns
        -------
        OutputReader
            Itself.
        """
        for line in lines:
            self._read_line(_TAIL.sub("", line))
        for name, rows in self._predicted:
            self.sizes.known.setdefault(name, len(rows))
        return self

    def _read_line(self, line: str) -> None:
        predict, evaluate = _PREDICT.search(line), _EVALUATE.search(line)
        self.sizes.note(line)
        if predict:
            self._predicted.append((predict[1], []))
            self._is_predicting, self._call = True, None
        elif evaluate:
            self._call, self._is_predicting = (evaluate[1], evaluate[2]), False
        elif self._is_predicting:
            self._is_predicting = self._take_rows(line)
        elif self._call and (row := _ROW.search(line)):
            self._evaluated.append((self._call, row[1]))
            self._call = None
        else:
            self._call = None

    def _take_rows(self, line: str) -> bool:
        """Take rows of probabilities; False where the array has ended."""
        rows = [[float(n) for n in re.split(r"[\s,]+", row)] for row in _ROW.findall(line)]
        self._predicted[-1][1].extend(row for row in rows if row)
        return bool(rows) or _ARRAY_LINE.match(line) is not None

    @property
    def evaluations(self) -> tuple[LoggedEvaluation, ...]:
        """Losses and accuracies, those that were only quoted again left out."""
        found: list[LoggedEvaluation] = []
        for (call, arguments), numbers in self._evaluated:
            texts = re.split(r"[\s,]+", numbers)
            one = self._evaluation(call, arguments, texts) if len(texts) > 1 else None
            if one and not (found and one == found[-1]):
                found.append(one)
        return tuple(found)

    def _evaluation(self, call: str, arguments: str, texts: list[str]) -> LoggedEvaluation | None:
        samples = self.sizes.of(name.strip() for name in arguments.split(","))
        loss, accuracy = float(texts[0]), float(texts[1])
        if not 0 <= accuracy <= 1:
            return None
        digits = len(texts[1].partition(".")[2])
        return LoggedEvaluation(samples, loss, accuracy, digits, call)

    @property
    def predictions(self) -> tuple[LoggedPredictions, ...]:
        """Summaries of the arrays that were printed."""
        return tuple(_summary(name, rows) for name, rows in self._predicted if _is_even(rows))


def _is_even(rows: list[list[float]]) -> bool:
    return bool(rows) and len({len(row) for row in rows}) == 1


def _summary(name: str, rows: list[list[float]]) -> LoggedPredictions:
    values = np.array(rows)
    columns = values.shape[1]
    classes = values.argmax(axis=1) if columns > 1 else (values[:, 0] > 0.5).astype(int)
    saturated = float(np.isin(values, (0.0, 1.0)).all(axis=1).mean())
    return LoggedPredictions(
        name, len(rows), columns, tuple(np.unique(classes).tolist()), saturated
    )
