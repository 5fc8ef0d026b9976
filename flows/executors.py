"""Executors: run one piece of work over many items, survive failures, report each outcome.

The serial executor is the specification; any other gives the same results in some order.
"""

from __future__ import annotations

import errno
import logging
import signal
import sys
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any, Protocol

from flows.evidence import Evidence, evidence_of
from flows.overlap import overlapped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

MAX_ATTEMPTS = 3
# A full or closed disk, or an object store that stayed away until its deadline.
FATAL_ERRNOS = frozenset(
    {errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EACCES, errno.EHOSTUNREACH}
)

logger = logging.getLogger(__name__)


class Work(Protocol):
    """Something to do with every item; picklable, opened once by every worker."""

    def open(self) -> Callable[[int], Any]:
        """Load what the items share (model, arrays) and give the function of one item."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an item.

    Attributes
    ----------
    item : int
        The item.
    result : object
        What the work returned; None if it failed.
    error : str or None
        Message of the last failure, once the attempts are used up.
    attempts : int
        How often the item was blamed for a failure, plus the success.
    fatal : bool
        The failure would meet every item (a full disk): no more were started.
    evidence : Evidence or None
        What the last failure left behind.
    """

    item: int
    result: Any = None
    error: str | None = None
    attempts: int = 1
    fatal: bool = False
    evidence: Evidence | None = field(default=None, compare=False)


class WorkerStartError(RuntimeError):
    """A worker could not open the work: model, image or cluster are not usable from there."""


class Executor(Protocol):
    """Runs work; `SerialExecutor` specifies what comes out."""

    def map(self, work: Work, items: Iterable[int], stop: threading.Event) -> Iterator[Outcome]:
        """Outcome of every item, as they finish; `items` is consumed lazily."""

    def warm(self, network: bool) -> None:
        """Begin, in the background, with what the first item needs; `network`: Keras too."""

    def dask_scheduler(self) -> Any:
        """What `dask.compute(scheduler=…)` takes to run graphs where the items run."""

    def close(self) -> None:
        """Let go of the workers."""


@dataclass(frozen=True, slots=True)
class SerialExecutor:
    """Items in this process, their outcomes in order.

    Attributes
    ----------
    in_flight : int
        Items that are done at a time, in threads; with 1 all happens in the calling thread. As on
        a worker of Ray, the work makes its threads take turns at the device.
    """

    in_flight: int = field(default=1, kw_only=True)

    def map(self, work: Work, items: Iterable[int], stop: threading.Event) -> Iterator[Outcome]:
        """Outcome of every item in order; what was started before a stop is finished."""
        remaining = iter(items)
        first = None if stop.is_set() else next(remaining, None)
        if first is None:
            return
        function = work.open()
        fatal = threading.Event()

        def attempt(item: int) -> Outcome:
            outcome = _attempt(function, item)
            if outcome.fatal:
                fatal.set()
            return outcome

        yield from overlapped(
            attempt,
            chain([first], remaining),
            in_flight=self.in_flight,
            halted=lambda: stop.is_set() or fatal.is_set(),
        )

    def warm(self, network: bool) -> None:
        """Import Keras in a thread; whoever needs it meanwhile waits for that."""
        if network and "keras" not in sys.modules:
            # No daemon: a process does not end well in the middle of TensorFlow's import.
            threading.Thread(target=_import_network, name="keras-ahead").start()

    def dask_scheduler(self) -> Any:
        """Threads of this process."""
        return "threads"

    def close(self) -> None:
        """Nothing is held."""


def _import_network() -> None:
    from segmentation.networks.runtime import import_keras

    # What is wrong with it is said by the work that needs it.
    with suppress(Exception):
        import_keras()


def _attempt(function: Callable[[int], Any], item: int) -> Outcome:
    message, evidence = "", None
    for attempt in range(1, MAX_ATTEMPTS + 1):
        try:
            return Outcome(item, function(item), attempts=attempt)
        except Exception as error:
            message, evidence = describe(error), evidence_of(error)
            extra = {"event": "attempt-failed", "shard": item, "error": message}
            logger.info("shard %d failed, attempt %d: %s", item, attempt, message, extra=extra)
            if is_fatal(error):
                return Outcome(item, error=message, attempts=attempt, fatal=True, evidence=evidence)
    return Outcome(item, error=message, attempts=MAX_ATTEMPTS, evidence=evidence)


def is_fatal(error: BaseException) -> bool:
    """Whether an error would meet every item alike."""
    return isinstance(error, OSError) and error.errno in FATAL_ERRNOS


def describe(error: BaseException) -> str:
    """One line for a failure record."""
    text = str(error).strip() or "no message"
    return f"{type(error).__name__}: {text}"


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """An event that Ctrl-C or SIGTERM sets, so that work stops at a shard border.

    A second Ctrl-C interrupts at once. Outside the main thread signals are left alone.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def request_stop(number: int, _frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        extra = {"event": "stop-asked", "signal": number}
        logger.info("signal %d: stopping at a shard border", number, extra=extra)

    before = {number: signal.signal(number, request_stop) for number in _STOP_SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
