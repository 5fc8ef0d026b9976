"""A hundred thousand shards: the driver stays small, and a resumed run reads its records soon."""

import gc
import threading
import time
import tracemalloc
from contextlib import nullcontext
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest

from flows import stages
from flows.errors import IncompleteRunError
from flows.executors import Outcome, SerialExecutor
from flows.jobs import SegmentJob
from flows.prepare import prepare
from flows.run import open_run
from segmentation.metrics.codec import encode_array
from segmentation.plan import ShardPlan
from segmentation.shard import ShardResult
from segmentation.tiling import TileSpec
from storage.blobs import Blobs
from storage.labels import group_document
from storage.ome import ImageMetadata, Level, image_attributes, make_axes
from storage.write_grid import create_array

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SHARDS = 100_000
# Tracing slows the driver ten times and more; what piles up piles up in these too.
TRACED = 5_000
# Deep enough to tell what the stage allocated from what threads of earlier tests do meanwhile.
FRAMES = 25
CELL = (64, 64, 64)
# Bytes a shard may leave in the driver: a number at most, never its record.
LEFT_BEHIND = 32
RESUME_SECONDS = 60.0


@dataclass(frozen=True)
class AnswersAtOnce(SerialExecutor):
    """Says what a worker would say, about as long, and computes nothing.

    Attributes
    ----------
    seen : callable
        Called with every item.
    """

    seen: object = None

    def map(self, work, items, stop):
        for item in items:
            if stop.is_set():
                return
            self.seen(item)
            yield Outcome(item, plausible(work.plan, item))


def plausible(plan, item):
    """A result of a few kB on disk, as of a shard of one object and five classes."""
    voxels = plan.write_region(item).voxels
    planes = np.array([[voxels, *(0,) * 26]])
    statistics = {"planes/0": encode_array(planes)}
    stored = {"key": f"0/c/{item}", "size": voxels, "checksum": f"{item:032x}"}
    seconds = {"read": 0.0123, "compute": 0.4567, "write": 0.0234}
    return ShardResult(item, statistics, [voxels, 0, 0, 0, 0], [stored], seconds, 2**29)


@pytest.fixture
def huge_run(tmp_path):
    """A run over an image that exists as metadata only, planned by hand."""
    shape = (64 * 50, 64 * 50, 64 * 40)
    url = str(tmp_path / "image.zarr")
    create_array(
        url, "0", shape=shape, dtype="uint8", chunks=CELL, shards=(512, 512, 512), axes="zyx"
    )
    metadata = ImageMetadata(
        "0.5", "huge", make_axes("zyx", None), (Level("0", (1.0,) * 3, (0.0,) * 3),)
    )
    Blobs(url).write("zarr.json", group_document(image_attributes(metadata)))
    job = SegmentJob(image=url, model="identity", name="mask", executor="serial")
    prepared = prepare(job)
    spec = TileSpec(CELL, (0, 0, 0), (1, 1, 1), exact=True)
    plan = ShardPlan(shape, prepared.plan.region, CELL, CELL, spec, 1, 2**29)
    assert len(plan) == SHARDS
    return open_run(job, replace(prepared, plan=plan), SerialExecutor(), "attempt-1")


def quiet(_label, _total, _done):
    """Progress that shows nothing."""
    return nullcontext(SimpleNamespace(advance=lambda: None))


def left_by_the_stage(snapshot):
    """Bytes that were allocated anywhere below the stage and are still held."""
    own = tracemalloc.Filter(inclusive=True, filename_pattern=stages.__file__, all_frames=True)
    traces = snapshot.filter_traces([own])
    return sum(one.size for one in traces.statistics("filename"))


def test_the_driver_stays_flat_and_resuming_reads_the_records_in_time(huge_run):
    grown = []

    def measure(item):
        if item == SHARDS - TRACED:
            gc.collect()
            tracemalloc.start(FRAMES)
        elif item == SHARDS - 1:
            gc.collect()
            grown.append(left_by_the_stage(tracemalloc.take_snapshot()))
            tracemalloc.stop()

    started = time.perf_counter()
    stages.infer(huge_run, AnswersAtOnce(measure), threading.Event(), quiet)
    infer_seconds = time.perf_counter() - started
    objects = sum(1 for _ in huge_run.blobs.list("records/infer"))

    started = time.perf_counter()
    done = huge_run.manifest.completed("infer", SHARDS)
    records = sum(
        record["seconds"]["write"] for record in huge_run.manifest.records("infer", SHARDS)
    )
    resume_seconds = time.perf_counter() - started

    print(
        f"\n{SHARDS} shards: recorded in {infer_seconds:.1f} s, the last {TRACED} left "
        f"{grown[0] / 2**10:.1f} KiB in the driver, {objects} record objects, read twice in "
        f"{resume_seconds:.1f} s"
    )
    assert done.all()
    assert records == pytest.approx(0.0234 * SHARDS)
    assert grown[0] < LEFT_BEHIND * TRACED
    assert objects < 10_000
    assert resume_seconds < RESUME_SECONDS


def test_a_stopped_run_of_many_shards_goes_on(huge_run):
    stop = threading.Event()
    half = SHARDS // 2

    def stop_at_half(item):
        if item == half:
            stop.set()

    with pytest.raises(IncompleteRunError, match=f"{half - 1} of {SHARDS} shards to do"):
        stages.infer(huge_run, AnswersAtOnce(stop_at_half), stop, quiet)
    started = time.perf_counter()
    seen = []
    again = open_run(huge_run.job, huge_run.prepared, SerialExecutor(), "attempt-2")
    stages.infer(again, AnswersAtOnce(seen.append), threading.Event(), quiet)
    print(f"\nresumed and finished in {time.perf_counter() - started:.1f} s")
    assert seen == list(range(half + 1, SHARDS))
    assert again.manifest.completed("infer", SHARDS).all()
