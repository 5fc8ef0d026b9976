"""Rows of a table of samples as they stand in the file, and the classes that they name."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING

from flows.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

IMAGE, CLASS, LABEL, GROUP, SPLIT = COLUMNS = ("image", "class", "label", "group", "split")
MOST_NAMED = 5

Row = dict[str, str]


def read_rows(path: str) -> list[Row]:
    """Cells of a CSV file by column, without spaces around them; blank lines are left out.

    Raises
    ------
    RequestError
        If it cannot be read, has no column ``image`` or no rows, or a row has other cells.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"the table {path} cannot be read: {error}") from error
    try:
        cells = list(csv.reader(io.StringIO(text)))
    except csv.Error as error:
        raise RequestError(f"the table {path} is not CSV: {error}") from error
    lines = [line for line in cells if any(cell.strip() for cell in line)]
    head = [cell.strip() for cell in lines[0]] if lines else []
    if IMAGE not in head or len(set(head)) < len(head) or len(lines) < 2:
        raise RequestError(
            f"{path} has the columns {head} and {max(len(lines) - 1, 0)} rows; expected a CSV "
            f"table with the column {IMAGE}, and perhaps {', '.join(COLUMNS[1:])}"
        )
    uneven = [str(number) for number, line in enumerate(lines, 1) if len(line) != len(head)]
    if uneven:
        raise RequestError(
            f"{path} has more or fewer cells than its head in the lines {some_names(uneven)}; "
            "a name with a comma in it has to stand in quotes"
        )
    return [dict(zip(head, (cell.strip() for cell in line), strict=True)) for line in lines[1:]]


def has_cells(rows: Sequence[Mapping[str, str]], column: str) -> bool:
    """Whether a column is there and not empty."""
    return any(row.get(column) for row in rows)


def named_classes(path: str, rows: Sequence[Mapping[str, str]]) -> tuple[str, ...]:
    """Classes of a table by label; in the order of the alphabet where it has no labels.

    Raises
    ------
    RequestError
        If there are fewer than two, or labels and classes contradict each other.
    """
    names = sorted({row[CLASS] for row in rows if row.get(CLASS)})
    if has_cells(rows, LABEL):
        pairs = {(label_of(path, row), row[CLASS]) for row in rows if row.get(CLASS)}
        labels = sorted((label, name) for label, name in pairs if label is not None)
        if [label for label, _ in labels] != list(range(len(names))):
            found = ", ".join(f"{label} {name}" for label, name in labels)
            raise RequestError(
                f"{path} has the labels and classes {found}; expected one name for each label, "
                "counted from 0"
            )
        names = [name for _, name in labels]
    if len(names) < 2:
        raise RequestError(f"{path} has the classes {names}; expected two or more")
    return tuple(names)


def label_of(path: str, row: Mapping[str, str]) -> int | None:
    """The label that a row states as a number.

    Raises
    ------
    RequestError
        If it is no number.
    """
    text = row.get(LABEL)
    if not text:
        return None
    if not text.isdecimal():
        raise RequestError(
            f"{path} has the label {text!r} for {row[IMAGE]}; expected a whole number from 0"
        )
    return int(text)


def class_of(path: str, row: Row, classes: Sequence[str] | None) -> int | None:
    """Label of a row, from its class, its label, or both where they agree.

    Raises
    ------
    RequestError
        If the class or label is unknown, or they contradict each other.
    """
    label, named = label_of(path, row), row.get(CLASS)
    if named and classes is not None:
        if named not in classes:
            raise RequestError(
                f"{path} has the class {named!r} for {row[IMAGE]}; expected one of "
                f"{', '.join(classes)}"
            )
        value = list(classes).index(named)
        if label not in (None, value):
            raise RequestError(
                f"{path} gives {row[IMAGE]} the label {label} and the class {named!r}, which is "
                f"{value}; correct one of them"
            )
        return value
    if label is not None and classes is not None and label >= len(classes):
        raise RequestError(
            f"{path} has the label {label} for {row[IMAGE]}; expected 0 to {len(classes) - 1} "
            f"({', '.join(classes)})"
        )
    return label


def some_names(names: Sequence[str]) -> str:
    """Some names in a message, and how many more there are."""
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
