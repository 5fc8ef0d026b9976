"""The verb ``segment``: what it has started before its flow, and in which order.

Prefect's server, Ray and TensorFlow each take seconds to start, most of them in processes or
threads of their own, and so does the import of Prefect in this one. ::

    server   ├─ starts ───────────────┤ answers
    command  ├─ checks ─┬─ imports Prefect ─┬─ flow: plan, infer, …
    Ray                 ├─ starts ─┬─ workers import Keras ─┤
    or Keras                                ├─ import ─┤            (serial executor)
"""

from __future__ import annotations

import time
from logging import getLogger
from typing import TYPE_CHECKING, Any

from flows.prefect_server import early_server

if TYPE_CHECKING:
    from flows.jobs import SegmentJob
    from flows.prefect_server import Server

logger = getLogger(__name__)


def run_segment(job: SegmentJob) -> dict[str, Any]:
    """Segment a volume, with a server for the time of the command where none is configured.

    Raises
    ------
    RequestError, StorageError, ValueError
        For what is wrong with the request; what was started is gone again, nothing was changed.
    IncompleteRunError
        If shards are left to do; the same job goes on from there.
    """
    began = time.monotonic()
    _tell("command-began", "the request is looked at")
    with early_server() as server:
        job, is_short = _checked(job)
        _tell("request-checked", f"the request is good, the executor {job.executor}")
        result = _segment(job, server, began=began, is_short=is_short)
    _tell("command-ended", "server and executor are gone")
    return result


def _tell(event: str, text: str) -> None:
    logger.info("%s", text, extra={"event": event})


def _checked(job: SegmentJob) -> tuple[SegmentJob, bool]:
    """The job with its executor, and whether its start is worth hurrying up.

    Most errors are known from metadata alone, and those of small volumes from their voxels.
    """
    from flows.pool import chosen
    from flows.prepare import prepare, runs_url
    from flows.run import is_finished, run_directory
    from flows.run_lease import check_free
    from flows.scoring import check_small_volume
    from flows.small_volumes import is_small
    from storage.blobs import Blobs
    from storage.stores import join_url

    prepared = prepare(job)
    url = join_url(runs_url(job, prepared.container), run_directory(job, prepared))
    check_free(url)
    check_small_volume(prepared, job.ignore_label)
    is_short = is_small(prepared.image.volumes[0].shape) and not is_finished(Blobs(url))
    return chosen(job, len(prepared.plan)), is_short


def _segment(
    job: SegmentJob, server: Server | None, *, began: float, is_short: bool
) -> dict[str, Any]:
    from flows.early import early_executor
    from flows.work import IDENTITY

    has_network = job.model != IDENTITY
    with early_executor(job, began) as executor:
        if is_short and job.executor == "ray":
            executor.warm(has_network)
        from flows.prefect_reach import reachable_server
        from flows.prefect_server import prefect_server
        from flows.segment import segment_volume

        if is_short:
            # In this process only now: two threads that import the same wait for each other.
            executor.warm(has_network)
        _tell("flow-imported", "Prefect and the flow are imported")
        with reachable_server(), prefect_server(server):
            result: dict[str, Any] = segment_volume(job)
            _tell("flow-ended", "the flow has ended")
            return result
