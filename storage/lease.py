"""A lease: one object that says who is at work, and that goes to another when its holder is gone.

The object is made with create-if-absent. Its holder rewrites it every few seconds with a higher
``beat``; `storage.holder` says how others judge it. ::

    run.lock                        {"owner": …, "token": …, "host": …, "pid": …, "beat": 7}
    run.lock.taken-1f0c9a7e…-0      mark of the one observer that may put itself in its place

A holder that was cut off for a while may come back. Its next beat finds another's token, and it
stops; until then both may write, which the work under a lease has to bear.
"""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from logging import getLogger
from typing import TYPE_CHECKING
from uuid import uuid4

from storage.errors import StorageError
from storage.holder import BEAT_SECONDS, EXPIRY_SECONDS, Holder, Watch, read_holder
from storage.process import this_process
from storage.stores import join_url
from storage.write_grid import checksum

if TYPE_CHECKING:
    from collections.abc import Iterator

    from storage.blobs import Blobs

POLL_SECONDS = 0.2
SLOW_POLL_SECONDS = 1.0
SLOW_AFTER_SECONDS = 10.0
LAST_BEAT_SECONDS = 10.0

logger = getLogger(__name__)


class LeaseBusyError(StorageError):
    """Another holds the lease."""

    def __init__(self, url: str, holder: Holder) -> None:
        super().__init__(
            f"{url} is held by {holder}; wait until that has ended, "
            "or run the same command after it"
        )
        self.holder = holder


class LeaseLostError(StorageError):
    """Another has taken the lease over: whatever it protects is not ours any more."""


@dataclass(slots=True)
class Lease:
    """A lease that is held; `hold` makes it and keeps it alive.

    Attributes
    ----------
    blobs : Blobs
        Folder of the lease.
    key : str
        Object in it.
    owner : str
        Who holds it, as others are told.
    stop : threading.Event
        Set when the lease is found lost, so that long work ends.
    token : str
        Tells this holding from any other, of the same owner too.
    """

    blobs: Blobs
    key: str
    owner: str
    stop: threading.Event
    token: str = field(default_factory=lambda: uuid4().hex)
    _beat: int = 0
    _seen: float = field(default_factory=time.monotonic)
    _taker: str | None = None

    @property
    def is_lost(self) -> bool:
        """Whether another is known to hold it now."""
        return self._taker is not None

    def check(self, *, confirm: bool = False) -> None:
        """Refuse to go on with a lease that is lost; call it before a durable step.

        Parameters
        ----------
        confirm : bool
            Read the lease even if a beat has lately found it ours.

        Raises
        ------
        LeaseLostError
            If another holds it now.
        """
        unseen = time.monotonic() - self._seen
        if not self.is_lost and (confirm or unseen > EXPIRY_SECONDS / 2):
            self._look()
        if self.is_lost:
            raise LeaseLostError(
                f"{self.url} was taken over by {self._taker} while {self.owner} did not answer; "
                "leave the work to it, or run the same command after it has ended"
            )

    @property
    def url(self) -> str:
        """Where it is."""
        return join_url(self.blobs.url, self.key)

    def content(self) -> bytes:
        """Its bytes as they are written next."""
        fields = {"owner": self.owner, "token": self.token, **this_process(), "beat": self._beat}
        return json.dumps(fields).encode()

    def renew(self) -> None:
        """Write the next beat, unless the lease is lost."""
        self._look()
        if not self.is_lost:
            self._beat += 1
            self.blobs.write(self.key, self.content())

    def release(self) -> None:
        """Remove the lease if it is ours still; one that cannot be removed expires."""
        with suppress(OSError, StorageError):
            self._look()
            if not self.is_lost:
                self.blobs.delete(self.key)

    def _look(self) -> None:
        """Find out who holds the lease."""
        holder = read_holder(self.blobs, self.key)
        if holder is not None and holder.token == self.token:
            self._seen = time.monotonic()
            return
        self._taker = str(holder or "somebody who has ended since")
        self.stop.set()


@contextmanager
def hold(
    blobs: Blobs,
    key: str,
    owner: str,
    *,
    wait_seconds: float = 0.0,
    stop: threading.Event | None = None,
) -> Iterator[Lease]:
    """Hold a lease for the time of a block, alone.

    A lease of another machine is watched until it is seen to beat (then it is busy) or has
    expired, even if that takes longer than `wait_seconds`.

    Parameters
    ----------
    blobs : Blobs
        Folder of the lease.
    key : str
        Object in it, such as ``run.lock``.
    owner : str
        Who asks, as others are told.
    wait_seconds : float
        How long to wait for a holder that is alive.
    stop : threading.Event, optional
        Set when the lease is found lost.

    Raises
    ------
    LeaseBusyError
        If another holds it after the wait.
    """
    lease = Lease(blobs, key, owner, stop or threading.Event())
    _acquire(lease, wait_seconds)
    ended = threading.Event()
    keeper = threading.Thread(target=_keep, args=(lease, ended), name=key, daemon=True)
    keeper.start()
    try:
        yield lease
    finally:
        ended.set()
        keeper.join(LAST_BEAT_SECONDS)
        # A beat that hangs in a slow store would come after the removal: the lease expires instead.
        if not keeper.is_alive():
            lease.release()


def _keep(lease: Lease, ended: threading.Event) -> None:
    """Beat until the block ends or the lease is lost."""
    while not ended.wait(BEAT_SECONDS) and not lease.is_lost:
        try:
            lease.renew()
        except Exception as error:
            # The store may come back in time; if not, another takes over and a later beat sees it.
            logger.info("lease %s: no beat (%s)", lease.url, error)


def _acquire(lease: Lease, wait_seconds: float) -> None:
    """Create the lease, or take it over from one that is gone, or refuse."""
    started = time.monotonic()
    watch: Watch | None = None
    while True:
        holder = read_holder(lease.blobs, lease.key)
        if holder is None:
            # A folder that is tidied or removed at this moment takes the new object with it.
            with suppress(FileNotFoundError):
                if lease.blobs.create(lease.key, lease.content()):
                    return
            continue
        if holder.token == lease.token:
            # Our own object, whose acknowledgement was lost.
            return
        watch = watch or Watch(holder)
        watch.look(holder)
        if watch.may_take and _take_over(lease, watch):
            return
        waited = time.monotonic() - started
        if watch.is_alive and waited >= wait_seconds:
            raise LeaseBusyError(lease.url, holder)
        time.sleep(POLL_SECONDS if waited < SLOW_AFTER_SECONDS else SLOW_POLL_SECONDS)


def _take_over(lease: Lease, watch: Watch) -> bool:
    """Put ourselves in the place of a holder that is gone; of several takers one succeeds."""
    blobs, stale = lease.blobs, watch.holder
    marks = [f"{lease.key}.taken-{checksum(stale.content)}-{n}" for n in range(watch.takers + 1)]
    if not blobs.create(marks[-1], lease.content()):
        watch.note_taker()
        return False
    try:
        # A faster taker may have come and gone, its mark with it: then it is another's now.
        if read_holder(blobs, lease.key) != stale:
            return False
        blobs.write(lease.key, lease.content())
        logger.info("lease %s: taken over from %s", lease.url, stale)
        return True
    finally:
        for mark in marks:
            blobs.delete(mark)
