"""The coarser levels of a run: filled once, and made anew where something below them changed."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from flows.record_check import recorded_checksums
from flows.recorded_mask import PYRAMID, mask_of
from flows.small_volumes import scheduler_for
from storage.pyramid import build_level

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from flows.executors import Executor
    from flows.run import Run
    from flows.verification import Inspection
    from storage.level_cells import Index, LevelCells


def build_levels(run: Run, executor: Executor) -> None:
    """Fill the cells that have no record, level by level."""
    for finer, level in pairwise(mask_of(run).levels):
        done = run.manifest.completed(f"{PYRAMID}{level.path}", level.total)
        cells = (index for index in level if not done[level.number(index)])
        for _ in _build(run, executor, finer, level, cells):
            pass


def rebuild_levels(
    run: Run, executor: Executor, found: Inspection, touched: set[Index], *, before: dict[str, str]
) -> dict[str, list[int]]:
    """Make anew the cells that are wrong, and those over finer cells that changed.

    Parameters
    ----------
    found : Inspection
        What is wrong.
    touched : set of tuple of int
        Cells of the finest level whose voxels changed, or may have.
    before : dict of str to str
        Checksum by key of the cells that are wrong, as they were proven to be; a cell that is not
        in it may have been something else when the next level was made.

    Returns
    -------
    dict of str to list of int
        Items by stage.
    """
    rebuilt = {}
    mask = mask_of(run)
    for stage, (finer, level) in zip(mask.stages()[2:], pairwise(mask.levels), strict=True):
        wrong = {level.index(item) for item in found.items(stage.name)}
        above = {cell for index in touched for cell in level.over(finer, index)}
        touched = set()
        if not wrong | above:
            continue
        known = recorded_checksums(stage, {level.number(c) for c in above - wrong}) | before
        made = dict(_build(run, executor, finer, level, sorted(wrong | above)))
        touched = {c for c in wrong | above if made[level.key(c)] != known.get(level.key(c))}
        rebuilt[stage.name] = sorted(level.number(cell) for cell in wrong | above)
    return rebuilt


def _build(
    run: Run, executor: Executor, finer: LevelCells, level: LevelCells, cells: Iterable[Index]
) -> Iterator[tuple[str, str]]:
    """Build and record cells, one task each; key and checksum of every one."""
    records = build_level(
        run.target,
        finer.path,
        level.path,
        reducer="mode",
        scheduler=scheduler_for(executor, run.plan.shape),
        cells=cells,
    )
    with run.writer(f"{PYRAMID}{level.path}", level.total) as writer:
        for record in records:
            stored = {k: record[k] for k in ("key", "size", "checksum")}
            item = level.number(record["cell"])
            writer.append(item, {"attempt": run.attempt, "objects": [stored]})
            yield stored["key"], stored["checksum"]
