"""One against two single-threaded workers on Ray, by the rate at which shards are finished.

Starting up and the drain at the end are left out: the clock runs from the moment at which every
worker has finished its first shards to the last but few.
"""

from __future__ import annotations

import os
import statistics
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.bench import tell
from benchmarks.memory.plans import Plan
from benchmarks.memory.scene import make_bundle, make_image
from flows import stages
from flows.executors import SerialExecutor
from flows.jobs import SegmentJob
from flows.prepare import prepare
from flows.ray_executor import RayExecutor
from flows.ray_pool import IN_FLIGHT
from flows.run import open_run

if TYPE_CHECKING:
    from pathlib import Path

    from flows.work import SegmentWork

CROWD = (1, 2)
WIDTH, DEPTH = 16, 3
# Of a shard, at most.
SECTIONS = 16


def measure_workers(folder: Path, shards: int, rounds: int, extent: int) -> dict[str, Any]:
    """Voxels a second of one and of two workers, interleaved; medians and ratios.

    Parameters
    ----------
    folder : Path
        Empty.
    shards : int
        That one worker does in a round; strong scaling divides them among two, weak scaling
        gives two workers twice as many.
    rounds : int
        Of each.
    extent : int
        Voxels of a section along y and x.
    """
    work = _work(folder, extent, 2 * shards)
    rates: dict[str, list[float]] = {"one": [], "strong": [], "weak": []}
    for number in range(rounds):
        for name, crowd, wanted in (
            ("one", 1, shards),
            ("strong", 2, shards),
            ("weak", 2, 2 * shards),
        ):
            rates[name].append(_rate(work, crowd, range(wanted)))
            tell(f"round {number + 1}: {name} {rates[name][-1]:.4g} voxels/s")
    found = {f"{name}_voxels_per_s": statistics.median(rates[name]) for name in rates}
    for name in ("strong", "weak"):
        ratios = [many / one for many, one in zip(rates[name], rates["one"], strict=True)]
        found[f"{name}_ratio"] = statistics.median(ratios)
    return found | {
        "shards": shards,
        "shard_voxels": work.plan.write_region(0).voxels,
        "amplification": work.plan.amplification,
        "tile": list(work.plan.spec.tile),
        "rounds": rounds,
        "cores": os.cpu_count(),
    }


def _work(folder: Path, extent: int, shards: int) -> SegmentWork:
    """Work on a stack of sections with a number of shards at least; one thread for the network."""
    shape = (shards * SECTIONS, extent, extent)
    plan = Plan("scaling", shape, "uint8", "yx", width=WIDTH, depth=DEPTH)
    image = make_image(folder, plan, plan.shape, void=1, planar=True)
    job = SegmentJob(image=image, model=make_bundle(folder, plan), name="mask", executor="serial")
    run = open_run(job, prepare(job), SerialExecutor(), "20260101T000000-00000000")
    if len(run.plan) < shards:
        raise ValueError(
            f"{shape} voxels make {len(run.plan)} shards; expected {shards} at least: take another "
            "extent"
        )
    return stages.segment_work(run, 1)


def _rate(work: SegmentWork, crowd: int, items: range) -> float:
    """Voxels a second of a number of workers in their steady state."""
    executor = RayExecutor(workers=crowd, cpus_per_worker=1.0)
    ends: list[tuple[float, int]] = []
    try:
        for outcome in executor.map(work, items, threading.Event()):
            if outcome.error is not None:
                raise RuntimeError(f"shard {outcome.item} failed: {outcome.error}")
            ends.append((time.perf_counter(), work.plan.write_region(outcome.item).voxels))
    finally:
        executor.close()
    return steady_rate(ends, crowd * IN_FLIGHT)


def steady_rate(ends: list[tuple[float, int]], edge: int) -> float:
    """Voxels a second between the first and the last few ends.

    Parameters
    ----------
    ends : list of (float, int)
        When a shard was finished, in seconds, and its voxels, in order.
    edge : int
        Shards at either end that do not count.

    Raises
    ------
    ValueError
        If too few shards are left.
    """
    inner = ends[edge - 1 : len(ends) - edge]
    if len(inner) < 2:
        raise ValueError(f"{len(ends)} shards are too few for a rate; give {2 * edge + 2}")
    voxels = int(np.sum([voxels for _, voxels in inner[1:]]))
    return voxels / (inner[-1][0] - inner[0][0])
