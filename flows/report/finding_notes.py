"""Findings as they stand in a report: what was found, what to do, and what shows it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from flows.report.charts import score_span, ticks
from flows.report.curves import CurvePlot, curve_plot
from flows.report.document import Cell, Charts, Gallery, Note, Table, chart
from flows.report.lines import Point, Series
from flows.report.numbers import quantity
from flows.report.png import Picture, to_webp
from segmentation.metrics.codec import decode_array

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flows.report.document import Block

WEIGHTS = {"error": "Error", "warning": "Warning", "info": "Note"}
LEAST_SIDE = 192  # pixels: smaller pictures are drawn larger


def finding_note(entry: Mapping[str, Any]) -> Note:
    """Return a finding as a block.

    Parameters
    ----------
    entry : mapping
        As `segmentation.audit.finding.Finding.to_dict` gives it; only code, severity and
        statement are needed.
    """
    severity = str(entry["severity"])
    return Note(
        WEIGHTS.get(severity.lower(), severity.capitalize()),
        entry["code"],
        entry["statement"],
        entry.get("advice") or "",
        entry.get("rule") or "",
        entry.get("proves_not") or "",
        tuple(evidence_block(one) for one in entry.get("evidence") or ()),
    )


def evidence_block(entry: Mapping[str, Any]) -> Block:
    """Return a table, curves or a picture in plain form as a block."""
    if entry["kind"] == "table":
        return _table(entry)
    return _curves(entry) if entry["kind"] == "curves" else _picture(entry)


def _table(entry: Mapping[str, Any]) -> Table:
    rows = tuple(tuple(_cell(value) for value in row) for row in entry["rows"])
    return Table(tuple(entry["columns"]), rows, entry["title"])


def _cell(value: Any) -> Cell:
    if value is None:
        return Cell("–")
    if isinstance(value, bool):
        return Cell("yes" if value else "no", words=True)
    if isinstance(value, int):
        return Cell(f"{value:,}")
    return Cell(quantity(value)) if isinstance(value, float) else Cell(str(value), words=True)


def _curves(entry: Mapping[str, Any]) -> Charts:
    series = tuple(
        Series(name, tuple(Point(x, y) for x, y in points), number)
        for number, (name, points) in enumerate(entry["lines"])
    )
    values = [p.y for line in series for p in line.points if p.y is not None]
    places = [p.x for line in series for p in line.points]
    plot = CurvePlot(
        series,
        entry["y_label"],
        _span(values),
        across=entry["x_label"],
        whole=all(float(place).is_integer() for place in places),
    )
    title = entry["title"]
    return Charts((chart(lambda width: curve_plot(plot, title, width), title),), wide=True)


def _span(values: Sequence[float]) -> tuple[float, float]:
    """Return round numbers between which all values lie; of scores the usual part of 0 to 1."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    if low >= 0 and high <= 1 and high > 0.05:
        return score_span(values)
    low, high = (low, high) if low < high else (low - 0.5, high + 0.5)
    inside = ticks(low, high, 5)
    step = inside[1] - inside[0] if len(inside) > 1 else high - low
    return math.floor(low / step) * step, math.ceil(high / step) * step


def _picture(entry: Mapping[str, Any]) -> Gallery:
    pixels = decode_array(entry["pixels"])
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., np.newaxis], 3, axis=-1)
    times = max(1, -(-LEAST_SIDE // max(pixels.shape[:2])))
    larger = pixels.repeat(times, axis=0).repeat(times, axis=1)
    return Gallery((Picture(entry["title"], (("", to_webp(larger, lossless=True)),)),))
