"""From what was measured to the seconds of every stage of a run. Pure arithmetic.

::

    infer    rounds of shards per worker × seconds a shard, and what overlaps with nothing
    pyramid  level by level: voxels of the finer level × seconds / tasks at a time
    verify   objects of every level: bytes × seconds / tasks at a time
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flows.recorded_mask import mask_of
from segmentation.load import Load, plan_load
from storage.pyramid import level_factors
from storage.verify import OBJECTS_PER_TASK

if TYPE_CHECKING:
    from flows.calibration import ShardRates
    from flows.recorded_mask import RecordedMask
    from flows.rehearsal import Rehearsal
    from flows.run import Run
    from segmentation.plan import ShardPlan
    from storage.level_cells import LevelCells

SECONDS_PER_HOUR = 3600.0
# Records are read once to sum them up, and three times by a verification.
VERIFY_READS = 3


@dataclass(frozen=True, slots=True)
class Measured:
    """What a dry run has measured.

    Attributes
    ----------
    cluster : float
        Seconds until the executor was there.
    plan : float
        Of preparing the job and opening its run.
    shards : ShardRates
        What shards cost.
    rest : Rehearsal
        What the other stages cost.
    """

    cluster: float
    plan: float
    shards: ShardRates
    rest: Rehearsal


def estimate_stages(
    measured: Measured, run: Run, workers: int, *, skip_share: float = 0.0
) -> dict[str, dict[str, float]]:
    """Seconds of every stage of a run, in their order.

    Parameters
    ----------
    measured : Measured
        By a dry run of the job.
    run : Run
        Its plan and its layout.
    workers : int
        Of the run.
    skip_share : float
        Share of computed voxels that the network will not be shown.
    """
    shards, rest = measured.shards, measured.rest
    load = plan_load(run.plan)
    load = Load(load.read, round(load.computed * (1 - skip_share)), load.written)
    mask, records = mask_of(run), len(run.plan)
    reading = rest.record * records
    return {
        "start": _stage(measured.cluster + shards.opening, cluster=measured.cluster)
        | {"workers": round(shards.opening, 3)},
        "plan": _stage(measured.plan + rest.truth),
        "infer": _infer(shards, run.plan, load, workers),
        "pyramid": _stage(_pyramid(rest, mask)),
        "verify": _stage(_verify(rest, shards, mask) + VERIFY_READS * reading),
        "aggregate": _stage(rest.aggregate + reading),
        "publish": _stage(rest.publish if run.prepared.is_whole else 0.0),
        "report": _stage(rest.report),
    }


def _stage(seconds: float, **parts: float) -> dict[str, float]:
    return {"seconds": round(seconds, 3)} | {name: round(part, 3) for name, part in parts.items()}


def _infer(shards: ShardRates, plan: ShardPlan, load: Load, workers: int) -> dict[str, float]:
    """Workers get whole shards: the last round may leave some of them idle."""
    count = len(plan)
    shard = shards.seconds(load) / count
    read, compute, write = (part / count for part in shards.parts(load))
    return _stage(-(-count // workers) * shard + shards.fill) | {
        "seconds_per_shard": round(shard, 4),
        "read_per_shard": round(read, 4),
        "compute_per_shard": round(compute, 4),
        "write_per_shard": round(write, 4),
    }


def _pyramid(rest: Rehearsal, mask: RecordedMask) -> float:
    """Levels follow each other; a level of few cells leaves lanes idle."""
    if rest.levels is None:
        return 0.0
    total = rest.levels.beginning
    for finer, level in zip(mask.levels, mask.levels[1:], strict=False):
        factors = level_factors(finer.grid.shape, level.grid.shape)
        voxels = level_voxels(level) * math.prod(factors)
        total += rest.levels.seconds * voxels / min(rest.lanes, cell_count(level))
    return total


def _verify(rest: Rehearsal, shards: ShardRates, mask: RecordedMask) -> float:
    """Every stored object is read once; a task reads a few of them."""
    finest = mask.plan.region.voxels
    cells = cell_count(mask.levels[0]) + (cell_count(mask.kept) if mask.kept else 0)
    total = _read_seconds(rest, shards.stored * finest, cells)
    for level in mask.levels[1:]:
        stored = rest.levels.stored if rest.levels else 0.0
        total += _read_seconds(rest, stored * level_voxels(level), cell_count(level))
    return total


def _read_seconds(rest: Rehearsal, size: float, objects: int) -> float:
    return rest.check * size / min(rest.lanes, -(-objects // OBJECTS_PER_TASK))


def cell_count(level: LevelCells) -> int:
    """Number of cells of a level that a run fills."""
    return math.prod(b - a for a, b in zip(level.first, level.last, strict=True))


def level_voxels(level: LevelCells) -> int:
    """Voxels of those cells."""
    return math.prod(
        min(b * cell, size) - a * cell
        for a, b, cell, size in zip(
            level.first, level.last, level.grid.cell, level.grid.shape, strict=True
        )
    )


def cost_of(seconds: float, workers: int, price_per_hour: float | None) -> dict[str, Any] | None:
    """What a run costs if a worker costs so much an hour; None without a price.

    Workers are paid from the start of the run to its end, also while they wait.
    """
    if price_per_hour is None:
        return None
    hours = seconds * workers / SECONDS_PER_HOUR
    return {
        "price_per_hour": price_per_hour,
        "worker_hours": round(hours, 4),
        "total": round(hours * price_per_hour, 4),
    }
