"""What a command has started before its flow begins: the executor, and when all this began.

A flow takes a job and nothing else, so what is there already waits for it here::

    with early_executor(job, began) as executor:    # Ray starts while Prefect is imported
        segment_volume(job)                         # takes this executor
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flows.pool import make_executor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flows.executors import Executor
    from flows.jobs import SegmentJob


@dataclass(frozen=True, slots=True)
class Early:
    """An executor that is starting for a job, and when the command began (`time.monotonic`)."""

    job: SegmentJob
    executor: Executor
    began: float


_EARLY: ContextVar[Early | None] = ContextVar("early", default=None)


@contextmanager
def early_executor(job: SegmentJob, began: float) -> Iterator[Executor]:
    """Have the executor of a job made ahead of its flow; it is closed when the context ends.

    Parameters
    ----------
    job : SegmentJob
        With the executor that was chosen.
    began : float
        When the command began, by `time.monotonic`.
    """
    executor = make_executor(job)
    token = _EARLY.set(Early(job, executor, began))
    try:
        yield executor
    finally:
        _EARLY.reset(token)
        executor.close()


def take_executor(job: SegmentJob) -> Executor:
    """The executor that was made ahead for this very job, else one of its own."""
    early = _EARLY.get()
    return early.executor if early is not None and early.job == job else make_executor(job)


def startup_seconds(job: SegmentJob) -> dict[str, float]:
    """Seconds from the begin of the command until now, where it is known; for a list of stages."""
    early = _EARLY.get()
    if early is None or early.job != job:
        return {}
    return {"start": round(time.monotonic() - early.began, 3)}
