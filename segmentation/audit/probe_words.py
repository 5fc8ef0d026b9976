"""What a metric answered, as tables and in words."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

from segmentation.audit.finding import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segmentation.audit.finding import Cell
    from segmentation.audit.probe_reading import ProbeResult, Reading


def table(name: str, reading: Reading, probes: Sequence[str] | None = None) -> Table:
    """What a metric gave, beside what scores of the same predictions are.

    Parameters
    ----------
    name : str
        Of the metric.
    reading : Reading
        The answers.
    probes : sequence of str, optional
        Only these.
    """
    rows = [_row(r) for r in reading.results if probes is None or r.probe.name in probes]
    return Table(
        f"{name}, given {reading.layout.words}",
        ("prediction", name, "accuracy", "Dice of the classes", "IoU of the classes"),
        tuple(rows),
    )


def _row(result: ProbeResult) -> tuple[Cell, ...]:
    if result.value is None:
        value: Cell = f"raises {result.error}"
    else:
        value = float(f"{result.value:.6g}") if isfinite(result.value) else str(result.value)
    scores = (result.probe.expected.get(key) for key in ("accuracy", "dice", "iou"))
    return (result.probe.name, value, *(None if s is None else round(s, 6) for s in scores))


def described(
    name: str, every: Sequence[Reading], meant: Sequence[Reading], tolerance: float
) -> str:
    """What a metric is, in a few sentences.

    Parameters
    ----------
    name : str
        Of the metric.
    every, meant : sequence of Reading
        In all layouts, and in those it was meant for.
    tolerance : float
        Difference from another score up to which it is that score.
    """
    if not meant:
        return f"{name} does not score a right prediction best in any layout."
    kind = "a score: it rises with quality" if meant[0].rises else "a loss: it falls with quality"
    taken = " ".join(_taken(one, tolerance) for one in meant)
    silent = [one.layout.words for one in every if one.taken and one not in meant]
    wrong = f" It raises nothing, but is wrong, given {'; or '.join(silent)}." if silent else ""
    return f"{name} is {kind}, {meant[0].best:.4g} at best. {taken}{wrong}"


def _taken(one: Reading, tolerance: float) -> str:
    like = one.likeness(tolerance)
    agrees = f"; on whole masks it is {like}" if like else ""
    return f"It takes {one.layout.words}{agrees}."
