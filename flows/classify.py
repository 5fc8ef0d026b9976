"""The flow that classifies images: one Prefect task for each stage, never for an image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows.artifacts import artifact_progress, leave_link, leave_table
from flows.classify_run import run_classification
from flows.deployment_hooks import say_how_to_resume, stopping_in_time
from flows.jobs import ClassifyJob
from flows.report.classification_text import class_rows, headline

if TYPE_CHECKING:
    from collections.abc import Callable


@flow(
    name="classify-images",
    validate_parameters=True,
    on_failure=[say_how_to_resume],
    on_crashed=[say_how_to_resume],
    on_cancellation=[say_how_to_resume],
)
def classify_images(job: ClassifyJob) -> dict[str, Any]:
    """One prediction for every image, as `flows.classify_run` gives them.

    Raises
    ------
    IncompleteRunError
        If images are left to do, and then the same job goes on from there; or if some could not
        be read.
    """
    with stopping_in_time():
        result = run_classification(job, wrap=_as_task, progress=artifact_progress)
    _leave_artifacts(result)
    return result


def _as_task(name: str, stage: Callable[..., Any]) -> Callable[..., Any]:
    return task(name=name, cache_policy=NO_CACHE, persist_result=False)(stage)


def _leave_artifacts(result: dict[str, Any]) -> None:
    """Leave classes, scores and the link to the report with Prefect."""
    key = f"maskmill-{result['digest'][:8]}"
    heads, rows = class_rows(result)
    table = [dict(zip(heads, row, strict=True)) for row in rows]
    leave_table(table, key=f"{key}-classes", description=headline(result))
    leave_link(result["report"], key=f"{key}-report")
