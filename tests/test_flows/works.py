"""Pieces of work that Ray workers can unpickle, and that misbehave on request."""

import errno
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.executors import Outcome, SerialExecutor, Work

DEADLINE_SECONDS = 240.0


@dataclass(frozen=True)
class Squares:
    """Squares of the items; everything it meets on the way is written into a folder."""

    folder: str
    failing: tuple[int, ...] = ()
    flaky: tuple[int, ...] = ()
    deadly: tuple[int, ...] = ()
    full_disk: tuple[int, ...] = ()
    seconds: float = 0.0

    def open(self) -> Callable[[int], int]:
        note(self.folder, "open")
        return self.square

    def square(self, item: int) -> int:
        tries = note(self.folder, f"item-{item}")
        if item in self.full_disk:
            raise OSError(errno.ENOSPC, "No space left on device")
        if item in self.failing or (item in self.flaky and tries == 1):
            raise ValueError(f"item {item} is not to be squared")
        if item in self.deadly:
            # Late enough for other items to be in flight in the same process.
            wait_for(lambda: noted(self.folder, "item-") > 1 or tries > 1, seconds=20)
            os._exit(1)
        time.sleep(self.seconds)
        return item * item


@dataclass(frozen=True)
class Gate:
    """Items wait until a file appears; each notes its process id first."""

    folder: str

    def open(self) -> Callable[[int], int]:
        return self.wait

    def wait(self, item: int) -> int:
        note(self.folder, f"item-{item}")
        wait_for((Path(self.folder) / "gate").exists)
        return item


@dataclass(frozen=True)
class Unopenable:
    """Work whose model is missing, or kills the process that loads it."""

    deadly: bool = False

    def open(self) -> Callable[[int], int]:
        if self.deadly:
            os._exit(1)
        raise FileNotFoundError(errno.ENOENT, "there is no such model", "bundle")


@dataclass(frozen=True)
class Modules:
    """Which of some modules the process has loaded."""

    names: tuple[str, ...]

    def open(self) -> Callable[[int], Any]:
        import sys

        return lambda _item: [name for name in self.names if name in sys.modules]


@dataclass(frozen=True)
class StopAfter(SerialExecutor):
    """A serial executor in which Ctrl-C comes after some items."""

    items: int = 0

    def map(self, work: Work, items: Iterable[int], stop: threading.Event) -> Iterator[Outcome]:
        for number, outcome in enumerate(SerialExecutor().map(work, items, stop), start=1):
            if number == self.items:
                stop.set()
            yield outcome


@dataclass(frozen=True)
class Failing(SerialExecutor):
    """A serial executor on which some items fail whatever is tried."""

    bad: tuple[int, ...] = ()

    def map(self, work: Work, items: Iterable[int], stop: threading.Event) -> Iterator[Outcome]:
        for item in items:
            if item in self.bad:
                yield Outcome(item, error="OSError: the node is broken", attempts=3)
            else:
                yield from SerialExecutor().map(work, [item], stop)


def note(folder: str, name: str) -> int:
    """Append this process id to a file; how many lines it has now."""
    with Path(folder, name).open("a") as file:
        file.write(f"{os.getpid()}\n")
    return len(pids(folder, name))


def noted(folder: str, prefix: str) -> int:
    """Number of files with a prefix."""
    return sum(1 for _ in Path(folder).glob(f"{prefix}*"))


def pids(folder: str | Path, name: str) -> list[int]:
    """Process ids in a file, none if there is no such file."""
    path = Path(folder, name)
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def wait_for(condition: Callable[[], bool], seconds: float = DEADLINE_SECONDS) -> bool:
    """Poll until a condition holds; whether it did before the deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def after(condition: Callable[[], bool], action: Callable[[], Any]) -> threading.Thread:
    """Do something from another thread once a condition holds."""

    def watch() -> None:
        if wait_for(condition):
            action()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread
