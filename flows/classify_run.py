"""A whole classification, stage by stage, with or without Prefect around the stages."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from flows.classification import SCHEMA, Classification, prepare_classification
from flows.classification_report import write_classification_report
from flows.classify_stages import RESULT, RUN, collect, is_ours, predict
from flows.classify_table import FILES
from flows.errors import IncompleteRunError
from flows.executors import WorkerStartError, stop_on_signals
from flows.pool import chosen, make_executor, worker_count
from flows.progress import Progress
from flows.run import new_attempt, versions
from flows.run_report import REPORT
from flows.shard_stage import Execution, resumable
from flows.stage_clock import StageClock, plain
from storage.errors import StorageError
from storage.requests import Lap
from storage.stores import join_url

if TYPE_CHECKING:
    from flows.jobs import ClassifyJob
    from flows.progress import ProgressMaker
    from flows.stage_clock import Wrap

NAMED = 3


def run_classification(
    job: ClassifyJob,
    *,
    wrap: Wrap = plain,
    progress: ProgressMaker = Progress,
) -> dict[str, Any]:
    """Classify, write table, result and report.

    Parameters
    ----------
    job : ClassifyJob
        What is classified with what.
    wrap : callable
        Gets the name of a stage and its function; the function it gives back is called.
    progress : callable
        Shows how far a stage is.

    Returns
    -------
    dict
        result.json, with the places of the results.

    Raises
    ------
    RequestError, StorageError, ValueError
        Before anything is written, if images, truth and bundle do not fit each other.
    IncompleteRunError
        If batches are left to do, and then the same job goes on from there; or, when everything
        else is done and written, if images could not be read.
    """
    clock, lap = StageClock(wrap), Lap()
    run: Classification = clock.run("plan", prepare_classification, job)
    known = finished(run)
    if known is not None:
        return checked(run, known | {"already_done": True})
    run = replace(run, job=chosen(job, len(run.work)))
    executor = make_executor(run.job)
    try:
        with (
            stop_on_signals() as stop,
            resumable(run.url, OSError, StorageError, WorkerStartError),
        ):
            run = replace(run, attempt=new_attempt(run.blobs, datetime.now(UTC)))
            clock.run("predict", predict, run, Execution(executor, stop, progress))
            result: dict[str, Any] = clock.run("score", collect, run)
            clock.run("report", write_classification_report, run, result)
            _write_run(run, clock.seconds, lap())
    finally:
        executor.close()
    return checked(run, result)


def finished(run: Classification) -> dict[str, Any] | None:
    """The result of this very job, if all that it writes is there."""
    written = (RESULT, REPORT, FILES[run.job.format])
    if not is_ours(run) or not all(map(run.blobs.exists, written)):
        return None
    known: dict[str, Any] = json.loads(run.blobs.read(RESULT))
    return known


def checked(run: Classification, result: dict[str, Any]) -> dict[str, Any]:
    """The result with its places.

    Raises
    ------
    IncompleteRunError
        If images could not be read.
    """
    result = result | {
        "run": run.url,
        "predictions": join_url(run.url, FILES[run.job.format]),
        "report": join_url(run.url, REPORT),
    }
    bad = result["unreadable"]
    if bad:
        shown = "; ".join(one["reason"] for one in bad[:NAMED])
        more = f"; and {len(bad) - NAMED} more" if len(bad) > NAMED else ""
        raise IncompleteRunError(
            f"{len(bad)} of {len(run.images.names)} images could not be read: {shown}{more}. The "
            f"others are done: see {result['predictions']}. Replace these images and run the same "
            "command again",
            result,
        )
    return result


def _write_run(run: Classification, seconds: dict[str, float], requests: dict[str, int]) -> None:
    """Say what was done; this comes last, so that a folder with it is whole."""
    timings = {
        "schema": SCHEMA,
        "attempt": run.attempt,
        "executor": run.job.executor,
        "workers": worker_count(run.job),
        "seconds": seconds,
        "requests": requests,
        "samples": len(run.images.names),
    }
    run.blobs.write("timings.json", json.dumps(timings, indent=2).encode())
    document = {
        "schema": SCHEMA,
        "kind": "classify",
        "digest": run.digest,
        "identity": run.identity,
        "job": run.job.model_dump(mode="json"),
        "truth": run.truth,
        "versions": versions(),
    }
    run.blobs.write(RUN, json.dumps(document, indent=2).encode())
