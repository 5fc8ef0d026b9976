"""The stages of `maskmill segment`, one worker in this process, timed apart.

The worker is opened and its network compiled before the clock starts, as that of every peer is;
how long that takes is told. What the command adds (Prefect, imports) is not in here.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.bench import bytes_moved, process_peak
from flows import stages
from flows.executors import SerialExecutor
from flows.jobs import SegmentJob
from flows.prepare import prepare, runs_url
from flows.progress import Progress
from flows.run import Run, new_attempt, open_run, run_directory
from flows.scoring import aggregate
from segmentation.agreement import first_part
from segmentation.planner import IN_FLIGHT
from storage.blobs import Blobs
from storage.stores import join_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from flows.executors import Outcome, Work
    from flows.work import SegmentWork


@dataclass(frozen=True, slots=True)
class _Given:
    """Work that is open already."""

    function: Callable[[int], Any]

    def open(self) -> Callable[[int], Any]:
        """What was given."""
        return self.function


@dataclass(frozen=True, slots=True)
class OpenedExecutor(SerialExecutor):
    """The serial executor with a worker that is ready.

    Attributes
    ----------
    function : callable
        The opened work.
    """

    function: Any = None

    def map(self, work: Work, items: Iterable[int], stop: threading.Event) -> Iterator[Outcome]:
        """As of the serial executor, on the opened work."""
        return SerialExecutor(in_flight=self.in_flight).map(_Given(self.function), items, stop)


@dataclass(slots=True)
class Segmentation:
    """A run that is ready to infer.

    Attributes
    ----------
    run : Run
        Planned and staged.
    function : callable
        The opened, warmed worker.
    seconds : dict
        Of every stage so far.
    """

    run: Run
    function: Callable[[int], Any]
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def mask(self) -> str:
        """URL of the finest level."""
        return join_url(self.run.target, self.run.prepared.image.volumes[0].path)

    def infer(self) -> dict[str, Any]:
        """Segment all shards; figures of the stage."""
        before, busy, started = bytes_moved(), time.process_time(), time.perf_counter()
        executor = OpenedExecutor(in_flight=IN_FLIGHT, function=self.function)
        stages.infer(self.run, executor, threading.Event(), Progress)
        seconds = time.perf_counter() - started
        moved = [b - a for a, b in zip(before, bytes_moved(), strict=True)]
        plan = self.run.plan
        return {
            "seconds": seconds,
            "cpu_seconds": time.process_time() - busy,
            "wanted_voxels": plan.region.voxels,
            "computed_voxels": plan.computed_voxels,
            "amplification": plan.amplification,
            "tile": list(plan.spec.tile),
            "batch": plan.batch,
            "shards": len(plan),
            "projected_bytes": plan.projected_bytes,
            "peak_bytes": process_peak(),
            "read_bytes": moved[0],
            "written_bytes": moved[1],
            "shard_seconds": self._shard_seconds(),
        }

    def _shard_seconds(self) -> dict[str, float]:
        """What the shards say of themselves; they overlap, the device's part does not."""
        total: dict[str, float] = {}
        for record in self.run.manifest.records("infer", len(self.run.plan)):
            for part, value in record["seconds"].items():
                total[part] = round(total.get(part, 0.0) + value, 4)
        return total

    def finish(self) -> dict[str, float]:
        """Pyramid, verification, scores; seconds of each."""
        executor, stop = SerialExecutor(), threading.Event()
        found = {
            "pyramid": _seconds(lambda: stages.build_pyramid(self.run, executor)),
            "verify": _seconds(lambda: stages.verify(self.run, executor, stop, Progress)),
            "aggregate": _seconds(lambda: aggregate(self.run, executor, stop, Progress)),
        }
        return {name: round(value, 3) for name, value in found.items()}


def begin(threads: int, **fields: Any) -> Segmentation:
    """Plan a job, stage its mask, open and warm a worker.

    Parameters
    ----------
    threads : int
        Of the device runtime.
    **fields
        Of `SegmentJob`; one that it does not have (a precision) is refused by name.
    """
    seconds: dict[str, float] = {}
    started = time.perf_counter()
    job = SegmentJob(executor="serial", force=True, **fields)
    prepared = prepare(job)
    directory = run_directory(job, prepared)
    place = Blobs(join_url(runs_url(job, prepared.container), directory))
    attempt = new_attempt(place, datetime.now(UTC))
    run = open_run(job, prepared, SerialExecutor(), attempt, directory)
    seconds["plan"] = time.perf_counter() - started
    work = stages.segment_work(run, threads)
    started = time.perf_counter()
    function: Any = work.open()
    seconds["open"] = time.perf_counter() - started
    seconds["compile"] = _seconds(lambda: _warm(function, work))
    rounded = {name: round(value, 3) for name, value in seconds.items()}
    return Segmentation(run, function, rounded)


def _warm(function: Any, work: SegmentWork) -> None:
    """Compile the network for the shapes of the plan, and load the kernel that counts."""
    if work.truth is not None:
        from segmentation.metrics.counting import count_planes

        plane = np.zeros((1, 8, 8), np.uint8)
        count_planes(plane, plane, work.truth.num_classes, work.truth.ignore_label)
    predictor, spec = function.predictor, work.plan.spec
    if predictor.batch_size:
        tile = spec.tile[-len(predictor.stride) :]
        shape = (predictor.batch_size, *tile, predictor.channels)
        predictor.predict_classes(np.zeros(shape, np.float32))
    if predictor.reference is not None and spec.exact:
        tile = first_part(work.plan.shard(0), work.plan, predictor.reference).tile.shape
        shape = (1, *tile[-len(predictor.stride) :], predictor.channels)
        predictor.reference.predict_classes(np.zeros(shape, np.float32))


def _seconds(action: Callable[[], Any]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started
