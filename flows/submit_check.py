"""What can be known of a command before it is submitted: its places, its plan, its shards."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.errors import RequestError
from flows.prepare import prepare, runs_url
from flows.run import INFER, run_directory
from flows.run_document import RUN, SEGMENT, read_run
from flows.run_lease import check_free
from segmentation.plan import ShardPlan
from storage.blobs import Blobs
from storage.manifest import RunManifest
from storage.stores import join_url, normalize_url

if TYPE_CHECKING:
    from flows.prepare import Prepared
    from flows.submit_command import Command

IDENTITY = "identity"
INPUTS = ("image", "images", "model", "catalog", "target", "pretrained")
OUTPUTS = ("out", "runs")
PARTS = ("read", "compute", "write")


def check_places(command: Command, *, shared: bool, sent_along: bool = False) -> None:
    """Refuse places that the machines of the cluster would not find.

    Parameters
    ----------
    shared : bool
        The machines see the files of this one, under the same names.
    sent_along : bool
        The folder of relative inputs is sent with the job.

    Raises
    ------
    RequestError
        If a local place is not there (of a shared one), or is no absolute path (else).
    """
    for name in (*INPUTS, *OUTPUTS):
        value = command.fields.get(name)
        if value is None or (name == "model" and value == IDENTITY):
            continue
        url = normalize_url(str(value))
        if "://" in url:
            continue
        if shared and name in INPUTS and not Path(url).exists():
            raise RequestError(
                f"{value} is not there; the machines of the job see what is seen from here "
                "(--no-check if not)"
            )
        absolute = Path(str(value)).is_absolute() or str(value).startswith("file://")
        if not (shared or absolute or (sent_along and name in INPUTS)):
            raise RequestError(
                f"{value} is a place on this machine; give a URL such as s3://…, or the absolute "
                "path under which every machine of the cluster sees it"
            )


def longest_shard(command: Command) -> float:
    """Check a segmentation as if it ran here; seconds of the longest shard it has finished.

    Returns
    -------
    float
        0 if none is finished, or if the command is no segmentation that is seen from here.

    Raises
    ------
    RequestError, StorageError, ValueError
        For what would be refused here.
    IncompleteRunError
        If another command is at work on the run.
    """
    if command.verb != "segment" or not _is_seen(command):
        return 0.0
    job = command.job
    prepared = prepare(job)
    folder = join_url(runs_url(job, prepared.container), run_directory(job, prepared))
    check_free(folder)
    return _longest(Blobs(folder), prepared)


def _is_seen(command: Command) -> bool:
    """Whether image and bundle are remote, or files of this machine."""
    places = [str(command.fields[name]) for name in ("image", "model")]
    urls = [normalize_url(place) for place in places if place != IDENTITY]
    return all("://" in url or Path(url).exists() for url in urls)


def _longest(run: Blobs, prepared: Prepared) -> float:
    if not run.exists(RUN):
        return 0.0
    document = read_run(run, (SEGMENT,))
    if document["digest"] != prepared.digest:
        return 0.0
    planned = len(ShardPlan.from_dict(document["plan"]))
    records = RunManifest(run, prepared.digest).records(INFER, planned)
    return max(map(_seconds, records), default=0.0)


def _seconds(record: dict[str, Any]) -> float:
    return float(sum(record["seconds"].get(part, 0.0) for part in PARTS))
