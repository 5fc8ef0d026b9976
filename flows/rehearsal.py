"""What a run does beside its shards, rehearsed in a scratch folder: each stage with its seconds.

The stages are those of a run. Its coarser levels are built over copies of the cells that the
calibration has stored, as many at a time as there are places for tasks, so that a task meets the
company it has in a run; what is found is told a voxel or a byte.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any, TypeVar

from flows.calibration import spread
from flows.estimate import cell_count
from flows.publishing import leave_proof, publish_run
from flows.recorded_mask import is_kept, mask_of
from flows.run_report import write_report
from flows.scoring import collect_run
from storage.blobs import Blobs
from storage.label_values import label_values
from storage.pyramid import build_level, level_factors
from storage.verify import OBJECTS_PER_TASK, check_objects

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flows.executors import Executor
    from flows.prepare import Prepared
    from flows.run import Run
    from segmentation.shard import ShardResult
    from storage.level_cells import Index, LevelCells

T = TypeVar("T")

TRUTH_VOXELS = 2**26
COPIED_OBJECTS = 8
RECORD_TRIES = 20


@dataclass(frozen=True, slots=True)
class LevelRates:
    """What a coarser level costs.

    Attributes
    ----------
    beginning : float
        Seconds until tasks run at full speed, once.
    seconds : float
        Of one task at work, for every voxel of the finer level.
    stored : float
        Bytes stored a voxel of the coarser level.
    """

    beginning: float
    seconds: float
    stored: float


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """Seconds of what a run does beside its shards.

    Attributes
    ----------
    lanes : int
        Tasks that run at a time.
    truth : float
        Looking at every value of the truth.
    levels : LevelRates or None
        None where the image has one level only.
    check : float
        Of one task that compares stored objects with their records, for every byte.
    record : float
        Of the driver, for every record it reads.
    aggregate, publish, report : float
        Of these stages, without their records.
    """

    lanes: int
    truth: float
    levels: LevelRates | None
    check: float
    record: float
    aggregate: float
    publish: float
    report: float


def rehearse(run: Run, executor: Executor, lanes: int, results: list[ShardResult]) -> Rehearsal:
    """Go through the stages after the shards.

    Parameters
    ----------
    run : Run
        In a scratch folder; the records of some shards are there.
    executor : Executor
        Of the run.
    lanes : int
        Tasks it runs at a time.
    results : list of ShardResult
        Of those shards.
    """
    check = _check_seconds(run, executor, lanes, results)
    levels = _level_rates(run, executor, lanes, results)
    aggregate, result = timed(lambda: collect_run(run))
    leave_proof(run, 0)
    publish, _ = timed(lambda: publish_run(run, "1970-01-01T00:00:00+00:00"))
    report, _ = timed(lambda: write_report(run, result, {}))
    return Rehearsal(
        lanes=lanes,
        truth=_truth_seconds(run.prepared, executor),
        levels=levels,
        check=check,
        record=_record_seconds(results),
        aggregate=aggregate,
        publish=publish,
        report=report,
    )


def timed(function: Callable[[], T]) -> tuple[float, T]:
    """Seconds of a call, and what it gave."""
    started = time.perf_counter()
    found = function()
    return time.perf_counter() - started, found


def _truth_seconds(prepared: Prepared, executor: Executor) -> float:
    """Reading all values of the truth, from a part of it."""
    if prepared.truth is None:
        return 0.0
    region = prepared.plan.region
    extent = list(region.shape)
    while math.prod(extent) > TRUTH_VOXELS:
        axis = extent.index(max(extent))
        extent[axis] = -(-extent[axis] // 2)
    part = tuple(slice(a, a + n) for a, n in zip(region.start, extent, strict=True))
    volume, scheduler = prepared.truth.volumes[0], executor.dask_scheduler()
    seconds, _ = timed(lambda: label_values(volume, part, scheduler=scheduler))
    return seconds * (region.voxels / math.prod(extent))


def _check_seconds(run: Run, executor: Executor, lanes: int, results: list[ShardResult]) -> float:
    """Seconds a byte of one task that reads stored objects, while all lanes do so."""
    stored = [o for result in results for o in result.objects if not is_kept(o["key"])]
    objects = list(islice(cycle(stored), lanes * OBJECTS_PER_TASK))
    size: int = sum(one["size"] for one in objects)
    scheduler = executor.dask_scheduler()

    def check() -> None:
        for problem in check_objects(run.target, ((0, [o]) for o in objects), scheduler=scheduler):
            raise RuntimeError(f"the scratch folder does not keep what is written: {problem}")

    check()
    seconds, _ = timed(check)
    return seconds * (lanes / size)


def _level_rates(
    run: Run, executor: Executor, lanes: int, results: list[ShardResult]
) -> LevelRates | None:
    """Cells of the first coarser level, one for every lane, built twice."""
    levels = mask_of(run).levels
    if len(levels) < 2:
        return None
    finer, level = levels[:2]
    cells = [_wanted(level, number) for number in spread(cell_count(level), lanes)]
    _lay_copies(run, results, {c for cell in cells for c in _below(finer, level, cell)})
    first, _ = timed(lambda: _build(run, executor, cells))
    seconds, records = timed(lambda: _build(run, executor, cells))
    voxels = sum(_voxels(level, cell) for cell in cells)
    ratio = math.prod(level_factors(finer.grid.shape, level.grid.shape))
    return LevelRates(
        beginning=max(0.0, first - seconds),
        seconds=seconds * len(cells) / (voxels * ratio),
        stored=sum(record["size"] for record in records) / voxels,
    )


def _build(run: Run, executor: Executor, cells: list[Index]) -> list[dict[str, Any]]:
    finer, level = (volume.path for volume in run.prepared.image.volumes[:2])
    scheduler = executor.dask_scheduler()
    return list(
        build_level(run.target, finer, level, reducer="mode", scheduler=scheduler, cells=cells)
    )


def _lay_copies(run: Run, results: list[ShardResult], cells: set[Index]) -> None:
    """Fill cells of the finest level with stored objects: all of a grid's objects are alike."""
    stored = [o["key"] for result in results for o in result.objects if not is_kept(o["key"])]
    target, finest = Blobs(run.target), mask_of(run).levels[0]
    contents = [target.read(stored[place]) for place in spread(len(stored), COPIED_OBJECTS)]
    for cell, data in zip(sorted(cells), cycle(contents), strict=False):
        target.write(finest.key(cell), data)


def _below(finer: LevelCells, level: LevelCells, cell: Index) -> Iterator[Index]:
    """Cells of the finer level that a cell is made from."""
    factors = level_factors(finer.grid.shape, level.grid.shape)
    start, stop = level.grid.bounds(cell)
    return finer.grid.cells(
        [a * f for a, f in zip(start, factors, strict=True)],
        [min(b * f, n) for b, f, n in zip(stop, factors, finer.grid.shape, strict=True)],
    )


def _wanted(level: LevelCells, number: int) -> Index:
    """The wanted cell at a position in C order."""
    place = []
    for first, last in zip(reversed(level.first), reversed(level.last), strict=True):
        number, offset = divmod(number, last - first)
        place.append(first + offset)
    return tuple(reversed(place))


def _voxels(level: LevelCells, cell: Index) -> int:
    return math.prod(b - a for a, b in zip(*level.grid.bounds(cell), strict=True))


def _record_seconds(results: list[ShardResult]) -> float:
    """Parsing one record, the mean of a few."""
    lines = [json.dumps(result.record()) for result in results] * RECORD_TRIES
    seconds, _ = timed(lambda: [json.loads(line) for line in lines])
    return seconds / len(lines)
