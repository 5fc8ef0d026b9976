"""Records that do not count: torn, foreign or stale ones are found and taken away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from storage.records import RECORDS, RecordFault, stage_folder
from storage.verify import Problem

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from flows.recorded_mask import RecordedMask, RecordedStage
    from storage.records import RecordLine

# Counts of a mask against other truth; they name no objects.
EVALUATE = "evaluate-"


def record_faults(mask: RecordedMask) -> Iterator[RecordFault]:
    """Records of a run that do not count, or are none of its plan's."""
    stages = {stage.name: stage for stage in mask.stages()}
    for name in sorted({key.split("/")[1] for key, _ in mask.run.list(RECORDS)}):
        if name in stages:
            yield from _faults(stages[name])
        elif name.startswith(EVALUATE):
            yield from mask.manifest.faults(name, len(mask.plan))
        else:
            keys = [key for key, _ in mask.run.list(stage_folder(name))] or [stage_folder(name)]
            yield from (RecordFault("foreign", key) for key in keys)


def _faults(stage: RecordedStage) -> Iterator[RecordFault]:
    for entry in stage.mask.manifest.entries(stage.name, stage.planned):
        if isinstance(entry, RecordFault):
            yield entry
        elif reason := stage.misfit(entry.record):
            yield RecordFault("stale", entry.key, entry.line, entry.record["item"], reason)


def fitting(stage: RecordedStage) -> Iterator[RecordLine]:
    """The records of a stage that count once those that are none of the plan's are gone."""
    manifest = stage.mask.manifest
    return manifest.lines(stage.name, stage.planned, lambda record: not stage.misfit(record))


def recorded_checksums(stage: RecordedStage, items: Collection[int]) -> dict[str, str]:
    """Checksum by key of the objects of some items, as their records say."""
    if not items:
        return {}
    return {
        stored["key"]: stored["checksum"]
        for line in fitting(stage)
        if line.record["item"] in items
        for stored in line.record["objects"]
    }


def record_problems(mask: RecordedMask) -> Iterator[Problem]:
    """The same faults as problems."""
    for fault in record_faults(mask):
        place = f"line {fault.line}" if fault.line else "the whole object"
        detail = f"{place}{'; ' * bool(fault.reason)}{fault.reason}"
        stage = fault.key.split("/")[1]
        yield Problem(f"{fault.kind} record", fault.key, fault.item, detail, stage)


def remove_bad_records(mask: RecordedMask) -> list[str]:
    """Take away every record that does not count; good records of the same object stay.

    Returns
    -------
    list of str
        Keys of the objects that held them.
    """
    lines: dict[str, set[int]] = {}
    for fault in record_faults(mask):
        lines.setdefault(fault.key, set()).add(fault.line)
    for key, numbers in lines.items():
        mask.manifest.remove(key, frozenset(numbers))
    return list(lines)
