"""A plan without a run: what a segmentation would take and cost.

A few shards are computed by the workers the job asks for, and the other stages are rehearsed on
what these shards leave, in a scratch folder that is removed. Nothing else is written.
"""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np

from flows.calibration import measure_shards
from flows.errors import RequestError
from flows.estimate import Measured, cost_of, estimate_stages
from flows.jobs import SegmentJob
from flows.pool import cpus_per_worker, make_executor, threads_per_worker, worker_count
from flows.prepare import measured_now, prepare
from flows.rehearsal import rehearse, timed
from flows.run import INFER, open_run
from flows.scoring import truth_key
from flows.sizing import lent_cpus
from flows.skipping import skip_share
from flows.stages import segment_work
from flows.tile_cost import known_cost
from storage.blobs import Blobs
from storage.stores import join_url, normalize_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flows.calibration import ShardRates
    from flows.executors import Executor
    from flows.jobs import DryRunJob
    from flows.prepare import Prepared
    from flows.run import Run
    from segmentation.shard import ShardResult

# Of a cluster no more are measured: machines do not slow each other down, and are paid for.
MEASURED_WORKERS = 8
ATTEMPT = "19700101T000000-00000000"


def plan_volume(job: DryRunJob) -> dict[str, Any]:
    """Shards, tiles, memory and bytes of a job, and its seconds stage by stage."""
    seconds, prepared = timed(lambda: prepare(job))
    workers = worker_count(job)
    with _scratch(job) as folder:
        prepared, stages, measured = _measure(job, prepared, folder, seconds)
    total = sum(stage["seconds"] for stage in stages.values())
    return _figures(job, prepared) | {
        "workers": workers,
        "workers_measured": measured,
        "seconds_per_shard": stages["infer"]["seconds_per_shard"],
        "estimated_seconds": round(total, 1),
        "stages": stages,
        "cost": cost_of(total, workers, job.price_per_hour),
    }


def _figures(job: DryRunJob, prepared: Prepared) -> dict[str, Any]:
    """What follows from shapes alone, and the share of background."""
    plan = prepared.plan
    itemsize = np.dtype(prepared.image.volumes[0].dtype).itemsize
    channels = len(job.channels or ()) or _channels(prepared)
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
        "skipped": skip_share(prepared),
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


@contextmanager
def _scratch(job: DryRunJob) -> Iterator[str]:
    """A folder of its own for what is measured; nothing of it stays."""
    if job.scratch is None:
        with tempfile.TemporaryDirectory(prefix="maskmill-plan-") as folder:
            yield folder
        return
    place = Blobs(join_url(normalize_url(job.scratch), f"maskmill-plan-{uuid4().hex[:8]}"))
    try:
        yield place.url
    finally:
        place.delete_all()


def _measure(
    job: DryRunJob, prepared: Prepared, folder: str, preparing: float
) -> tuple[Prepared, dict[str, dict[str, float]], int]:
    """The job planned for its device, seconds of every stage, and the workers measured."""
    wanted = worker_count(job)
    # Workers of one machine share its memory and disk, so that all of them are measured.
    workers = min(wanted, MEASURED_WORKERS) if job.address else wanted
    executor = make_executor(job.model_copy(update={"workers": workers}))
    try:
        cluster, _ = timed(executor.dask_scheduler)
        if known_cost(job, prepared.model) is None:
            prepared = measured_now(job, prepared, executor)
        opening, run = timed(lambda: _open(job, prepared, folder, executor))
        shards, results = _calibrate(job, run, executor, workers)
        rest = rehearse(run, executor, _lanes(job, workers), results)
    finally:
        executor.close()
    rest = replace(rest, lanes=_lanes(job, wanted))
    measured = Measured(cluster, preparing + opening, shards, rest)
    skipped = skip_share(prepared)["tiles"]
    return prepared, estimate_stages(measured, run, wanted, skip_share=skipped), shards.workers


def _calibrate(
    job: DryRunJob, run: Run, executor: Executor, workers: int
) -> tuple[ShardRates, list[ShardResult]]:
    """What shards cost, and the results of those that were computed; they are recorded."""
    results: dict[int, ShardResult] = {}
    key = truth_key(run)
    with run.writer(INFER, len(run.plan)) as writer:

        def note(item: int, result: ShardResult) -> None:
            results[item] = result
            writer.append(item, _record(run, item, result, key))

        work = segment_work(run, threads_per_worker(job))
        with _reachable(job):
            rates = measure_shards(work, executor, workers, note)
    return rates, list(results.values())


@contextmanager
def _reachable(job: DryRunJob) -> Iterator[None]:
    """Say what to do where workers on other machines do not find the scratch folder."""
    try:
        yield
    except FileNotFoundError as error:
        if job.address is None or job.scratch is not None:
            raise
        raise RequestError(
            f"workers of {job.address} do not find the scratch folder of this machine ({error}); "
            "give --scratch URL, a place that all of them reach"
        ) from error


def _open(job: DryRunJob, prepared: Prepared, folder: str, executor: Executor) -> Run:
    """The run of the job, but in the scratch folder."""
    container = join_url(folder, "masks.zarr")
    fields = job.model_dump(exclude={"price_per_hour", "scratch"})
    places = {"name": "plan", "out": container, "runs": join_url(folder, "runs")}
    # What is skipped is no measure of the network: it is taken off afterwards.
    elsewhere = replace(prepared, container=container, source=prepared.image.url, skipping=None)
    return open_run(SegmentJob(**(fields | places)), elsewhere, executor, ATTEMPT)


def _record(run: Run, item: int, result: ShardResult, key: str | None) -> dict[str, Any]:
    """What the driver of a run writes down for a shard."""
    region = run.plan.write_region(item)
    place = {"start": region.start, "stop": region.stop}
    known = {"attempt": run.attempt, "attempts": 1, "region": place, "truth": key}
    return known | result.record()


def _lanes(job: DryRunJob, workers: int) -> int:
    """Tasks beside the shards that run at a time: one for every CPU of the workers."""
    if job.executor == "serial":
        return lent_cpus()
    return max(1, round(workers * cpus_per_worker(worker_count(job))))
