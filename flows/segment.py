"""The flow that segments a volume: one Prefect task for each stage, never for a shard.

By hand::

    maskmill segment stack.zarr --model bundle --name cells --truth truth
    python -c "from flows.segment import segment_volume; …"   # the same job as a flow

It works with no Prefect server running (Prefect then starts its own for the run) and against
one. Nothing is published unless every shard has a record whose checksum matches what is stored.
"""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from logging import getLogger
from typing import TYPE_CHECKING, Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows import publishing, stages
from flows.artifacts import artifact_progress, leave_artifacts, leave_picture
from flows.background import in_background
from flows.deployment_hooks import say_how_to_resume, stopping_in_time
from flows.early import startup_seconds, take_executor
from flows.executors import WorkerStartError, stop_on_signals
from flows.jobs import SegmentJob
from flows.pictures import worst_picture
from flows.pool import chosen, threads_per_worker, worker_count
from flows.precision import tell_if_slow
from flows.prepare import prepare, runs_url
from flows.publishing import current_version
from flows.run import Run, is_finished, new_attempt, open_run, run_directory
from flows.run_lease import hold_run, remove_partials
from flows.run_report import run_scene, write_report
from flows.scoring import aggregate, check_truth_values, truth_key
from flows.shard_stage import resumable
from storage.blobs import Blobs
from storage.errors import StorageError
from storage.label_names import label_url
from storage.labels import listed
from storage.requests import Lap
from storage.stores import join_url

if TYPE_CHECKING:
    import threading

    from flows.executors import Executor
    from storage.lease import Lease

logger = getLogger(__name__)


@flow(
    name="segment-volume",
    validate_parameters=True,
    on_failure=[say_how_to_resume],
    on_crashed=[say_how_to_resume],
    on_cancellation=[say_how_to_resume],
)
def segment_volume(job: SegmentJob) -> dict[str, Any]:
    """Segment a volume, evaluate it where truth is given, publish the mask.

    Returns
    -------
    dict
        result.json, with the places of the run, the mask and the report.

    Raises
    ------
    IncompleteRunError
        If shards are left to do, or another command is at work on the run; the same job goes
        on from there.
    """
    with stopping_in_time():
        return _segment(job)


def _segment(job: SegmentJob) -> dict[str, Any]:
    """The stages, on an executor of their own."""
    job = _placed(job)
    executor = take_executor(job)
    seconds = startup_seconds(job)
    lap = Lap()
    try:
        with stop_on_signals() as stop, ExitStack() as held:
            run, lease = _timed(seconds, "plan", plan_run, job, executor, stop, held)
            done = _finished(run)
            if done is not None:
                return done | {"requests": lap()}
            with resumable(run.url, OSError, StorageError, WorkerStartError):
                try:
                    result = _compute(run, executor, stop, seconds, lease)
                finally:
                    requests = {} if lease.is_lost else _write_timings(run, seconds, lap())
                result = _report(run, executor, result, seconds)
                told = {"executor": job.executor, "seconds": seconds, "requests": requests}
                return result | told
    finally:
        executor.close()


def _placed(job: SegmentJob) -> SegmentJob:
    """The job with the executor that it leaves to us; a deployment's may."""
    return job if job.executor != "auto" else chosen(job, len(prepare(job).plan))


def _report(
    run: Run, executor: Executor, result: dict[str, Any], seconds: dict[str, float]
) -> dict[str, Any]:
    """The last stage; no work is left for workers, which go while the report is written."""
    closed = in_background(executor.close, "executor-close")
    try:
        told: dict[str, Any] = _timed(seconds, "report", report_run, run, result, dict(seconds))
        return told
    finally:
        closed.result()


def _compute(
    run: Run,
    executor: Executor,
    stop: threading.Event,
    seconds: dict[str, float],
    lease: Lease,
) -> dict[str, Any]:
    """The stages between plan and report."""
    _timed(seconds, "infer", infer_shards, run, executor, stop)
    _timed(seconds, "pyramid", build_pyramid, run, executor)
    _timed(seconds, "verify", verify_run, run, executor, stop)
    result: dict[str, Any] = _timed(seconds, "aggregate", aggregate_run, run, executor, stop)
    lease.check(confirm=True)
    if _timed(seconds, "publish", publish_run, run):
        logger.info("readers see %s", run.directory, extra={"event": "published", "run": run.url})
    return result


@task(name="plan", cache_policy=NO_CACHE, persist_result=False)
def plan_run(
    job: SegmentJob, executor: Executor, stop: threading.Event, held: ExitStack
) -> tuple[Run, Lease]:
    """Check everything, take the run's lease, save or reload the plan, stage the mask volume.

    `held` lets go of the lease.
    """
    prepared = prepare(job)
    tell_if_slow(job, prepared.precision)
    check_truth_values(prepared, job.ignore_label, executor)
    folder = runs_url(job, prepared.container)
    with resumable(folder, OSError):
        directory = run_directory(job, prepared)
        place = Blobs(join_url(folder, directory))
        now = datetime.now(UTC)
        lease = held.enter_context(hold_run(place.url, new_attempt(place, now), stop))
        remove_partials(place.url, label_url(prepared.container, directory))
        # The holder before may have written records since the lease was asked for.
        run = open_run(job, prepared, executor, new_attempt(place, now), directory)
    return run, lease


@task(name="infer", cache_policy=NO_CACHE, persist_result=False)
def infer_shards(run: Run, executor: Executor, stop: threading.Event) -> None:
    """Segment the shards that have no record yet."""
    stages.infer(run, executor, stop, artifact_progress, threads=threads_per_worker(run.job))


@task(name="pyramid", cache_policy=NO_CACHE, persist_result=False)
def build_pyramid(run: Run, executor: Executor) -> None:
    """Fill the coarser levels."""
    stages.build_pyramid(run, executor)


@task(name="verify", cache_policy=NO_CACHE, persist_result=False)
def verify_run(run: Run, executor: Executor, stop: threading.Event) -> int:
    """Compare stored bytes with the records; redo what disagrees."""
    return stages.verify(
        run, executor, stop, artifact_progress, threads=threads_per_worker(run.job)
    )


@task(name="aggregate", cache_policy=NO_CACHE, persist_result=False)
def aggregate_run(run: Run, executor: Executor, stop: threading.Event) -> dict[str, Any]:
    """Sum the counts; write result.json."""
    return aggregate(run, executor, stop, artifact_progress)


@task(name="publish", cache_policy=NO_CACHE, persist_result=False)
def publish_run(run: Run) -> bool:
    """List the mask volume for readers."""
    return publishing.publish_run(run, datetime.now(UTC).isoformat(timespec="seconds"))


@task(name="report", cache_policy=NO_CACHE, persist_result=False)
def report_run(run: Run, result: dict[str, Any], seconds: dict[str, float]) -> dict[str, Any]:
    """Write the report; leave its table and link with Prefect."""
    report = write_report(run, result, seconds)
    key = run.prepared.key
    leave_artifacts(result, key=key, name=run.job.name, report=report)
    leave_picture(worst_picture(run_scene(run), result), key=key)
    return result | _places(run)


def _finished(run: Run) -> dict[str, Any] | None:
    """The result of a run that was published already, with the truth that is asked for.

    Readers may see another version by now; if they see none, there is something left to do.
    """
    if not (is_finished(run.blobs) and all(map(run.blobs.exists, ("result.json", "report.html")))):
        return None
    if current_version(run.prepared.container, run.job.name) is None:
        return None
    result: dict[str, Any] = json.loads(run.blobs.read("result.json"))
    if result.get("truth") != truth_key(run):
        return None
    return result | _places(run) | {"already_done": True}


def _places(run: Run) -> dict[str, Any]:
    container, name = run.prepared.container, run.job.name
    return {
        "run": run.url,
        "mask": run.target,
        "published": run.directory in listed(container),
        # What readers see of the name, where this run may be it at all.
        "current": current_version(container, name) if run.prepared.is_whole else None,
        "report": f"{run.url}/report.html",
    }


def _timed(seconds: dict[str, float], name: str, stage: Any, *arguments: Any) -> Any:
    started = time.perf_counter()
    try:
        return stage(*arguments)
    finally:
        seconds[name] = round(time.perf_counter() - started, 3)


def _write_timings(run: Run, seconds: dict[str, float], own: dict[str, int]) -> dict[str, int]:
    """Requests to object stores, by this process and by workers."""
    try:
        return stages.write_timings(run, seconds, worker_count(run.job), own)
    except OSError:
        # A full disk already ended the stage with its own message.
        return {}
