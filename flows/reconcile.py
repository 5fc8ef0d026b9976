"""The flow that segments what is missing or outdated, and nothing else.

By hand::

    maskmill reconcile s3://bucket/plates --model bundle --name cells

One task looks at every image; each segmentation is a flow run of its own with its stages, its
artifacts and its state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prefect import flow, get_run_logger, task  # noqa: TID251 a flow file
from prefect.cache_policies import NO_CACHE  # noqa: TID251

from flows.artifacts import leave_table
from flows.deployment_hooks import say_how_to_resume, stopping_in_time
from flows.executors import SerialExecutor, stop_on_signals
from flows.jobs import ReconcileJob
from flows.outdated import TODO, Look, look_at_all
from flows.pool import make_executor
from flows.reconcile_result import Tally, finish, reconciled_text, rows, summary
from flows.reconciliation import Segmenting, work_off
from flows.segment import segment_volume

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flows.jobs import SegmentJob

TABLE = "maskmill-volumes"


@flow(
    name="reconcile",
    validate_parameters=True,
    on_failure=[say_how_to_resume],
    on_crashed=[say_how_to_resume],
    on_cancellation=[say_how_to_resume],
)
def reconcile_volumes(job: ReconcileJob) -> dict[str, Any]:
    """Segment the images whose masks are missing or were made of something else.

    Returns
    -------
    dict
        URLs of the images by what became of them: ``done``, ``current``, ``busy``, and ``failed``
        and ``set_aside`` with their errors.

    Raises
    ------
    IncompleteRunError
        If images have failed, or a stop was asked for; the others are done.
    """
    with stopping_in_time():
        return finish(segment_all(look(job)))


@task(name="look", cache_policy=NO_CACHE, persist_result=False)
def look(job: ReconcileJob) -> tuple[Look, ...]:
    """Compare the published mask of every image with what the job would make."""
    return look_at_all(job)


def segment_all(looks: Sequence[Look]) -> Tally:
    """Segment one image after the other on the same workers; leave a table of what became of them.

    Raises
    ------
    IncompleteRunError
        If a stop was asked for, or there are no workers.
    """
    first = next((look.job for look in looks if look.job is not None and look.state == TODO), None)
    executor = SerialExecutor() if first is None else make_executor(first)
    try:
        with stop_on_signals() as stop:
            tally = work_off(looks, Segmenting(_segment, executor, stop))
    finally:
        executor.close()
    result = tally.result()
    get_run_logger().info("%s", reconciled_text(result).strip())
    leave_table(rows(result), key=TABLE, description=summary(result))
    return tally


def _segment(job: SegmentJob, name: str) -> dict[str, Any]:
    """One image, as a flow run that bears its name."""
    named = segment_volume.with_options(flow_run_name=lambda: name)
    result: dict[str, Any] = named(job)
    return result
