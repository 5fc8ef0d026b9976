"""Working through many volumes: each by one command at a time, one that fails stops no other.

Whoever finds a run held by another goes on to the next volume and comes back at the end. By then
the other has finished it, is still at work, or is gone; then its work is taken up.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from flows.errors import IncompleteRunError, VerificationError
from flows.executors import WorkerStartError
from flows.outdated import CURRENT, FAILED, SET_ASIDE, TODO, Look, is_done_now, message
from flows.reconcile_record import forget_failures, note_failure
from flows.reconcile_result import Tally
from flows.run_lease import RUN_LOCK
from storage.blobs import Blobs
from storage.holder import is_held
from storage.lease import LeaseBusyError, LeaseLostError, hold

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable

    from flows.executors import Executor
    from flows.jobs import SegmentJob

OWNER = "a reconciliation that looks whether it is free"
EXPECTED = (IncompleteRunError, VerificationError, WorkerStartError, ValueError, OSError)


@dataclass(frozen=True, slots=True)
class Segmenting:
    """How volumes are segmented.

    Attributes
    ----------
    segment : callable
        Carries out the segmentation of an image, which it gets the name of.
    executor : Executor
        Its workers serve one volume after the other; after a loss they are had anew.
    stop : threading.Event
        Ends the work before the next volume.
    """

    segment: Callable[[SegmentJob, str], dict[str, Any]]
    executor: Executor
    stop: threading.Event

    def check(self, tally: Tally) -> None:
        """Have workers for the next volume.

        Raises
        ------
        IncompleteRunError
            If there are none to be had, or a stop was asked for.
        """
        if self.stop.is_set():
            raise IncompleteRunError(
                "stopped between two volumes; run the same command to go on", tally.result()
            )
        try:
            self.executor.dask_scheduler()
        except WorkerStartError as error:
            raise IncompleteRunError(str(error), tally.result()) from error


def tally_of(looks: Iterable[Look]) -> Tally:
    """What the looks alone have decided; a failure that they tell of is counted."""
    tally = Tally()
    for look in looks:
        url, told = look.dataset.url, {"image": look.dataset.url, "error": look.error}
        if look.state == CURRENT:
            tally.current.append(url)
        elif look.state == SET_ASIDE:
            tally.set_aside.append(told)
        elif look.state == FAILED:
            tally.failed.append(told)
            _note(look, look.error)
    return tally


def has_work(looks: Iterable[Look]) -> bool:
    """Whether there is anything to segment."""
    return any(look.state == TODO for look in looks)


def work_off(looks: Iterable[Look], segmenting: Segmenting) -> Tally:
    """Segment what the looks have found to do.

    Raises
    ------
    IncompleteRunError
        If a stop was asked for, or there are no workers.
    """
    looks = tuple(looks)
    tally = tally_of(looks)
    todo = [look for look in looks if look.state == TODO]
    for is_taken in (is_held, _is_alive):
        todo = [look for look in todo if not _work_on(look, segmenting, tally, is_taken)]
    tally.busy.extend(look.dataset.url for look in todo)
    return tally


def _work_on(
    look: Look, segmenting: Segmenting, tally: Tally, is_taken: Callable[[Blobs, str], bool]
) -> bool:
    """Segment one image that others have neither done nor in hand; whether it is decided."""
    if look.job is None:
        return True
    try:
        if is_done_now(look):
            tally.current.append(look.dataset.url)
            return True
        if is_taken(Blobs(look.run), RUN_LOCK):
            return False
    except EXPECTED as error:
        return _failed(look, error, tally)
    segmenting.check(tally)
    try:
        result = segmenting.segment(look.job, look.dataset.name)
    except EXPECTED as error:
        if is_of_workers(error):
            segmenting.executor.close()
        return _failed(look, error, tally)
    urls = tally.current if result.get("already_done") else tally.done
    urls.append(look.dataset.url)
    if look.subject is not None:
        forget_failures(look.subject)
    return True


def _failed(look: Look, error: Exception, tally: Tally) -> bool:
    """Count a failure, unless it is none of the volume's; whether the image is decided."""
    if isinstance(error.__cause__, LeaseBusyError | LeaseLostError):
        return False
    if _is_stopped(error):
        raise IncompleteRunError(f"{look.dataset.url}: {error}", tally.result()) from error
    tally.failed.append({"image": look.dataset.url, "error": message(error)})
    if not is_of_workers(error):
        _note(look, message(error))
    return True


def _note(look: Look, error: str) -> None:
    if look.subject is not None:
        note_failure(look.subject, error, datetime.now(UTC))


def _is_stopped(error: Exception) -> bool:
    """Whether somebody wants it to end: interrupted, or stopped although no shard has failed."""
    if isinstance(error.__cause__, KeyboardInterrupt):
        return True
    shards = error.result.get("shards") if isinstance(error, IncompleteRunError) else None
    return shards is not None and not shards["failed"] and error.__cause__ is None


def is_of_workers(error: BaseException) -> bool:
    """Whether workers could not be had: no volume is to blame for that."""
    return isinstance(error, WorkerStartError) or isinstance(error.__cause__, WorkerStartError)


def _is_alive(run: Blobs, key: str) -> bool:
    """Whether the holder of a run is at work still; it is watched until that is known."""
    if not run.exists(key):
        return False
    try:
        with hold(run, key, OWNER):
            return False
    except LeaseBusyError:
        return True
