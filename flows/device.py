"""The device of a worker, which its threads share."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(slots=True)
class Device:
    """A lock that goes to whoever stands foremost among those who wait.

    Shards that took turns batch by batch would all be ready together, and the device would wait
    while they are written; the foremost one is written while the others compute.
    """

    _changed: threading.Condition = field(default_factory=threading.Condition)
    _waiting: list[int] = field(default_factory=list)
    _taken: bool = False
    _places: Iterator[int] = field(default_factory=count)

    def turn(self) -> Turn:
        """The turns of one more shard, behind those of all before it."""
        return Turn(self, next(self._places))

    def acquire(self, place: int) -> None:
        """Wait for the device; the lowest place gets it first."""
        with self._changed:
            self._waiting.append(place)
            try:
                self._changed.wait_for(lambda: not self._taken and min(self._waiting) == place)
                self._taken = True
            finally:
                self._waiting.remove(place)

    def release(self) -> None:
        """Leave the device to the next."""
        with self._changed:
            self._taken = False
            self._changed.notify_all()

    def locked(self) -> bool:
        """Whether somebody has it."""
        return self._taken


@dataclass(slots=True)
class Turn:
    """A shard's turns at the device of its worker; a context manager.

    Attributes
    ----------
    device : Device
        Shared by the shards of a worker.
    place : int
        Of the shard among them.
    seconds : float
        How long this shard has had the device so far.
    """

    device: Device
    place: int
    seconds: float = 0.0
    _since: float = 0.0

    def __enter__(self) -> None:
        self.device.acquire(self.place)
        self._since = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._since
        self.device.release()
