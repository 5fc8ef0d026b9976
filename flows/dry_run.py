"""A plan without a run: what a segmentation would cost. Nothing is written."""

from __future__ import annotations

import threading
import time
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from flows.executors import SerialExecutor
from flows.pool import threads_per_worker, worker_count
from flows.prepare import prepare
from flows.run import intensity_of
from flows.work import SegmentWork
from segmentation.normalize import IntensityTransform
from storage.write_grid import create_array

if TYPE_CHECKING:
    from flows.jobs import PlanJob
    from flows.prepare import Prepared

MEASURED_SHARDS = 3


def plan_volume(job: PlanJob) -> dict[str, Any]:
    """Shards, tiles, memory and bytes of a job, and its time from a few measured shards."""
    prepared = prepare(job)
    plan = prepared.plan
    itemsize = np.dtype(prepared.image.volumes[0].dtype).itemsize
    channels = len(job.channels or ()) or _channels(prepared)
    workers = worker_count(job)
    seconds = _measure(job, prepared)
    return {
        "image": prepared.image.url,
        "key": prepared.key,
        "exact": plan.spec.exact,
        "shards": len(plan),
        "shard": list(plan.shard_shape),
        "tile": list(plan.spec.tile),
        "halo": list(plan.spec.halo),
        "stride": list(plan.spec.stride),
        "batch": plan.batch,
        "wanted_voxels": plan.region.voxels,
        "computed_voxels": plan.computed_voxels,
        "amplification": round(plan.amplification, 4),
        "worker_bytes": plan.projected_bytes,
        "read_bytes": plan.read_voxels * itemsize * channels,
        "written_bytes": plan.region.voxels * np.dtype(prepared.dtype).itemsize,
        "skippable_background": _background_share(prepared),
        "workers": workers,
        "seconds_per_shard": round(seconds, 4),
        "estimated_seconds": round(seconds * len(plan) / workers, 1),
    }


def _channels(prepared: Prepared) -> int:
    base = prepared.image.volumes[0]
    return base.shape[base.axes.index("c")] if "c" in base.axes else 1


def _background_share(prepared: Prepared) -> float:
    """Share of voxels of the coarsest level that are 0: what skipping could save at most."""
    coarsest = prepared.image.volumes[-1]
    zeros = total = 0
    for index in range(coarsest.shape[0]):
        block = coarsest[(slice(index, index + 1), *(slice(None),) * (len(coarsest.shape) - 1))]
        zeros += block.size - int(np.count_nonzero(block))
        total += block.size
    return round(zeros / total, 4)


def _measure(job: PlanJob, prepared: Prepared) -> float:
    """Mean seconds of a few shards spread over the plan, computed and written to a scratch folder.

    The first one warms up the network and is not counted.
    """
    plan = prepared.plan
    chosen = sorted({len(plan) * i // MEASURED_SHARDS for i in range(MEASURED_SHARDS)})
    executor = SerialExecutor()
    intensity = intensity_of(prepared, executor)
    with TemporaryDirectory(prefix="maskmill-plan-") as folder:
        layout = prepared.layout
        create_array(
            folder,
            "0",
            shape=layout.shapes[0],
            dtype=prepared.dtype,
            chunks=layout.chunks[0],
            shards=layout.cells[0],
            axes=layout.axes,
        )
        work = SegmentWork(
            image=prepared.image.volumes[0],
            target=folder,
            path="0",
            dtype=prepared.dtype,
            model=prepared.model.folder,
            plan=plan,
            transform=IntensityTransform.from_dict(intensity) if intensity else None,
            channels=job.channels,
            threads=threads_per_worker(job),
            precision=prepared.precision,
            fold=prepared.folds,
        )
        started = 0.0
        for number, outcome in enumerate(
            executor.map(work, [chosen[0], *chosen], threading.Event())
        ):
            if outcome.error is not None:
                raise RuntimeError(f"shard {outcome.item} of the plan fails: {outcome.error}")
            if number == 0:
                started = time.perf_counter()
    return (time.perf_counter() - started) / len(chosen)
