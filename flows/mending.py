"""Mending a mask in place: exactly what a verification found is made anew, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flows.pyramid_stage import rebuild_levels
from flows.record_check import recorded_checksums
from flows.recorded_mask import PYRAMID, RecordedMask, RecordedStage, mask_of
from flows.run import INFER
from flows.staging import METADATA_STAGE, stage_mask
from storage.write_grid import checksum

if TYPE_CHECKING:
    from collections.abc import Callable

    from flows.executors import Executor
    from flows.run import Run
    from flows.verification import Inspection
    from storage.level_cells import Index


@dataclass(slots=True)
class Mended:
    """What was done.

    Attributes
    ----------
    shards : list of int
        Shards that were computed again.
    cells : dict of str to list of int
        Cells of coarser levels that were made again, by stage.
    metadata : list of str
        Metadata objects that were restored.
    removed : list of str
        Objects that belonged to nothing.
    """

    shards: list[int] = field(default_factory=list)
    cells: dict[str, list[int]] = field(default_factory=dict)
    metadata: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)


def mend(
    run: Run,
    executor: Executor,
    found: Inspection,
    redo_shards: Callable[[frozenset[int]], None],
    *,
    proven: bool,
) -> Mended:
    """Make anew what an inspection found; its bad records are gone already.

    Parameters
    ----------
    run : Run
        Open, under its lease.
    found : Inspection
        What is wrong.
    redo_shards : callable
        Computes and records the shards it is given.
    proven : bool
        The coarser levels were made from the bytes that are recorded, so a shard that becomes
        again what it was leaves them right. False where a level may have been built while the
        finer one was wrong.
    """
    mask = mask_of(run)
    done = Mended(sorted(found.items(INFER)))
    if found.items(METADATA_STAGE):
        done.metadata = stage_mask(run)
    done.removed = [p.key for p in found.problems if p.kind == "foreign"]
    for key in done.removed:
        mask.folder_of(key).delete(key)
    before = _checksums_before(mask, found) if proven else {}
    if done.shards:
        redo_shards(frozenset(done.shards))
    touched = _touched(mask, done.shards, before)
    done.cells = rebuild_levels(run, executor, found, touched, before=before)
    return done


def _touched(mask: RecordedMask, shards: list[int], before: dict[str, str]) -> set[Index]:
    """Finest cells of redone shards that are not what they were."""
    finest = mask.levels[0]
    after = recorded_checksums(_stage(mask, INFER), set(shards))
    changed = (key for key, stored in after.items() if stored != before.get(key))
    return {index for key in changed if (index := finest.wanted(key)) is not None}


def _checksums_before(mask: RecordedMask, found: Inspection) -> dict[str, str]:
    """What the objects of wrong items were: as recorded, or as stored where no record is left."""
    checksums: dict[str, str] = {}
    for stage in mask.stages():
        items = found.items(stage.name)
        if stage.name == INFER or stage.name.startswith(PYRAMID):
            recorded = recorded_checksums(stage, items)
            checksums |= {
                key: _stored_checksum(mask, key)
                for item in items
                for key in stage.keys(item)
                if key not in recorded
            } | recorded
    return checksums


def _stored_checksum(mask: RecordedMask, key: str) -> str:
    try:
        return checksum(mask.folder_of(key).read(key))
    except FileNotFoundError:
        return ""


def _stage(mask: RecordedMask, name: str) -> RecordedStage:
    return next(stage for stage in mask.stages() if stage.name == name)
