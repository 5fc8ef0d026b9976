"""Runs without Prefect: the stages of the flow, called one after the other."""

import itertools
import json
import os
import re
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from flows import publishing, sizing, stages
from flows.executors import SerialExecutor
from flows.jobs import SegmentJob
from flows.prepare import prepare
from flows.progress import Progress
from flows.run import open_run
from flows.scoring import aggregate, check_truth_values
from segmentation import plan
from storage import levels, write_grid
from storage.convert import import_image, import_labels

ATTEMPTS = itertools.count()


def make_image(folder, voxels, axes, **options):
    """An imported image; its URL."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "voxels.npy", voxels)
    return import_image(
        [str(folder / "voxels.npy")], str(folder / "image.zarr"), axes=axes, **options
    ).url


def make_truth(image, voxels, axes, name="truth", classes=None):
    """An imported label of an image."""
    source = Path(image).parent / f"{name}.npy"
    np.save(source, voxels)
    import_labels([str(source)], image, name=name, axes=axes, classes=classes)


def start(job, executor=None):
    """The run of a job, opened."""
    executor = executor or SerialExecutor()
    prepared = prepare(job)
    check_truth_values(prepared, job.ignore_label, executor)
    return open_run(job, prepared, executor, f"attempt-{next(ATTEMPTS):06d}")


def infer(run, executor=None, stop=None):
    """Segment what has no record yet."""
    stages.infer(run, executor or SerialExecutor(), stop or threading.Event(), Progress)


def finish(run, executor=None):
    """The stages after the first; result.json and the number of shards that were redone."""
    executor, stop = executor or SerialExecutor(), threading.Event()
    stages.build_pyramid(run, executor)
    redone = stages.verify(run, executor, stop, Progress)
    result = aggregate(run, executor, stop, Progress)
    publishing.publish_run(run, "2000-01-01T00:00:00+00:00")
    return result, redone


def segment(executor=None, **fields):
    """A whole run; what it was and its result."""
    run = start(SegmentJob(**{"model": "identity", "name": "mask"} | fields), executor)
    infer(run, executor)
    result, redone = finish(run, executor)
    assert redone == 0
    return run, result


def least_budget(**fields):
    """Bytes of the smallest budget that is enough, as the refusal of a smaller one says."""
    with pytest.raises(ValueError, match="too little") as caught:
        prepare(SegmentJob(**{"name": "mask", "memory": 1} | fields))
    return int(re.search(r"needs (\d+) MiB", str(caught.value))[1]) * 2**20


def stored(url):
    """Bytes of every object below a folder, by key."""
    root = Path(url)
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def attempts(run_url, stage="infer"):
    """Attempts that recorded each item of a stage, in stored order, read without the product."""
    found = {}
    for path in sorted(Path(run_url, "records", stage).glob("*.jsonl")):
        for line in path.read_text().splitlines()[1:]:
            record = json.loads(line.partition(" ")[2])
            found.setdefault(record["item"], []).append(record["attempt"])
    return found


def recorded(image, name="*"):
    """Number of shards with a record in the runs over an image, read without the product."""
    paths = Path(f"{image}.runs").glob(f"{name}-*/records/infer/*.jsonl")
    return sum(len(path.read_bytes().splitlines()) - 1 for path in paths)


@contextmanager
def small_cells(cell_bytes=(2**11, 2**13), chunk=16, plane=8):
    """Write-grid cells, levels and budgets so small that tiny volumes have many of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write_grid, "SHARD_BYTES", cell_bytes)
        patch.setattr(write_grid, "CUBIC_CHUNK", (chunk, chunk, chunk))
        patch.setattr(write_grid, "PLANAR_CHUNK", (1, chunk, chunk))
        patch.setattr(levels, "SMALLEST_PLANE", plane)
        patch.setattr(plan, "TRIVIAL_SHARD_VOXELS", 1)
        patch.setattr(sizing, "RESERVED_IDENTITY", 0)
        patch.setattr(sizing, "RESERVED_KERAS", 0)
        patch.setattr(sizing, "RESERVED_COUNTING", 0)
        # Tiny objects need not survive a power cut; waiting for the disk takes most of the time.
        patch.setattr(os, "fsync", lambda _descriptor: None)
        yield


def naive_mode(fine, shape):
    """The next level by counting: most frequent value, ties to the lowest that is not 0."""
    factors = [
        next(f for f in range(1, 9) if -(-n // f) == m)
        for n, m in zip(fine.shape, shape, strict=True)
    ]
    values = [*np.unique(fine[fine > 0]), 0]
    counts = []
    for value in values:
        count = (fine == value).astype(np.int64)
        for axis, factor in enumerate(factors):
            count = np.add.reduceat(count, range(0, count.shape[axis], factor), axis=axis)
        counts.append(count)
    return np.asarray(values, fine.dtype)[np.argmax(counts, axis=0)]
