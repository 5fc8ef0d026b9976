"""The flow that evaluates a mask volume: one Prefect task for each stage, never for a shard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows.artifacts import artifact_progress, leave_artifacts, leave_picture
from flows.deployment_hooks import say_how_to_resume, stopping_in_time
from flows.evaluation_run import run_evaluation
from flows.jobs import EvaluateJob
from flows.pictures import worst_picture
from flows.run_report import evaluation_scene

if TYPE_CHECKING:
    from collections.abc import Callable

    from flows.evaluation import Evaluation


@flow(
    name="evaluate-volume",
    validate_parameters=True,
    on_failure=[say_how_to_resume],
    on_crashed=[say_how_to_resume],
    on_cancellation=[say_how_to_resume],
)
def evaluate_volume(job: EvaluateJob) -> dict[str, Any]:
    """Scores of a mask volume against the truth, as `flows.evaluation_run` gives them.

    Raises
    ------
    IncompleteRunError
        If shards are left to do; the same job goes on from there.
    """
    with stopping_in_time():
        result = run_evaluation(job, wrap=_as_task, progress=artifact_progress)
    key = result["digest"][:8]
    leave_artifacts(result, key=key, name=job.labels, report=result["report"])
    return result


def _as_task(name: str, stage: Callable[..., Any]) -> Callable[..., Any]:
    with_picture = _and_leave_picture(stage) if name == "report" else stage
    return task(name=name, cache_policy=NO_CACHE, persist_result=False)(with_picture)


def _and_leave_picture(write: Callable[..., str]) -> Callable[..., str]:
    """The stage that writes the report, and leaves the worst section with Prefect."""

    def write_and_leave(
        evaluation: Evaluation, result: dict[str, Any], seconds: dict[str, float]
    ) -> str:
        report = write(evaluation, result, seconds)
        picture = worst_picture(evaluation_scene(evaluation), result)
        leave_picture(picture, key=evaluation.digest[:8])
        return report

    return write_and_leave
