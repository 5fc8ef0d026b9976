"""A stage whose items are shards: what has no record yet is computed, recorded, or told apart."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from logging import getLogger
from typing import TYPE_CHECKING, Any

import numpy as np

from flows.errors import IncompleteRunError
from flows.executors import describe as describe_error
from flows.logs import is_logging, log_fields, start_logs
from flows.tally import Tally, incomplete, shard_counts, write_failure
from storage.blobs import Blobs
from storage.manifest import RunManifest
from storage.record_writer import RecordWriter

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator

    from flows.executors import Executor, Outcome, Work
    from flows.progress import ProgressMaker

logger = getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ShardStage:
    """One stage of a run.

    Attributes
    ----------
    url : str
        Run folder.
    digest : str
        Of the job.
    name : str
        Of the stage, such as ``infer``.
    planned : int
        Number of its items.
    attempt : str
        Sorts after every earlier attempt.
    """

    url: str
    digest: str
    name: str
    planned: int
    attempt: str

    @property
    def blobs(self) -> Blobs:
        """The run folder."""
        return Blobs(self.url)

    @property
    def manifest(self) -> RunManifest:
        """Records of finished work."""
        return RunManifest(self.blobs, self.digest)

    def writer(self) -> RecordWriter:
        """Writer of the stage's records."""
        return RecordWriter(self.blobs, self.digest, self.name, self.planned, self.attempt)

    def records(self) -> Iterator[dict[str, Any]]:
        """The record that counts of every finished item."""
        return self.manifest.records(self.name, self.planned)

    def check_complete(self) -> None:
        """Refuse to merge what is not all there: a missing shard would count as nothing.

        Raises
        ------
        IncompleteRunError
            If an item has no good record.
        """
        done = self.completed()
        missing = int(np.count_nonzero(~done))
        if missing:
            raise IncompleteRunError(
                f"{missing} of {self.planned} shards have no record; run the same command to go on",
                {"run": self.url, "shards": shard_counts(self.planned, self.planned - missing)},
            )

    def completed(self) -> np.ndarray:
        """Which items have a good record; bool of shape (planned,)."""
        return self.manifest.completed(self.name, self.planned)


@dataclass(frozen=True, slots=True)
class Execution:
    """Where items are done, what stops them at the next item, what shows how far they are."""

    executor: Executor
    stop: threading.Event
    progress: ProgressMaker


def complete(
    stage: ShardStage,
    work: Work,
    execution: Execution,
    *,
    label: str,
    describe: Callable[[int, Any], dict[str, Any]],
    redo: frozenset[int] = frozenset(),
    skip: np.ndarray | None = None,
) -> None:
    """Do every item of a stage that has no good record, and those to redo.

    Parameters
    ----------
    stage : ShardStage
        Where the records are.
    work : Work
        What workers do with an item.
    execution : Execution
        Where and how.
    label : str
        Of the progress, such as ``segmenting``.
    describe : callable
        Item and result as fields of the record, or with None of the failure.
    redo : frozenset of int
        Items to do although they have a record.
    skip : numpy.ndarray, optional
        bool of shape (planned,): items that need no record here.

    Raises
    ------
    IncompleteRunError
        If items failed or a stop was asked for; the run's folder says which.
    """
    if is_logging():
        start_logs()
    tally = Tally(stage.completed())
    tally.done[list(redo)] = False
    if skip is not None:
        tally.done |= skip
    with log_fields(run=stage.url, stage=stage.name, attempt=stage.attempt), _told(tally):
        _do(stage, work, execution, tally, label=label, describe=describe)
    if not tally.done.all():
        raise incomplete(stage.url, tally, stopped=execution.stop.is_set() and not tally.failed)


def _do(
    stage: ShardStage,
    work: Work,
    execution: Execution,
    tally: Tally,
    *,
    label: str,
    describe: Callable[[int, Any], dict[str, Any]],
) -> None:
    """Every item that is not done, as far as it goes."""
    todo = (int(i) for i in np.flatnonzero(~tally.done))
    with (
        stage.writer() as writer,
        execution.progress(label, stage.planned, int(tally.done.sum())) as shown,
    ):
        for outcome in execution.executor.map(work, todo, execution.stop):
            known = {"attempt": stage.attempt, "attempts": outcome.attempts}
            known |= describe(outcome.item, outcome.result)
            if outcome.error is None:
                writer.append(outcome.item, known)
                tally.done[outcome.item] = True
                shown.advance()
            else:
                file = write_failure(stage.blobs, outcome, stage.name, stage.attempt, known)
                tally.fail(outcome.item, outcome.error, file)
            _tell(outcome)


@contextmanager
def _told(tally: Tally) -> Iterator[None]:
    """Tell the log where a stage begins and ends."""
    started, planned, done = time.monotonic(), len(tally.done), int(tally.done.sum())
    extra = {"event": "stage-started", "planned": planned, "done": done}
    logger.info("%d of %d shards are to do", planned - done, planned, extra=extra)
    try:
        yield
    finally:
        done = int(tally.done.sum())
        extra = {"event": "stage-ended", "planned": planned, "done": done, "failed": tally.failed}
        extra["seconds"] = round(time.monotonic() - started, 3)
        logger.info("%d of %d shards are done", done, planned, extra=extra)


def _tell(outcome: Outcome) -> None:
    """Tell the log what became of a shard."""
    extra: dict[str, Any] = {"shard": outcome.item, "attempts": outcome.attempts}
    if outcome.error is None:
        seconds = getattr(outcome.result, "seconds", {})
        extra |= {"event": "shard-done", "seconds": seconds}
        logger.info("shard %d is done", outcome.item, extra=extra)
    else:
        extra |= {"event": "shard-failed", "error": outcome.error, "fatal": outcome.fatal}
        logger.info("shard %d failed: %s", outcome.item, outcome.error, extra=extra)


@contextmanager
def resumable(url: str, *errors: type[Exception]) -> Iterator[None]:
    """Say how to go on when a store or a worker gives up in mid-run."""
    try:
        yield
    except errors as error:
        raise IncompleteRunError(
            f"{describe_error(error)}; what is finished is recorded, run the same command to go on",
            {"run": url},
        ) from error
