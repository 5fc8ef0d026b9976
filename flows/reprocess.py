"""The flow that segments chosen volumes on demand.

Readers keep the masks they have until a new version is verified and published in one write. By
hand it is ``maskmill segment``, with ``--force`` for a version that has been made before.
"""

from __future__ import annotations

from typing import Any

from prefect import flow, task  # noqa: TID251 a flow file
from prefect.cache_policies import NO_CACHE  # noqa: TID251

from flows.deployment_hooks import say_how_to_resume, stopping_in_time
from flows.jobs import ReprocessJob
from flows.outdated import Look, look_at_chosen
from flows.reconcile import segment_all
from flows.reconcile_result import finish


@flow(
    name="reprocess",
    validate_parameters=True,
    on_failure=[say_how_to_resume],
    on_crashed=[say_how_to_resume],
    on_cancellation=[say_how_to_resume],
)
def reprocess_volumes(job: ReprocessJob) -> dict[str, Any]:
    """Segment the images that are named, each on its own.

    Returns
    -------
    dict
        URLs of the images by what became of them: ``done``, ``current`` (made before, and not
        forced), ``busy``, and ``failed`` with their errors.

    Raises
    ------
    IncompleteRunError
        If images have failed, another command is at work on one, or a stop was asked for.
    """
    with stopping_in_time():
        return finish(segment_all(choose(job)), needs_all=True)


@task(name="choose", cache_policy=NO_CACHE, persist_result=False)
def choose(job: ReprocessJob) -> tuple[Look, ...]:
    """Find the images and check what can be known before any is segmented."""
    return look_at_chosen(job)
