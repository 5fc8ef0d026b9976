"""Requests whose answer ended early are made again, by us where the client does not.

That is safe for reads, for a put that replaces and for a deletion; a put of a new object then
meets its own, which `storage.remote_folder` reads back and compares.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from storage.remote_errors import CutAnswerError, readable
from storage.remote_options import deadline_seconds

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

Answer = TypeVar("Answer")

# Answers to one request that may end early, one after the other.
CUT_TRIES = 10


@dataclass(slots=True)
class Tries:
    """How often a request may still be made after an answer that ended early.

    Attributes
    ----------
    left : int
        Cut answers that are still borne.
    end : float
        Seconds of `time.monotonic` after which none is.
    """

    left: int = CUT_TRIES
    end: float = field(default_factory=lambda: time.monotonic() + deadline_seconds(os.environ))

    def bear(self, cut: CutAnswerError) -> None:
        """Return for one more request, or raise what came."""
        if not self.left or time.monotonic() > self.end:
            raise cut
        self.left -= 1


def insist(url: str, key: str, request: Callable[[], Answer]) -> Answer:
    """Answer of a request for a key below a URL.

    Raises
    ------
    FileNotFoundError, StoreAccessError, StoreUnavailableError, StorageError
        As `storage.remote_errors.readable` says.
    """
    tries = Tries()
    while True:
        try:
            with readable(url, key):
                return request()
        except CutAnswerError as cut:
            tries.bear(cut)


async def insist_async(url: str, key: str, request: Callable[[], Awaitable[Answer]]) -> Answer:
    """As `insist`, without holding up the event loop."""
    tries = Tries()
    while True:
        try:
            with readable(url, key):
                return await request()
        except CutAnswerError as cut:
            tries.bear(cut)
