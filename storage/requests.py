"""How many requests this process has made to object stores, and how many bytes they moved.

What is counted is what was asked of the client: a request that it had to repeat counts once.
An object that is put in parts counts as many requests as that takes. Local folders make none.
"""

from __future__ import annotations

import os
import socket
import threading
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

# Objects that one request lists or removes.
PAGE = 1000
KINDS = ("get", "put", "list", "head", "delete", "bytes_read", "bytes_written")


@dataclass(slots=True)
class _Tally:
    lock: threading.Lock = field(default_factory=threading.Lock)
    found: Counter[str] = field(default_factory=Counter)


@cache
def _tally() -> _Tally:
    """The one tally of the process."""
    return _Tally()


def count(kind: str, number: int = 1, *, read: int = 0, written: int = 0) -> None:
    """Count requests of a kind and the bytes of their bodies."""
    add({kind: number, "bytes_read": read, "bytes_written": written})


def add(counts: Mapping[str, int]) -> None:
    """Count what another process has made for this one."""
    tally = _tally()
    with tally.lock:
        tally.found.update(counts)


def counts() -> dict[str, int]:
    """Requests and bytes of this process so far, by kind; each of `KINDS` is there."""
    tally = _tally()
    with tally.lock:
        return {kind: tally.found[kind] for kind in KINDS}


def bulk_requests(objects: int) -> int:
    """Requests it takes to list or remove a number of objects; at least one."""
    return max(1, -(-objects // PAGE))


@dataclass(slots=True)
class Lap:
    """What was counted since the last look; looks of several threads never count twice.

    Examples
    --------
    >>> lap = Lap()
    >>> count("get", read=10)
    >>> lap()
    {'get': 1, 'bytes_read': 10}
    >>> lap()
    {}
    """

    _lock: threading.Lock = field(default_factory=threading.Lock)
    _before: dict[str, int] = field(default_factory=counts)

    def __call__(self) -> dict[str, int]:
        """Requests and bytes since the last call, those that are not 0."""
        with self._lock:
            now = counts()
            found = {kind: now[kind] - self._before[kind] for kind in KINDS}
            self._before = now
        return {kind: number for kind, number in found.items() if number}


@dataclass(frozen=True, slots=True)
class Counted:
    """A result, the process that made it, and the requests it took there."""

    value: Any
    process: str
    requests: dict[str, int]


def counted(value: Any, lap: Lap) -> Counted:
    """A result as it travels to the process that wanted it."""
    return Counted(value, _process(), lap())


def settle(found: Counted) -> Any:
    """The result itself; what another process asked for is counted as this one's."""
    if found.process != _process():
        add(found.requests)
    return found.value


def _process() -> str:
    return f"{socket.gethostname()} {os.getpid()}"
