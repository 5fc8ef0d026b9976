"""A finished mask with everything that can be damaged, and what it was before."""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from flows import publishing, stages
from flows.executors import SerialExecutor
from flows.jobs import SegmentJob
from flows.prepare import prepare
from flows.progress import Progress
from flows.run import Run, new_attempt, open_run, run_directory
from flows.scoring import aggregate
from flows.sizing import RESERVED_IDENTITY
from storage.convert import import_image

SHAPE = (24, 768, 768)
NAME = "mask"


@dataclass(frozen=True)
class Stored:
    """A recorded object.

    Attributes
    ----------
    stage : str
        Of its record.
    item : int
        Of its record.
    key : str
        Of the object, in the label's folder.
    record : str
        Key of the object that holds the record, in the run's folder.
    """

    stage: str
    item: int
    key: str
    record: str


@dataclass(frozen=True)
class Scene:
    """A published mask of several attempts, beside a run of another job.

    Attributes
    ----------
    image : str
        OME-Zarr image.
    label, run, other : Path
        Folders of the mask, of its run and of the run of another job.
    """

    image: str
    label: Path
    run: Path
    other: Path

    def digests(self) -> dict[str, str]:
        """Digest of every file of the mask."""
        return {
            path.relative_to(self.label).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(self.label.rglob("*"))
            if path.is_file()
        }

    def objects(self) -> list[Stored]:
        """Every recorded object, as the last record tells; read without the product."""
        found = {}
        for path in sorted((self.run / "records").rglob("*.jsonl")):
            for record in lines_of(path):
                for stored in record["objects"]:
                    place = path.relative_to(self.run).as_posix()
                    one = Stored(path.parent.name, record["item"], stored["key"], place)
                    found[one.key] = one
        return [found[key] for key in sorted(found)]

    def recorded_by(self, attempts: set[str]) -> set[tuple[str, int]]:
        """Stage and item of the records of some attempts."""
        return {
            (path.parent.name, record["item"])
            for path in (self.run / "records").rglob("*.jsonl")
            for record in lines_of(path)
            if record["attempt"] in attempts
        }

    def attempts(self) -> set[str]:
        """Attempts that have records."""
        names = (path.name for path in (self.run / "records").rglob("*.jsonl"))
        return {name.rpartition("-")[0] for name in names}


def lines_of(path: Path) -> list[dict[str, Any]]:
    """The good records of an object, and none of a damaged one."""
    try:
        lines = path.read_text().splitlines()[1:]
        return [json.loads(line.partition(" ")[2]) for line in lines if line]
    except ValueError:
        return []


def make_scene(folder: Path, *, shape: tuple[int, ...] = SHAPE, memory: int | None = None) -> Scene:
    """Import a seeded image and make its mask in two attempts, of which the second did one shard.

    Parameters
    ----------
    folder : Path
        Empty.
    shape : tuple of int
        Of the image, z, y, x.
    memory : int, optional
        Bytes of a worker; by default so few that a shard is about a write-grid cell.
    """
    folder.mkdir(parents=True, exist_ok=True)
    voxels = np.random.default_rng(0).integers(1, 200, shape).astype(np.uint8)
    np.save(folder / "image.npy", voxels)
    image = import_image([str(folder / "image.npy")], str(folder / "image.zarr"), axes="zyx").url
    fields = {"image": image, "model": "identity", "executor": "serial"}
    job = SegmentJob(**fields, name=NAME, memory=memory or RESERVED_IDENTITY + 2**25)
    first = _opened(job)
    _infer(first)
    second = _opened(job)
    _infer(second, redo=frozenset({len(second.plan) // 2}))
    _finish(second)
    other = _opened(job.model_copy(update={"name": "other", "region": f"z=0:{shape[0] // 2}"}))
    _infer(other)
    _finish(other)
    return Scene(image, Path(second.target), Path(second.url), Path(other.url))


def _opened(job: SegmentJob) -> Run:
    prepared = prepare(job)
    directory = run_directory(job, prepared)
    run = open_run(job, prepared, SerialExecutor(), "", directory)
    attempt = new_attempt(run.blobs, datetime.now(UTC))
    return open_run(job, prepared, SerialExecutor(), attempt, directory)


def _infer(run: Run, redo: frozenset[int] = frozenset()) -> None:
    stages.infer(run, SerialExecutor(), threading.Event(), Progress, redo=redo)


def _finish(run: Run) -> None:
    executor, stop = SerialExecutor(), threading.Event()
    stages.build_pyramid(run, executor)
    stages.verify(run, executor, stop, Progress)
    aggregate(run, executor, stop, Progress)
    publishing.publish_run(run, datetime.now(UTC).isoformat(timespec="seconds"))
