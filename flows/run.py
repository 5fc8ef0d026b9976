"""A run over one image: its folder, its plan as it was first made, its staged mask volume."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from flows.errors import RequestError
from flows.prepare import Prepared, check_segment_job, runs_url
from flows.shard_stage import ShardStage
from flows.staging import stage_mask
from segmentation.normalize import IntensityTransform
from segmentation.plan import ShardPlan
from storage.blobs import Blobs
from storage.intensity import percentiles
from storage.label_names import label_url
from storage.manifest import RunManifest
from storage.stores import join_url

if TYPE_CHECKING:
    from flows.executors import Executor
    from flows.jobs import SegmentJob
    from storage.manifest import RecordWriter

SCHEMA = 1
INFER = "infer"
PUBLISHED = "published.json"
# Written by a verification that found faults: the run is then not finished, the same job mends it.
DAMAGE = "damage.json"
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


def open_run(job: SegmentJob, prepared: Prepared, executor: Executor, attempt: str) -> Run:
    """Make or reload the run's folder and its staged label.

    Raises
    ------
    RequestError, StorageError, ValueError
        Before anything is written.
    """
    check_segment_job(job, prepared)
    folder = runs_url(job, prepared.container)
    directory = _directory(job, prepared, folder)
    url = join_url(folder, directory)
    saved = _saved(Blobs(url), prepared.digest)
    if saved is None:
        intensity = intensity_of(prepared, executor)
    else:
        intensity = saved["intensity"]
        prepared = replace(prepared, plan=ShardPlan.from_dict(saved["plan"]))
    run = Run(job, prepared, directory, url, attempt, intensity)
    if saved is None:
        run.blobs.write("run.json", _run_document(run))
    stage_mask(run)
    return run


def _directory(job: SegmentJob, prepared: Prepared, folder: str) -> str:
    """NAME-KEY; with --force the next free NAME-KEY-n, or an unfinished one."""
    base = f"{job.name}-{prepared.key}"
    if not job.force:
        return base
    number = 2
    while is_finished(Blobs(join_url(folder, f"{base}-{number}"))):
        number += 1
    return f"{base}-{number}"


def is_finished(run: Blobs) -> bool:
    """Whether a run was published and no verification has found it damaged since."""
    return run.exists(PUBLISHED) and not run.exists(DAMAGE)


def _saved(blobs: Blobs, digest: str) -> dict[str, Any] | None:
    if not blobs.exists("run.json"):
        return None
    document: dict[str, Any] = json.loads(blobs.read("run.json"))
    if document.get("schema") != SCHEMA or document.get("digest") != digest:
        raise RequestError(
            f"{blobs.url} holds another run (digest {str(document.get('digest'))[:16]}…); "
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
    low, high, description = percentiles(
        prepared.image.volumes[0], rule["low"], rule["high"], scheduler=executor.dask_scheduler()
    )
    channels = prepared.identity["channels"] or range(len(low))
    transform = IntensityTransform(
        tuple(low[c] for c in channels), tuple(high[c] for c in channels)
    )
    return transform.to_dict() | {"rule": description}


def _run_document(run: Run) -> bytes:
    document = {
        "schema": SCHEMA,
        "kind": "segment",
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
