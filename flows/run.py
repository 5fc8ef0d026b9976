"""A run over one image: its folder, its plan as it was first made, its staged mask volume."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from datetime import MAXYEAR, datetime, timedelta
from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from flows.errors import RequestError
from flows.prepare import Prepared, check_segment_job, measured, runs_url
from flows.run_document import RUN, SEGMENT, read_run
from flows.shard_stage import ShardStage
from flows.small_volumes import scheduler_for
from flows.staging import stage_mask
from segmentation.normalize import IntensityTransform
from segmentation.plan import ShardPlan
from storage.blobs import Blobs
from storage.intensity import percentiles
from storage.label_names import label_url
from storage.manifest import RunManifest
from storage.records import RECORDS
from storage.stores import join_url

if TYPE_CHECKING:
    from flows.executors import Executor
    from flows.jobs import SegmentJob
    from storage.record_writer import RecordWriter

SCHEMA = 1
INFER = "infer"
PUBLISHED = "published.json"
# Written by a verification that found faults: the run is then not finished, the same job mends it.
DAMAGE = "damage.json"
STAMP = "%Y%m%dT%H%M%S"
_STAMPED = re.compile(r"/(\d{8}T\d{6})-[^/]*$")
PACKAGES = ("maskmill", "keras", "ray", "prefect", "dask", "zarr", "numpy")


@dataclass(frozen=True, slots=True)
class Run:
    """A run that has its folder.

    Attributes
    ----------
    job : SegmentJob
        What was asked for.
    prepared : Prepared
        The job made concrete, with the plan as it was first made.
    directory : str
        Folder under ``labels/``: NAME-KEY.
    url : str
        Run folder.
    attempt : str
        Sorts after every earlier attempt.
    intensity : dict or None
        The one intensity transform of the whole volume (``low``, ``high``) and the rule it
        comes from; None for the identity predictor.
    """

    job: SegmentJob
    prepared: Prepared
    directory: str
    url: str
    attempt: str
    intensity: dict[str, Any] | None

    @property
    def transform(self) -> IntensityTransform | None:
        """What workers do to every voxel before the network sees it."""
        return IntensityTransform.from_dict(self.intensity) if self.intensity else None

    @property
    def plan(self) -> ShardPlan:
        """Shards and tiles."""
        return self.prepared.plan

    @property
    def blobs(self) -> Blobs:
        """The run folder."""
        return Blobs(self.url)

    @property
    def manifest(self) -> RunManifest:
        """Records of finished work."""
        return RunManifest(self.blobs, self.prepared.digest)

    @property
    def target(self) -> str:
        """URL of the mask volume."""
        return label_url(self.prepared.container, self.directory)

    def stage(self, name: str, planned: int) -> ShardStage:
        """A stage with its records."""
        return ShardStage(self.url, self.prepared.digest, name, planned, self.attempt)

    def writer(self, name: str, planned: int) -> RecordWriter:
        """Writer of a stage's records."""
        return self.stage(name, planned).writer()


def new_attempt(run: Blobs, now: datetime) -> str:
    """Id of an attempt: a UTC time and 8 hex digits; it sorts after every earlier attempt.

    Of two records of one item the later attempt's counts, so a clock that went back must not
    make this attempt the earlier one.

    Parameters
    ----------
    run : Blobs
        Run folder.
    now : datetime
        In UTC.
    """
    found = (_STAMPED.search(key) for key, _ in run.list(RECORDS))
    times = [time for match in found if match and (time := _time(match[1]))]
    latest = max(times, default=None)
    start = now.replace(tzinfo=None, microsecond=0)
    if latest is not None and start <= latest:
        start = latest + timedelta(seconds=1)
    return f"{start.strftime(STAMP)}-{uuid4().hex[:8]}"


def _time(stamp: str) -> datetime | None:
    """When an attempt began; None for what no attempt of ours is called."""
    try:
        time = datetime.strptime(stamp, STAMP)
    except ValueError:
        return None
    return time if time.year < MAXYEAR else None


def open_run(
    job: SegmentJob,
    prepared: Prepared,
    executor: Executor,
    attempt: str,
    directory: str | None = None,
) -> Run:
    """Make or reload the run's folder and its staged label.

    Parameters
    ----------
    directory : str, optional
        What `run_directory` gave.

    Raises
    ------
    RequestError, StorageError, ValueError
        Before anything is written.
    """
    directory = directory or run_directory(job, prepared)
    url = join_url(runs_url(job, prepared.container), directory)
    saved = _saved(Blobs(url), prepared.digest)
    if saved is None:
        prepared = measured(job, prepared, executor)
        intensity = intensity_of(prepared, executor)
    else:
        intensity = saved["intensity"]
        prepared = replace(prepared, plan=ShardPlan.from_dict(saved["plan"]))
    run = Run(job, prepared, directory, url, attempt, intensity)
    if saved is None:
        run.blobs.write(RUN, _run_document(run))
    stage_mask(run)
    return run


def run_directory(job: SegmentJob, prepared: Prepared) -> str:
    """NAME-KEY; with --force the next free NAME-KEY-n, or an unfinished one.

    Raises
    ------
    RequestError, StorageError
        If the name or the place cannot be used; nothing was written then.
    """
    check_segment_job(job, prepared)
    base = f"{job.name}-{prepared.key}"
    if not job.force:
        return base
    folder = runs_url(job, prepared.container)
    number = 2
    while is_finished(Blobs(join_url(folder, f"{base}-{number}"))):
        number += 1
    return f"{base}-{number}"


def is_finished(run: Blobs) -> bool:
    """Whether a run was published and no verification has found it damaged since."""
    return run.exists(PUBLISHED) and not run.exists(DAMAGE)


def _saved(blobs: Blobs, digest: str) -> dict[str, Any] | None:
    if not blobs.exists(RUN):
        return None
    document = read_run(blobs, (SEGMENT,))
    if document["digest"] != digest:
        raise RequestError(
            f"{blobs.url} holds another run (digest {document['digest'][:16]}…); "
            "remove that folder or choose another --name"
        )
    return document


def intensity_of(prepared: Prepared, executor: Executor) -> dict[str, Any] | None:
    """The one transform of the volume: the bundle's own, or percentiles of the whole volume.

    Returns
    -------
    dict or None
        ``low`` and ``high`` per channel, and the rule that gave them.
    """
    card = prepared.model.card
    if card is None:
        return None
    rule = card.intensity
    if rule["rule"] == "fixed":
        return {"low": list(rule["low"]), "high": list(rule["high"]), "rule": "the bundle's own"}
    volume = prepared.image.volumes[0]
    low, high, description = percentiles(
        volume, rule["low"], rule["high"], scheduler=scheduler_for(executor, volume.shape)
    )
    channels = prepared.identity["channels"] or range(len(low))
    transform = IntensityTransform(
        tuple(low[c] for c in channels), tuple(high[c] for c in channels)
    )
    return transform.to_dict() | {"rule": description}


def _run_document(run: Run) -> bytes:
    document = {
        "schema": SCHEMA,
        "kind": SEGMENT,
        "digest": run.prepared.digest,
        "identity": run.prepared.identity,
        "job": run.job.model_dump(mode="json"),
        "directory": run.directory,
        "target": run.target,
        "intensity": run.intensity,
        "plan": run.plan.to_dict(),
        "versions": versions(),
    }
    return json.dumps(document, indent=2).encode()


def versions() -> dict[str, str]:
    """Versions of what computes."""
    return {name: version(name) for name in PACKAGES}
