"""From a job to its executor: how many workers, with which share of the machine."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, TypeVar

from flows.executors import Executor, SerialExecutor
from flows.jobs import ClassifyJob, EvaluateJob, SegmentJob
from flows.sizing import default_workers, lent_cpus
from segmentation.planner import IN_FLIGHT

if TYPE_CHECKING:
    from flows.jobs import TrainJob, VerifyJob, VolumeJob

# More items than this pay for Ray's start: it reads and writes beside the device, and outlives
# a worker that dies.
FEW_ITEMS = 16
AnyJob = TypeVar("AnyJob", SegmentJob, EvaluateJob, ClassifyJob)


def chosen(job: AnyJob, items: int) -> AnyJob:
    """The job with the executor that ``auto`` stands for.

    Ray where a cluster or a GPU is asked for, and where several workers, or many items, make its
    start worth while; else this process.

    Parameters
    ----------
    job : SegmentJob, EvaluateJob or ClassifyJob
        What is asked for.
    items : int
        How many shards or batches it has.
    """
    if job.executor != "auto":
        return job
    is_placed = bool(job.address or os.environ.get("RAY_ADDRESS") or job.gpus_per_worker)
    needed = min(worker_count(job), items)
    serial = not is_placed and needed <= 1 and items <= FEW_ITEMS
    return job.model_copy(update={"executor": "serial" if serial else "ray"})


def make_executor(job: VolumeJob | ClassifyJob) -> Executor:
    """The executor a job asks for."""
    return _executor(job, worker_count(job), gpus_per_worker=job.gpus_per_worker)


def make_reading_executor(job: VerifyJob) -> Executor:
    """The executor of a verification: every worker reads and computes nothing."""
    return _executor(job, job.workers or lent_cpus())


def make_training_executor(job: TrainJob) -> Executor:
    """The executor of a training: one network at a time in every worker."""
    return _executor(job, training_workers(job), gpus_per_worker=job.gpus_per_worker, in_flight=1)


def _executor(
    job: VolumeJob | ClassifyJob | TrainJob | VerifyJob,
    workers: int,
    *,
    in_flight: int = IN_FLIGHT,
    **options: Any,
) -> Executor:
    if job.executor == "serial":
        return SerialExecutor(in_flight=in_flight)
    from flows.ray_executor import RayExecutor

    return RayExecutor(
        workers=workers,
        cpus_per_worker=cpus_per_worker(workers),
        address=job.address,
        in_flight=in_flight,
        **options,
    )


def training_workers(job: TrainJob) -> int:
    """Networks that are trained at once: one for each CPU, where there are folds."""
    if job.executor == "serial" or not job.folds:
        return 1
    return min(job.folds, job.workers or lent_cpus())


def training_threads(job: TrainJob) -> int:
    """Threads of the device runtime for one network."""
    if job.executor == "serial":
        return os.cpu_count() or 1
    return max(1, int(cpus_per_worker(training_workers(job))))


def worker_count(job: VolumeJob | ClassifyJob) -> int:
    """Worker processes of a job."""
    if job.executor == "serial":
        return 1
    # Counting runs in one thread; a network's runtime takes two.
    counting = isinstance(job, EvaluateJob)
    return job.workers or (lent_cpus() if counting else default_workers())


def cpus_per_worker(workers: int) -> float:
    """Whole CPUs for each worker, or a fraction where there are more workers than CPUs."""
    cpus = lent_cpus()
    return float(cpus // workers) if workers <= cpus else cpus / workers


def threads_per_worker(job: VolumeJob | ClassifyJob) -> int:
    """Threads of the device runtime in one worker."""
    if job.executor == "serial":
        return os.cpu_count() or 1
    return max(1, int(cpus_per_worker(worker_count(job))))
