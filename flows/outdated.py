"""Which volumes have the mask that a job would make now, and which have not.

Nothing is written, and no voxel is read.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from flows.datasets import Dataset, find_datasets, segment_job
from flows.model import open_model
from flows.prepare import Prepared, image_digest, prepare
from flows.publishing import current_version
from flows.reconcile_record import MOST_FAILURES, Subject, asked_digest, failures
from flows.run import is_finished
from flows.run_document import SEGMENT, read_run
from storage.blobs import Blobs
from storage.stores import join_url, normalize_url
from storage.volume import open_image

if TYPE_CHECKING:
    from flows.jobs import ManyVolumesJob, ReconcileJob, ReprocessJob, SegmentJob
    from flows.model import Model

# What there is to do about an image.
CURRENT, TODO, FAILED, SET_ASIDE = "current", "todo", "failed", "set aside"
# Images that are looked at side by side: most of the time goes into waiting for a store.
LOOKS_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Look:
    """What a look at an image has found.

    Attributes
    ----------
    dataset : Dataset
        The image.
    state : str
        ``current``, ``todo``, ``failed`` (it cannot be segmented as asked) or ``set aside``.
    subject : Subject or None
        What failures are counted of, where they are.
    job : SegmentJob or None
        Its segmentation, where there is one to do.
    run : str
        Folder of the run that the job belongs to.
    error : str
        Why it failed, now or when it was set aside.
    """

    dataset: Dataset
    state: str
    subject: Subject | None = None
    job: SegmentJob | None = None
    run: str = ""
    error: str = ""


def look_at_all(job: ReconcileJob) -> tuple[Look, ...]:
    """What there is to do about every image that a job names, in their order.

    Raises
    ------
    RequestError, StorageError, FileNotFoundError
        If the catalog, the prefix or the bundle cannot be used; a single image that cannot be
        used is a look that says so.
    """
    model = open_model(job.model)
    found = find_datasets(job, (job.target,))
    with ThreadPoolExecutor(LOOKS_AT_ONCE) as threads:
        return tuple(threads.map(partial(look_at, job, model), found))


def look_at(job: ReconcileJob, model: Model, dataset: Dataset) -> Look:
    """What there is to do about one image.

    Parameters
    ----------
    model : Model
        The job's, which is the same for all images.
    """
    subject = Subject(_runs(job, dataset), job.name, asked_digest(job, model.digest), None)
    try:
        look, prepared = planned(job, model, dataset)
        subject = replace(subject, image=str(prepared.identity["image"]))
        if has_mask(prepared, subject.runs, job.name):
            return Look(dataset, CURRENT, subject)
    except (ValueError, OSError) as error:
        subject = replace(subject, image=subject.image or _digest(dataset))
        look = Look(dataset, FAILED, error=message(error))
    return _unless_set_aside(job, replace(look, subject=subject), subject)


def look_at_chosen(job: ReprocessJob) -> tuple[Look, ...]:
    """The segmentation of every image that a job names, whatever masks it has.

    Raises
    ------
    RequestError, StorageError, FileNotFoundError
        If a catalog, a prefix or the bundle cannot be used.
    """
    model = open_model(job.model)
    found = find_datasets(job, job.datasets)
    return tuple(_look_at_chosen(job, model, dataset) for dataset in found)


def _look_at_chosen(job: ReprocessJob, model: Model, dataset: Dataset) -> Look:
    try:
        return planned(job, model, dataset)[0]
    except (ValueError, OSError) as error:
        return Look(dataset, FAILED, error=message(error))


def planned(job: ManyVolumesJob, model: Model, dataset: Dataset) -> tuple[Look, Prepared]:
    """The segmentation of one image, to do, and what it is made concrete to.

    Raises
    ------
    RequestError, StorageError, OSError
        If the image cannot be segmented as asked.
    """
    wanted = segment_job(job, dataset)
    prepared = prepare(wanted, model)
    run = join_url(_runs(job, dataset), f"{job.name}-{prepared.key}")
    return Look(dataset, TODO, job=wanted, run=run), prepared


def has_mask(prepared: Prepared, runs: str, name: str) -> bool:
    """Whether the mask that a job would make was made, and published, and readers see one.

    Readers may see another version by now, which somebody has chosen.

    Parameters
    ----------
    runs : str
        Folder of all runs over the image.
    name : str
        Of the mask volume.
    """
    shown = current_version(prepared.container, name)
    base = f"{name}-{prepared.key}"
    candidates = [shown] if shown and shown.startswith(f"{base}-") else []
    return shown is not None and any(
        _is_of(Blobs(join_url(runs, directory)), prepared.digest)
        for directory in (base, *candidates)
    )


def is_done_now(look: Look) -> bool:
    """Whether another has done since what a look has found to do; a forced version never is."""
    if look.job is None or look.job.force:
        return False
    runs = look.run.rpartition("/")[0]
    return has_mask(prepare(look.job), runs, look.job.name)


def message(error: Exception) -> str:
    """An error in words."""
    return str(error) or type(error).__name__


def _is_of(run: Blobs, digest: str) -> bool:
    return is_finished(run) and read_run(run, (SEGMENT,))["digest"] == digest


def _unless_set_aside(job: ReconcileJob, found: Look, subject: Subject) -> Look:
    """What was found, or that the image has failed too often to be tried again."""
    if job.retry:
        return found
    count, error = failures(subject)
    if count < MOST_FAILURES:
        return found
    return Look(found.dataset, SET_ASIDE, subject, error=found.error or error)


def _runs(job: ManyVolumesJob, dataset: Dataset) -> str:
    """Folder of all runs over an image, which need not be one."""
    if job.runs:
        return normalize_url(join_url(job.runs, dataset.name))
    return f"{join_url(normalize_url(job.out), dataset.name) if job.out else dataset.url}.runs"


def _digest(dataset: Dataset) -> str | None:
    """Digest of an image; None where there is none that can be opened."""
    try:
        return image_digest(open_image(dataset.url))
    except (ValueError, OSError):
        return None
