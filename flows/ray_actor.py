"""What runs in a Ray worker: the work is opened once, then items are done a few at a time."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.evidence import Evidence, Whereabouts, evidence_of
from flows.executors import describe, is_fatal, logger
from flows.logs import log_fields, start_logs
from segmentation.networks.runtime import import_keras

if TYPE_CHECKING:
    from flows.executors import Work


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a worker is told beside its work.

    Attributes
    ----------
    fields : dict
        Fields of every line of its log.
    logs : bool
        Whether it writes lines of JSON.
    """

    fields: dict[str, Any] = field(default_factory=dict)
    logs: bool = False


@dataclass(frozen=True, slots=True)
class Failure:
    """An item that failed, as a worker tells the driver."""

    message: str
    fatal: bool
    evidence: Evidence


class Actor:
    """Runs in a Ray worker process."""

    def warm(self, network: bool) -> None:
        """Import what the work will need, before there is any."""
        import flows.work  # noqa: F401 for its own sake

        if network:
            import_keras()

    def open(self, work: Work, surroundings: Surroundings) -> Whereabouts:
        """Open the work; called once, before the first item. Where this process is."""
        import ray

        self.fields = surroundings.fields
        if surroundings.logs:
            start_logs()
        started = time.perf_counter()
        context = ray.get_runtime_context()
        logs = Path(context.get_temp_dir(), context.get_session_name(), "logs")
        self.worker = Whereabouts.here(str(logs))
        self.function = work.open()
        with log_fields(**self.fields):
            seconds = round(time.perf_counter() - started, 3)
            logger.info("worker is ready", extra={"event": "worker-ready", "seconds": seconds})
        return self.worker

    def run(self, item: int) -> Any:
        """Result of one item, or the exception it raised."""
        with log_fields(**self.fields, shard=item):
            started = time.perf_counter()
            try:
                result = self.function(item)
            except Exception as error:
                message = describe(error)
                extra = {"event": "attempt-failed", "error": message}
                logger.info("shard %d failed: %s", item, message, extra=extra)
                return Failure(message, is_fatal(error), evidence_of(error, self.worker))
            seconds = round(time.perf_counter() - started, 3)
            logger.info(
                "shard %d is done", item, extra={"event": "shard-computed", "seconds": seconds}
            )
            return result
