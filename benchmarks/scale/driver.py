"""What the driver costs: every stage of a run of simulated shards, each in a fresh process."""

from __future__ import annotations

import multiprocessing
import resource
import shutil
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.bench import tell
from benchmarks.scale.simulated import AnswersAtOnce, fill, make_job, make_scene
from flows import stages
from flows.prepare import prepare
from flows.progress import Progress
from flows.record_check import remove_bad_records
from flows.recorded_mask import mask_of
from flows.run import Run, new_attempt, open_run
from flows.scoring import collect_run
from flows.verification import Sample, inspect
from flows.work import peak_memory_bytes
from segmentation.planner import Needs, make_plan
from storage.blobs import Blobs
from storage.stores import join_url

if TYPE_CHECKING:
    from collections.abc import Callable

MEBIBYTE = 2**20
# Of the objects of a mask; the others are looked up in the listing. Workers read them, not the
# driver: what is measured here is the driver's part.
READ_SHARE = 1e-4
# A 3D U-Net of three levels.
NETWORK = {"stride": (8, 8, 8), "halo": (48, 48, 48), "network_axes": 3}
NETWORK_NEEDS = Needs(900 * MEBIBYTE, 1, 7, 1000)
NETWORK_MEMORY = 8192 * MEBIBYTE


def measure_driver(folder: Path, shards: int, store: str | None = None) -> dict[str, Any]:
    """Seconds, CPU seconds and peak memory of every stage.

    Parameters
    ----------
    folder : Path
        Empty; for the image and the mask, and for the run where no store is given.
    shards : int
        A multiple of 100.
    store : str, optional
        URL under which the run's folder goes.
    """
    place = (folder, join_url(store, "runs") if store else None)
    tell(f"{shards} shards: making the scene")
    make_scene(folder, shards)
    found: dict[str, Any] = {"shards": shards}
    for stage in (_plan, _plan_network, _record, _resume, _aggregate, _timings, _verify):
        tell(f"{shards} shards:{stage.__name__.replace('_', ' ')}")
        found[stage.__name__.lstrip("_")] = _alone(stage, *place)
    found["record_objects"], found["record_bytes"] = _records(*place)
    found["overhead_ms"] = 1000 * found["record"]["seconds"] / shards
    rest = ("plan", "resume", "aggregate", "timings", "verify")
    found["run_ms"] = found["overhead_ms"] + sum(
        1000 * found[name]["seconds"] / shards for name in rest
    )
    return found


def _alone(stage: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """Run a stage in a process of its own, so that its peak of memory is its own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_measured, stage, *arguments).result()


def _measured(stage: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
    action = stage(*arguments)
    started, before = time.perf_counter(), _cpu_seconds()
    told = action()
    return {
        "seconds": time.perf_counter() - started,
        "cpu_seconds": _cpu_seconds() - before,
        "peak_bytes": peak_memory_bytes(),
    } | (told or {})


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _plan(folder: Path, runs: str | None) -> Callable[[], Any]:
    """Open the job: image, listing, plan."""
    return lambda: {"planned": len(prepare(make_job(folder, runs)).plan)}


def _plan_network(folder: Path, runs: str | None) -> Callable[[], Any]:
    """The search for tiles and shards of a 3D network on the same volume, without the listing."""
    plan = prepare(make_job(folder, runs)).plan

    def act() -> dict[str, Any]:
        found = make_plan(
            shape=plan.shape,
            region=plan.region,
            cell=(256, 256, 512),
            needs=NETWORK_NEEDS,
            memory_bytes=NETWORK_MEMORY,
            **NETWORK,  # type: ignore[arg-type]  # values of several types
        )
        return {"planned": len(found), "amplification": found.amplification}

    return act


def _record(folder: Path, runs: str | None) -> Callable[[], Any]:
    """The infer stage: tally, progress, log, records."""
    run = _open(folder, runs)
    grid = run.plan.grid_shape
    fill(Path(run.target), grid)
    executor = AnswersAtOnce()

    def act() -> dict[str, Any]:
        stages.infer(run, executor, threading.Event(), Progress)
        return {"recorded": executor.done}

    return act


def _resume(folder: Path, runs: str | None) -> Callable[[], Any]:
    """The same command again: open the run, read its records, find nothing to do."""
    prepared = prepare(make_job(folder, runs))
    executor = AnswersAtOnce()

    def act() -> dict[str, Any]:
        run = _open_prepared(prepared, runs, folder)
        stages.infer(run, executor, threading.Event(), Progress)
        return {"left": executor.done}

    return act


def _aggregate(folder: Path, runs: str | None) -> Callable[[], Any]:
    """Merge the statistics of all records."""
    run = _open(folder, runs)

    def act() -> dict[str, Any]:
        return {"voxels": collect_run(run)["voxels"]}

    return act


def _timings(folder: Path, runs: str | None) -> Callable[[], Any]:
    """Add up what the shards took."""
    run = _open(folder, runs)
    return lambda: stages.write_timings(run, {}, 1) and None


def _verify(folder: Path, runs: str | None) -> Callable[[], Any]:
    """Judge records and listing; of the objects only a sample is read."""
    run = _open(folder, runs)

    def act() -> dict[str, Any]:
        mask = mask_of(run)
        removed = remove_bad_records(mask)
        found = inspect(mask, "synchronous", Sample(READ_SHARE))
        return {"problems": len(found.problems) + len(removed), "read": found.checked}

    return act


def _open(folder: Path, runs: str | None) -> Run:
    return _open_prepared(prepare(make_job(folder, runs)), runs, folder)


def _open_prepared(prepared: Any, runs: str | None, folder: Path) -> Run:
    job = make_job(folder, runs)
    place = Blobs(join_url(runs or f"{job.image}.runs", f"{job.name}-{prepared.key}"))
    attempt = new_attempt(place, datetime.now(UTC))
    return open_run(job, prepared, AnswersAtOnce(), attempt)


def _records(folder: Path, runs: str | None) -> tuple[int, int]:
    """Objects of the infer stage's records, and their bytes."""
    sizes = [size for _, size in _open(folder, runs).blobs.list("records/infer")]
    return len(sizes), int(np.sum(sizes))


def remove(folder: Path) -> None:
    """Take away a scene: millions of small files take a while."""
    shutil.rmtree(folder, ignore_errors=True)
