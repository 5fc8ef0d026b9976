"""The curves of a training as lines: which there are, what they are called, where they run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flows.report.binning import bin_width, thin
from flows.report.classes import part_of
from flows.report.lines import Series
from flows.report.numbers import quantity

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from flows.report.lines import Point
    from flows.report.png import Color

    Reader = Callable[[Mapping[str, Any]], float | None]

Epoch = dict[str, Any]

#: Key of a curve, its name, a short one, its dash and mark, its colour; the first is solid.
CURVES: tuple[tuple[str, str, str, int, Color], ...] = (
    ("val", "validation", "validation", 0, (213, 94, 0)),
    ("train_eval", "training", "training", 1, (0, 114, 178)),
    ("train_running", "training, running", "running", 2, (86, 180, 233)),
    ("val_batchstats", "validation, batch stats", "val., batch", 3, (230, 159, 0)),
)
MOST_POINTS = 120  # along a line


def curves_of(epochs: Sequence[Epoch], read: Reader, *, short: bool = False) -> tuple[Series, ...]:
    """Return the curves that have a defined point; `read` takes a score from a row."""
    return tuple(
        Series(
            brief if short else name,
            _points(epochs, {e["epoch"]: score_at(e, key, read) for e in epochs}),
            number,
            color,
        )
        for key, name, brief, number, color in CURVES
        if any(score_at(epoch, key, read) is not None for epoch in epochs)
    )


def line_of(epochs: Sequence[Epoch], key: str, name: str) -> Series:
    """Return what every epoch holds under a key as one line."""
    return Series(name, _points(epochs, {epoch["epoch"]: epoch.get(key) for epoch in epochs}), 0)


def _points(epochs: Sequence[Epoch], values: Mapping[int, float | None]) -> tuple[Point, ...]:
    return thin(values, epochs_per_point(epochs))


def epochs_per_point(epochs: Sequence[Epoch]) -> int:
    """Return how many neighbouring epochs share a point of a line."""
    return bin_width([epoch["epoch"] for epoch in epochs], MOST_POINTS)


def drawn_curves(epochs: Sequence[Epoch]) -> list[tuple[str, str]]:
    """Return key and name of the curves that were logged."""
    return [
        (key, name) for key, name, *_ in CURVES if any(epoch["curves"].get(key) for epoch in epochs)
    ]


def score_at(epoch: Epoch, key: str, read: Reader) -> float | None:
    """Return a score of a curve after an epoch."""
    row = epoch["curves"].get(key)
    return read(row) if row else None


def all_scores(epochs: Sequence[Epoch], read: Reader) -> list[float]:
    """Return every defined score of every curve."""
    found = (score_at(epoch, key, read) for epoch in epochs for key, *_ in CURVES)
    return [value for value in found if value is not None]


def macro_of(row: Mapping[str, Any]) -> float | None:
    """Return the macro-foreground Dice of a row."""
    value: float | None = row.get("macro_foreground_dice")
    return value


def cross_entropy_of(row: Mapping[str, Any]) -> float | None:
    """Return the cross-entropy of a row."""
    value: float | None = row.get("cross_entropy")
    return value


def class_dice_of(row: Mapping[str, Any], value: int) -> float | None:
    """Return the Dice of a class in a row."""
    dice: float | None = part_of(row, "dice", value)
    return dice


def ranges(series: Sequence[Series]) -> str:
    """Say where every line begins and ends."""
    return "; ".join(f"{line.name} {_ends(line)}" for line in series) or "undefined"


def _ends(line: Series) -> str:
    known = [point.y for point in line.points if point.y is not None]
    return f"from {quantity(known[0])} to {quantity(known[-1])}" if known else "undefined"
