"""Logs in tables: Keras's CSVLogger, ours, and exports of Lightning and Weights & Biases."""

from __future__ import annotations

import csv
import re
from typing import TYPE_CHECKING

from segmentation.audit.log import TrainingLog
from segmentation.audit.log_settings import natural_direction

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

# A line of code has commas as well, and may be followed by one with as many.
_CODE = re.compile(r"[()=]")
_SKIPPED = re.compile(r"(__min|__max|_step)$", re.IGNORECASE)
_EMPTY = ("", "none", "null")
_NOT_NUMBERS = ("nan", "inf", "-inf")


def parse_csv(text: str) -> TrainingLog:
    """Read a table with one row an epoch, or several rows an epoch that complete each other.

    Parameters
    ----------
    text : str
        Separated by commas, semicolons or tabs, with a row of names. Names such as ``train/loss``
        and ``validation_dice_epoch`` are read as ``loss`` and ``val_dice``; columns of single
        steps and of extremes are left out.

    Returns
    -------
    TrainingLog
        Empty cells are None; ``nan`` and ``inf`` are kept.

    Raises
    ------
    ValueError
        If there is no such table.
    """
    rows = _rows(text)
    heads = [_clean(head) for head in rows[0]] if rows else []
    curves = [head for head in heads if head and natural_direction(head)]
    if len(rows) < 2 or not curves:
        raise ValueError(
            "the text is no table of a training: expected a row of names with at least one loss "
            "or score, such as epoch,loss,val_loss, and a row of numbers for every epoch"
        )
    numbers = [_numbers(heads, row, line) for line, row in enumerate(rows[1:], start=2)]
    epochs = _by_epoch(numbers)
    names = [head for head in heads if head]
    columns = {name: tuple(epoch.get(name) for epoch in epochs) for name in names}
    kept = {name: column for name, column in columns.items() if any(v is not None for v in column)}
    return TrainingLog(kept, len(epochs))


def is_table(text: str) -> bool:
    """Whether the first line looks like names of columns, and the second like their values."""
    rows = _rows(text)
    if len(rows) < 2 or not any(natural_direction(head) for head in rows[0]):
        return False
    words = [head.rpartition(" - ")[2].split() for head in rows[0]]
    are_names = all(len(word) == 1 and not _CODE.search(word[0]) for word in words)
    return are_names and len(rows[0]) > 1 and len(rows[1]) == len(rows[0])


def _rows(text: str) -> list[list[str]]:
    lines = [line for line in text.lstrip("\ufeff").splitlines() if line.strip()]
    if not lines:
        return []
    separator = max(",;\t", key=lines[0].count)
    try:
        return list(csv.reader(lines, delimiter=separator))
    except csv.Error as error:
        raise ValueError(f"the table cannot be read: {error}") from error


def _clean(head: str) -> str:
    """Name of a column as Keras would give it; empty for one that is left out."""
    name = head.strip().rpartition(" - ")[2].strip()
    if _SKIPPED.search(name):
        return ""
    name = re.sub(r"[/. ]+", "_", name).removesuffix("_epoch").removeprefix("epoch_")
    name = re.sub(r"^(valid|validation)_", "val_", name)
    plain = name.removeprefix("train_")
    same_weights = plain.startswith(("running_", "eval_"))
    return name if same_weights else plain


def _numbers(heads: Sequence[str], row: Sequence[str], line: int) -> dict[str, float]:
    if len(row) > len(heads):
        raise ValueError(
            f"line {line} of the table has {len(row)} cells; expected at most {len(heads)}, one "
            "for each name"
        )
    cells = zip(heads, row, strict=False)
    return {
        head: _number(cell, head, line)
        for head, cell in cells
        if head and cell.strip().lower() not in _EMPTY
    }


def _number(cell: str, head: str, line: int) -> float:
    try:
        return float(cell)
    except ValueError:
        if natural_direction(head) is None:
            return float("nan")
        raise ValueError(
            f"line {line} of the table has {cell!r} for {head}; expected a number, nothing, or "
            f"one of {', '.join(_NOT_NUMBERS)}"
        ) from None


def _by_epoch(rows: Iterable[Mapping[str, float]]) -> list[dict[str, float]]:
    """Join rows of one epoch; without a column of epochs every row is one."""
    epochs: list[dict[str, float]] = []
    for row in rows:
        known = epochs[-1].get("epoch") if epochs else None
        if known is not None and row.get("epoch") == known:
            epochs[-1].update(row)
        else:
            epochs.append(dict(row))
    return epochs
