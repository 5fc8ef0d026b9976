"""A stage whose items are shards: what has no record yet is computed, recorded, or told apart."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from flows.errors import IncompleteRunError
from flows.evidence import without_secrets
from flows.executors import describe as describe_error
from storage.blobs import Blobs
from storage.manifest import RecordWriter, RunManifest
from storage.stores import join_url

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator

    from flows.executors import Executor, Outcome, Work
    from flows.progress import ProgressMaker

SCHEMA = 1
FAILURES_SHOWN = 3


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


@dataclass(slots=True)
class _Tally:
    """What became of the items so far."""

    done: np.ndarray
    failed: int = 0
    causes: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)

    def fail(self, item: int, error: str, file: str | None) -> None:
        """Count a failure; keep the first few causes and the first file about one."""
        self.failed += 1
        if len(self.causes) < FAILURES_SHOWN:
            self.causes.append(f"shard {item}: {error}")
        if file and not self.files:
            self.files.append(file)


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
    tally = _Tally(stage.completed())
    tally.done[list(redo)] = False
    if skip is not None:
        tally.done |= skip
    todo = (int(i) for i in np.flatnonzero(~tally.done))
    with (
        stage.writer() as writer,
        execution.progress(label, stage.planned, int(tally.done.sum())) as shown,
    ):
        for outcome in execution.executor.map(work, todo, execution.stop):
            if outcome.error is None:
                fields = describe(outcome.item, outcome.result)
                writer.append(outcome.item, _base(stage, outcome.attempts) | fields)
                tally.done[outcome.item] = True
                shown.advance()
            else:
                known = _base(stage, outcome.attempts) | describe(outcome.item, None)
                file = _write_failure(stage, outcome, known)
                tally.fail(outcome.item, outcome.error, file)
    if not tally.done.all():
        raise _incomplete(stage, tally, stopped=execution.stop.is_set() and not tally.failed)


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


def _base(stage: ShardStage, attempts: int) -> dict[str, Any]:
    return {"attempt": stage.attempt, "attempts": attempts}


def _write_failure(stage: ShardStage, outcome: Outcome, known: dict[str, Any]) -> str | None:
    """Quarantine an item: what is known of its failure, for who looks into it; the URL."""
    content = {"schema": SCHEMA, "stage": stage.name, "shard": outcome.item, **known}
    content |= {"error": without_secrets(str(outcome.error))}
    content |= asdict(outcome.evidence) if outcome.evidence else {}
    key = f"failures/{outcome.item:08d}-{stage.attempt}.json"
    try:
        stage.blobs.write(key, json.dumps(content, indent=2).encode())
    except OSError:
        # On a full disk the message on the terminal is what is left.
        return None
    return join_url(stage.url, key)


def _incomplete(stage: ShardStage, tally: _Tally, *, stopped: bool) -> IncompleteRunError:
    """The error of a stage that is not finished, with the command's result so far."""
    total, missing = len(tally.done), int((~tally.done).sum())
    shards = shard_counts(total, total - missing, tally.failed)
    result = {"run": stage.url, "shards": shards}
    if stopped:
        return IncompleteRunError(
            f"stopped at a shard border with {missing} of {total} shards to do; "
            "run the same command to go on",
            result,
        )
    return IncompleteRunError(
        f"{tally.failed} shards failed and {missing} of {total} are to do: "
        + "; ".join(tally.causes)
        + "".join(f"; details in {file}" for file in tally.files)
        + " and beside it" * (tally.failed > 1 and bool(tally.files))
        + "; run the same command to go on",
        result,
    )


def shard_counts(planned: int, done: int, failed: int = 0) -> dict[str, int]:
    """``shards`` of result.json."""
    return {"planned": planned, "done": done, "skipped": 0, "failed": failed}
