"""Repair of a mask volume in place: what is missing or wrong is made anew, and nothing else.

Every object is put atomically, so readers of a published version see what was there or what
belongs there. The job is the one of ``run.json``; an image or a bundle that has changed since
would give other voxels, and is refused.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from flows.check import find_version, problem_line, told
from flows.errors import RequestError, VerificationError
from flows.executors import WorkerStartError, stop_on_signals
from flows.jobs import SegmentJob, make_job
from flows.mask_records import read_document
from flows.mending import Mended, mend
from flows.pool import chosen, make_executor, threads_per_worker
from flows.prepare import Prepared, check_writable, prepare, runs_url
from flows.progress import Progress
from flows.publishing import VERIFIED, leave_proof
from flows.record_check import remove_bad_records
from flows.recorded_mask import mask_of
from flows.run import DAMAGE, Run, new_attempt
from flows.run_document import read_object
from flows.run_lease import hold_run
from flows.shard_stage import resumable
from flows.small_volumes import scheduler_for
from flows.stages import infer
from flows.verification import inspect
from segmentation.plan import ShardPlan
from storage.blobs import Blobs
from storage.errors import StorageError
from storage.stores import join_url

if TYPE_CHECKING:
    import threading

    from flows.executors import Executor
    from flows.jobs import RepairJob

ADVICE = "repair writes there"
# Parts of a run's identity that may change behind its back.
DECIDING = {"image": "image", "bundle": "bundle", "skipping": "level that shows empty blocks"}


def repair_labels(job: RepairJob) -> dict[str, Any]:
    """Verify a mask in full, mend what was found, verify again.

    Returns
    -------
    dict
        The problems that were found, and what was done about them.

    Raises
    ------
    RequestError, StorageError
        If there is no run, or its image or bundle are not what they were; nothing was changed.
    IncompleteRunError
        If another command is at work on the run, or shards failed.
    VerificationError
        If something is still wrong.
    """
    container, directory = find_version(job)
    url = join_url(runs_url(job, container), directory)
    document = read_document(Blobs(url))
    if not Blobs(url).exists("result.json"):
        raise RequestError(
            f"{directory} was never finished; run its segment command, which goes on where it was"
        )
    saved = _saved_job(job, document, container)
    prepared = _as_it_was(saved, document)
    for place in (container, url):
        check_writable(place, ADVICE)
    saved = chosen(saved, len(prepared.plan))
    executor = make_executor(saved)
    try:
        with (
            resumable(url, OSError, WorkerStartError),
            stop_on_signals() as stop,
            hold_run(url, f"repair-{uuid4().hex[:8]}", stop),
        ):
            run = Run(saved, prepared, directory, url, "", document["intensity"])
            return {"labels": directory} | _repair(run, executor, stop)
    finally:
        executor.close()


def _saved_job(job: RepairJob, document: dict[str, Any], container: str) -> SegmentJob:
    """The job of the run, for the executor that is asked for now."""
    saved = {k: v for k, v in document["job"].items() if v is not None}
    place = {"out": container} if "out" in saved else {"image": container}
    wanted = {
        "executor": job.executor,
        "workers": job.workers,
        "gpus_per_worker": job.gpus_per_worker,
        "address": job.address,
        "runs": job.runs,
    }
    memory = {} if job.memory is None else {"memory": job.memory}
    return make_job(SegmentJob, saved | place | wanted | memory)


def _as_it_was(job: SegmentJob, document: dict[str, Any]) -> Prepared:
    """The job made concrete, with the plan as it was first made.

    Raises
    ------
    RequestError
        If image or bundle are not what they were.
    """
    prepared = _prepared(job)
    for part, named in DECIDING.items():
        if prepared.identity.get(part) != document["identity"].get(part):
            raise RequestError(
                f"the {named} is not what it was when the mask was made, so other voxels would "
                "come out; restore it, or make a new mask with `maskmill segment`"
            )
    plan = ShardPlan.from_dict(document["plan"])
    return replace(prepared, plan=plan, digest=document["digest"], identity=document["identity"])


def _prepared(job: SegmentJob) -> Prepared:
    """The job made concrete; without its truth, if that is gone: the mask does not need it."""
    try:
        return prepare(job)
    except (RequestError, StorageError):
        if job.truth is None:
            raise
        return prepare(job.model_copy(update={"truth": None}))


def _repair(run: Run, executor: Executor, stop: threading.Event) -> dict[str, Any]:
    records = remove_bad_records(mask_of(run))
    run = replace(run, attempt=new_attempt(run.blobs, datetime.now(UTC)))
    scheduler = scheduler_for(executor, run.plan.shape)
    found = inspect(mask_of(run), scheduler)

    def redo(shards: frozenset[int]) -> None:
        infer(run, executor, stop, Progress, threads=threads_per_worker(run.job), redo=shards)

    done = Mended()
    if found.problems:
        done = mend(run, executor, found, redo, proven=_is_proven(run))
    left = inspect(mask_of(run), scheduler) if found.problems else found
    if left.problems:
        result = {"labels": run.directory, "problems": [told(problem) for problem in left.problems]}
        raise VerificationError(f"{run.directory} could not be mended: {left.message()}", result)
    leave_proof(run, left.checked)
    run.blobs.delete(DAMAGE)
    problems = [told(problem) for problem in found.problems]
    return {"problems": problems, "records": records, **asdict(done), "objects": left.objects}


def _is_proven(run: Run) -> bool:
    """Whether the run was verified whole, so that its levels are made from what is recorded."""
    if not run.blobs.exists(VERIFIED):
        return False
    return bool(read_object(run.blobs, VERIFIED).get("digest") == run.prepared.digest)


def repaired_text(result: dict[str, Any]) -> str:
    """A repair for the terminal: what was wrong, what was done, that it is whole now."""
    lines = [f"  {problem_line(problem)}" for problem in result["problems"]]
    lines += [f"  {key}: bad records, removed" for key in result["records"]]
    counts = {
        "shards computed again": len(result["shards"]),
        "cells of coarser levels made again": sum(map(len, result["cells"].values())),
        "metadata objects restored": len(result["metadata"]),
        "foreign objects removed": len(result["removed"]),
        "record objects cleaned": len(result["records"]),
    }
    done = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    total = sum(result["objects"].values())
    text = "".join(f"{line}\n" for line in lines)
    return f"{text}{result['labels']}: {done or 'nothing to do'}; {total} objects are whole\n"
