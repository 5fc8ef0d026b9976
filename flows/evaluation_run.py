"""A whole evaluation, stage by stage, with or without Prefect around the stages."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from flows.evaluation import Evaluation, open_evaluation, prepare_evaluation
from flows.evaluation_stages import collect, count_shards, join_components
from flows.executors import WorkerStartError, stop_on_signals
from flows.pool import chosen, make_executor, worker_count
from flows.progress import Progress
from flows.run import new_attempt
from flows.run_report import REPORT, write_evaluation_report
from flows.shard_stage import Execution, resumable
from flows.stage_clock import StageClock, plain
from storage.errors import StorageError
from storage.requests import Lap

if TYPE_CHECKING:
    from flows.jobs import EvaluateJob
    from flows.progress import ProgressMaker
    from flows.stage_clock import Wrap


def run_evaluation(
    job: EvaluateJob,
    *,
    wrap: Wrap = plain,
    progress: ProgressMaker = Progress,
) -> dict[str, Any]:
    """Evaluate, write result and report.

    Parameters
    ----------
    job : EvaluateJob
        What is compared with what.
    wrap : callable
        Gets the name of a stage and its function; the function it gives back is called.
    progress : callable
        Shows how far a stage is.

    Returns
    -------
    dict
        result.json, with the places of the run and the report.

    Raises
    ------
    RequestError, StorageError, ValueError
        Before anything is written, if mask and truth do not fit each other.
    IncompleteRunError
        If shards are left to do; the same job goes on from there.
    """
    clock, lap = StageClock(wrap), Lap()
    evaluation: Evaluation = clock.run("plan", prepare_evaluation, job)
    if all(map(evaluation.blobs.exists, ("result.json", REPORT))):
        known: dict[str, Any] = json.loads(evaluation.blobs.read("result.json"))
        return known | _places(evaluation) | {"already_done": True, "requests": lap()}
    evaluation = replace(evaluation, job=chosen(job, len(evaluation.work)))
    executor = make_executor(evaluation.job)
    try:
        with (
            stop_on_signals() as stop,
            resumable(evaluation.url, OSError, StorageError, WorkerStartError),
        ):
            attempt = new_attempt(evaluation.blobs, datetime.now(UTC))
            evaluation = open_evaluation(replace(evaluation, attempt=attempt))
            execution = Execution(executor, stop, progress)
            clock.run("count", count_shards, evaluation, execution)
            clock.run("join", join_components, evaluation, execution)
            result: dict[str, Any] = clock.run("aggregate", collect, evaluation)
            clock.run("report", write_evaluation_report, evaluation, result, clock.seconds)
            requests = lap()
            _write_timings(evaluation, clock.seconds, requests)
    finally:
        executor.close()
    return result | _places(evaluation) | {"requests": requests}


def _places(evaluation: Evaluation) -> dict[str, Any]:
    return {"run": evaluation.url, "report": f"{evaluation.url}/{REPORT}"}


def _write_timings(
    evaluation: Evaluation, seconds: dict[str, float], requests: dict[str, int]
) -> None:
    document = {
        "schema": 1,
        "attempt": evaluation.attempt,
        "executor": evaluation.job.executor,
        "workers": worker_count(evaluation.job),
        "seconds": seconds,
        "requests": requests,
        "voxels": sum(case.plan.region.voxels for case in evaluation.cases),
    }
    evaluation.blobs.write("timings.json", json.dumps(document, indent=2).encode())
