"""The flow that evaluates a mask volume: one Prefect task for each stage, never for a shard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows.artifacts import artifact_progress, leave_artifacts
from flows.evaluation_run import run_evaluation
from flows.jobs import EvaluateJob

if TYPE_CHECKING:
    from collections.abc import Callable


@flow(name="evaluate-volume", validate_parameters=True)
def evaluate_volume(job: EvaluateJob) -> dict[str, Any]:
    """Scores of a mask volume against the truth, as `flows.evaluation_run` gives them.

    Raises
    ------
    IncompleteRunError
        If shards are left to do; the same job goes on from there.
    """
    result = run_evaluation(job, wrap=_as_task, progress=artifact_progress)
    key = result["digest"][:8]
    leave_artifacts(result, key=key, name=job.labels, report=result["report"])
    return result


def _as_task(name: str, stage: Callable[..., Any]) -> Callable[..., Any]:
    return task(name=name, cache_policy=NO_CACHE, persist_result=False)(stage)
