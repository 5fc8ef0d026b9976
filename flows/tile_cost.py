"""What a tile costs on the device of a job: measured by a worker, kept in the user's cache.

::

    $XDG_CACHE_HOME/maskmill/tiles-KEY.json     or ~/.cache/maskmill/…

KEY stands for the bundle, its precision, the device, its threads and the libraries. A file that is
gone, torn or of another schema is measured again; no result depends on what it says, only how fast
it is there.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import threading
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.pool import threads_per_worker, worker_count
from flows.precision import run_precision
from flows.ray_executor import RayExecutor
from segmentation.ladder import TileCost
from storage.blobs import Blobs

if TYPE_CHECKING:
    from collections.abc import Callable

    from flows.executors import Executor
    from flows.jobs import PlanJob
    from flows.model import Model
    from segmentation.plan import ShardPlan

SCHEMA = 1
LIBRARIES = ("tensorflow", "jax", "keras", "numpy")
# A ladder takes a worker's start and a few seconds: one to two percent of a run that computes so
# many voxels a worker, at ten million a second on a CPU and ten times as many on a GPU.
WORTH_VOXELS = 2**33
WORTH_VOXELS_GPU = 2**36
CPU_INFO = Path("/proc/cpuinfo")
GPU_INFO = Path("/proc/driver/nvidia/gpus")


@dataclass(frozen=True, slots=True)
class LadderWork:
    """A ladder as work for an executor: its one item is the whole of it.

    Attributes
    ----------
    model, digest : str
        Bundle, as in `flows.work.SegmentWork`.
    threads : int
        Of the device runtime.
    most_voxels : int
        Voxels of the largest call.
    precision : str
        In which the network computes.
    """

    model: str
    digest: str
    threads: int
    most_voxels: int
    precision: str

    def open(self) -> Callable[[int], TileCost]:
        """Open the bundle; the function climbs."""
        from flows.model import worker_bundle
        from segmentation.bundle import load_card
        from segmentation.ladder import climb, fit, measure_network, rungs
        from segmentation.predictor import KerasPredictor

        folder = worker_bundle(self.model, self.digest)
        card = load_card(folder)
        tile = None if card.exact else card.tile
        predictor = KerasPredictor(folder, threads=self.threads, precision=self.precision)
        ladder = rungs(card.stride, self.most_voxels, tile)
        return lambda _item: fit(climb(measure_network(predictor), ladder))


def known_cost(job: PlanJob, model: Model) -> TileCost | None:
    """What was measured for a job's bundle on its device; None if nothing was."""
    if model.card is None:
        return None
    try:
        document = json.loads(_cache().read(_key(job, model)))
        if document["schema"] != SCHEMA:
            return None
        return TileCost(_count(document["overhead_voxels"]), _count(document["batch_voxels"], 1))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def measure_cost(
    job: PlanJob, model: Model, executor: Executor, most_voxels: int
) -> TileCost | None:
    """Let a worker climb the ladder, and keep what it finds for later jobs.

    Parameters
    ----------
    job : PlanJob
        Says how many threads a worker has.
    model : Model
        Its bundle; without a network there is nothing to measure.
    executor : Executor
        Of the job: this process does not load the network's libraries, its workers do.
    most_voxels : int
        Voxels of the largest call that a worker has memory for.
    """
    if model.card is None:
        return None
    precision = run_precision(job.precision, model)
    work = LadderWork(model.source, model.digest, threads_per_worker(job), most_voxels, precision)
    (outcome,) = _alone(executor).map(work, [0], threading.Event())
    if outcome.error is not None:
        raise RuntimeError(f"the network cannot be timed: {outcome.error}")
    cost: TileCost = outcome.result
    document = {"schema": SCHEMA, "device": device_name(job)} | asdict(cost)
    # A home that cannot be written to costs a measurement every time, and no more.
    with suppress(OSError):
        _cache().write(_key(job, model), json.dumps(document).encode())
    return cost


def _alone(executor: Executor) -> Executor:
    """One worker where the executor has several: those that only start would disturb it."""
    # What is started here is the executor's own, to be closed with it.
    executor.dask_scheduler()
    return replace(executor, workers=1) if isinstance(executor, RayExecutor) else executor


def is_worth_measuring(job: PlanJob, model: Model, plan: ShardPlan) -> bool:
    """Whether a ladder is a small part of a run and nothing is known yet."""
    least = WORTH_VOXELS_GPU if job.gpus_per_worker else WORTH_VOXELS
    if model.card is None or plan.computed_voxels < least * worker_count(job):
        return False
    return known_cost(job, model) is None


def device_name(job: PlanJob) -> str:
    """What a worker computes on, as far as this machine can tell.

    Of another cluster it is the address: its machines are not asked.
    """
    if job.address:
        return f"cluster {job.address}"
    if job.gpus_per_worker:
        names = [_field(path, "Model") for path in sorted(GPU_INFO.glob("*/information"))]
        return " + ".join(names) or "GPU"
    return _field(CPU_INFO, "model name") or platform.processor() or platform.machine()


def _field(path: Path, name: str) -> str:
    """First value of a name in a file of the kernel; empty if there is none."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    found = (line.partition(":") for line in lines)
    return next((value.strip() for key, _, value in found if key.strip() == name), "")


def _count(value: Any, least: int = 0) -> int:
    if not isinstance(value, int) or not least <= value < 2**62:
        raise ValueError(f"{value!r} is no number of voxels; the file is measured again")
    return value


def _cache() -> Blobs:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Blobs(str(Path(home, "maskmill")))


def _key(job: PlanJob, model: Model) -> str:
    """File of a bundle on a device."""
    precision = run_precision(job.precision, model)
    parts = [model.digest, device_name(job), threads_per_worker(job), precision, SCHEMA]
    text = json.dumps([*parts, {name: _version(name) for name in LIBRARIES}])
    return f"tiles-{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
