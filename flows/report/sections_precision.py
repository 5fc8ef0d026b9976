"""Section on the arithmetic of a run that was computed in a lower precision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flows.report.document import Section, Text
from flows.report.numbers import percent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flows.report.png import Color


def precision(result: Mapping[str, Any], colors: Mapping[int, Color]) -> Section | None:
    """Return the precision of a run and how far its classes are those of float32."""
    if not result.get("precision"):
        return None
    remark = Text("Compared is the first tile of a few shards, spread over the plan.", soft=True)
    return Section("Precision", (Text(f"{precision_text(result)}."), remark))


def precision_text(result: Mapping[str, Any]) -> str:
    """Put the precision of a result into words; empty where it is float32."""
    found = result.get("precision")
    if not found:
        return ""
    policy = f"Computed in {found['policy']}"
    if found["agreement"] is None:
        return f"{policy}; no voxel was compared with float32"
    share, voxels = percent(found["agreement"]), found["voxels"]
    return f"{policy}: {share} of {voxels:,} compared voxels have the class of float32"
