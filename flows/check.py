"""Verification of a mask volume that is there: by any command, at any time after it was made."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from flows.errors import VerificationError
from flows.mask_records import recorded_mask
from flows.pool import make_reading_executor
from flows.prepare import runs_url
from flows.run import DAMAGE, INFER, SCHEMA
from flows.verification import Inspection, Sample, inspect
from storage.blobs import Blobs
from storage.label_names import LABELS, check_name, is_version_of
from storage.labels import listed
from storage.stores import join_url, normalize_url
from storage.volume import open_image, open_label

if TYPE_CHECKING:
    from flows.jobs import LabelJob, VerifyJob
    from storage.graphs import Scheduler
    from storage.verify import Problem

PROBLEMS_SHOWN = 20


def verify_labels(job: VerifyJob) -> dict[str, Any]:
    """Records, listing and bytes of a mask volume, compared.

    Returns
    -------
    dict
        Number of objects by stage, how many were read, and an empty list of problems.

    Raises
    ------
    RequestError
        If the mask was not made by a run, or its records are gone.
    VerificationError
        With every problem in its result, the first ones in its message.
    """
    container, directory = find_version(job)
    run = Blobs(join_url(runs_url(job, container), directory))
    executor = make_reading_executor(job)
    try:
        mask = recorded_mask(container, directory, run.url)
        found = inspect(mask, executor.dask_scheduler(), Sample(job.sample, job.seed))
    finally:
        executor.close()
    result = {"labels": directory, "objects": found.objects, "checked": found.checked}
    result["problems"] = [told(problem) for problem in found.problems]
    if found.problems:
        _note_damage(run, found)
        raise VerificationError(_message(result), result)
    if job.sample == 1:
        # On a disk that may only be read there is nothing to forget, or nobody who can.
        with suppress(OSError):
            run.delete(DAMAGE)
    return result


def check_version(
    container: str, directory: str, run_url: str, scheduler: Scheduler
) -> list[Problem]:
    """Everything that is wrong with a version; every byte is read.

    Raises
    ------
    RequestError, VerificationError
        See `verify_labels`.
    """
    return inspect(recorded_mask(container, directory, run_url), scheduler).problems


def told(problem: Problem) -> dict[str, Any]:
    """A problem as plain data."""
    item = "shard" if problem.stage == INFER else "item"
    fields = {"kind": problem.kind, "stage": problem.stage, item: problem.item, "key": problem.key}
    return {k: v for k, v in fields.items() if v not in (None, "")} | {"detail": problem.detail}


def verified_text(result: dict[str, Any]) -> str:
    """A verification that has found nothing, for the terminal."""
    total = sum(result["objects"].values())
    sampled = f", {result['checked']} of them were read" * (result["checked"] < total)
    return f"{result['labels']}: {total} stored objects are what their records say{sampled}\n"


def _message(result: dict[str, Any]) -> str:
    """A verification that has found something: one line for each problem."""
    lines = [problem_line(problem) for problem in result["problems"][:PROBLEMS_SHOWN]]
    more = len(result["problems"]) - len(lines)
    lines += [f"and {more} more; --json tells them all"] * (more > 0)
    found, total = len(result["problems"]), sum(result["objects"].values())
    return (
        f"{found} problem{'s' * (found != 1)} with the {total} stored objects of "
        f"{result['labels']} or their records:"
        + "".join(f"\n  {line}" for line in lines)
        + "\n`maskmill repair`, or the same segment command, makes anew what is missing or wrong"
    )


def problem_line(problem: dict[str, Any]) -> str:
    """One problem in one line."""
    detail = f": {problem['detail']}" if problem["detail"] else ""
    return f"{problem['key']}: {problem['kind']}{detail}"


def _note_damage(run: Blobs, found: Inspection) -> None:
    """Let the same job know that the run is not finished any more."""
    shown = [str(problem) for problem in found.problems[:PROBLEMS_SHOWN]]
    document = {"schema": SCHEMA, "problems": shown, "number": len(found.problems)}
    # A check may be made by somebody who may only read; what was found is told anyway.
    with suppress(OSError):
        run.write(DAMAGE, json.dumps(document).encode())


def find_version(job: LabelJob) -> tuple[str, str]:
    """Where ``labels/`` is and the folder in it; a mask whose metadata is damaged counts too."""
    if f"/{LABELS}/" in job.labels:
        container, _, directory = normalize_url(job.labels).rpartition(f"/{LABELS}/")
        return container, directory
    container = normalize_url(job.image)
    for directory in listed(container):
        if is_version_of(directory, job.labels):
            return container, directory
    if Blobs(runs_url(job, container)).exists(f"{check_name(job.labels)}/run.json"):
        return container, job.labels
    label = open_label(open_image(container).url, job.labels)
    return container, label.url.rsplit("/", 1)[-1]
