"""All faults and clean pipelines, and the table of what the audit said of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.faults import (
    clean,
    data,
    evaluation,
    inference,
    labels,
    metric,
    model,
    split,
    training,
)
from benchmarks.faults.fault import ROOMS, Detection

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CLEAN = clean.CLEAN
FAULTS = tuple(
    fault
    for room in (labels, data, split, metric, training, model, evaluation, inference)
    for fault in room.FAULTS
)


def markdown(detections: Sequence[Detection], disturbed: Mapping[str, Sequence[str]]) -> str:
    """The detection matrix, the clean pipelines with what was found on them, and the totals."""
    right = sum(detection.detected for detection in detections)
    quiet = sum(not found for found in disturbed.values())
    parts = [
        f"{right} of {len(detections)} planted faults are detected with the right code, first of "
        f"their severity; {quiet} of {len(disturbed)} clean pipelines yield no error and no "
        "warning but those written down.",
    ]
    for room in ROOMS:
        rows = [detection for detection in detections if detection.fault.room == room]
        if rows:
            parts.append(_room(room, rows))
    if disturbed:
        parts.append(_clean(disturbed))
    return "\n\n".join(parts) + "\n"


def _room(room: str, rows: Sequence[Detection]) -> str:
    head = f"| {room} | expected | severity | detected |\n|---|---|---|---|"
    return "\n".join([head, *map(_row, rows)])


def _row(detection: Detection) -> str:
    fault = detection.fault
    place = "no" if detection.place is None else f"as number {detection.place}"
    said = "yes" if detection.detected else f"{place}: {detection.statement}"
    return f"| {fault.name} | {fault.code} | {fault.severity} | {said.replace('|', '/')} |"


def _clean(disturbed: Mapping[str, Sequence[str]]) -> str:
    rows = ["| clean pipeline | warnings written down | anything else |", "|---|---|---|"]
    for one in CLEAN:
        if one.name in disturbed:
            allowed = "; ".join(f"{code}: {why}" for code, why in one.allowed.items()) or "none"
            other = "; ".join(disturbed[one.name]).replace("|", "/") or "nothing"
            rows.append(f"| {one.name} | {allowed} | {other} |")
    return "\n".join(rows)
