"""Who holds a lease, and what an observer can know of that.

No clock of another machine is trusted: a lease has expired when an observer saw the very same
bytes for a minute on its own clock. On the holder's machine a look at the process is enough.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from storage.process import is_running

if TYPE_CHECKING:
    from storage.blobs import Blobs

BEAT_SECONDS = 10.0
EXPIRY_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Holder:
    """What a lease says of the one that holds it.

    Attributes
    ----------
    content : bytes
        The lease as it is stored.
    fields : dict
        What it says; empty where it cannot be understood.
    """

    content: bytes
    fields: dict[str, Any]

    @property
    def token(self) -> str | None:
        """Tells one holding from any other, of the same owner too."""
        return self.fields.get("token")

    @property
    def is_running(self) -> bool | None:
        """Whether its process runs; None if that cannot be known from here."""
        return is_running(self.fields)

    def __str__(self) -> str:
        """Who it is, for a message."""
        owner, host, pid = (self.fields.get(key) for key in ("owner", "host", "pid"))
        if owner is None:
            return "somebody unknown"
        return f"{owner} (process {pid} on {host})" if host else str(owner)


def read_holder(blobs: Blobs, key: str) -> Holder | None:
    """Who holds a lease, None if nobody; nothing is changed.

    Parameters
    ----------
    blobs : Blobs
        Folder of the lease.
    key : str
        Object in it.
    """
    try:
        content = blobs.read(key)
    except FileNotFoundError:
        return None
    try:
        fields = json.loads(content)
    except ValueError:
        fields = {}
    return Holder(content, fields if isinstance(fields, dict) else {})


def is_held(blobs: Blobs, key: str) -> bool:
    """Whether a lease has a holder that is not known to be gone; nothing is changed."""
    holder = read_holder(blobs, key)
    return holder is not None and holder.is_running is not False


@dataclass(slots=True)
class Watch:
    """What an observer has seen so far of a lease that another holds.

    Attributes
    ----------
    holder : Holder
        As it was seen last.
    since : float
        When that was seen first, on our own monotonic clock.
    takers : int
        Marks of others who wanted to take it over.
    beats : bool
        Whether the lease was seen to change.
    """

    holder: Holder
    since: float = field(default_factory=time.monotonic)
    takers: int = 0
    beats: bool = False

    def look(self, holder: Holder) -> None:
        """Note who holds the lease now."""
        if holder != self.holder:
            self.holder, self.since, self.takers = holder, time.monotonic(), 0
            self.beats = True

    @property
    def is_alive(self) -> bool:
        """Whether the holder is known to be there: its process runs, or it was seen to beat."""
        known = self.holder.is_running
        return self.beats if known is None else known

    @property
    def may_take(self) -> bool:
        """Whether an observer may put itself in the holder's place."""
        gone = self.holder.is_running is False and self.takers == 0
        return gone or time.monotonic() - self.since >= EXPIRY_SECONDS

    def note_taker(self) -> None:
        """Another is taking the lease over; it too is given a minute before it counts as gone."""
        self.takers += 1
        self.since = time.monotonic()
