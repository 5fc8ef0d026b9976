"""Calls that overlap: while one computes, the next one reads and the one before it writes.

::

    item 0   read  compute  write
    item 1   read  ....... compute  write          .... waits for the device
    item 2   read  ................ compute  write
    item 3                       read  .... compute  write
"""

from __future__ import annotations

import contextvars
import threading
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Result = TypeVar("Result")


def overlapped(
    call: Callable[[int], Result],
    items: Iterator[int],
    *,
    in_flight: int,
    halted: Callable[[], bool],
) -> Iterator[Result]:
    """Results of a call on every item, in order.

    Parameters
    ----------
    call : callable
        What is done with an item; an exception ends the iteration.
    items : iterator
        Drawn as they are started, never more than `in_flight` ahead of the results.
    in_flight : int
        Calls at a time, in threads; with 1 they happen in the thread that iterates.
    halted : callable
        Asked before every item; once it is true no more are started, and those that were are
        finished.
    """
    if in_flight == 1:
        while not halted() and (item := next(items, None)) is not None:
            yield call(item)
        return
    crew = _Crew(call, in_flight)
    waiting: deque[Future[Result]] = deque()
    interrupted = False
    try:
        while True:
            while len(waiting) < in_flight and not halted():
                item = next(items, None)
                if item is None:
                    break
                waiting.append(crew.start(item))
            if not waiting:
                return
            yield waiting.popleft().result()
    except KeyboardInterrupt:
        # The second Ctrl-C: nobody waits for what is in flight.
        interrupted = True
        raise
    finally:
        crew.dismiss(wait=not interrupted)


@dataclass(slots=True)
class _Crew(Generic[Result]):
    """Threads that take calls from a queue, and do not keep a process alive that wants to end."""

    call: Callable[[int], Result]
    size: int
    _calls: SimpleQueue[tuple[Future[Result], contextvars.Context, int] | None] = field(
        default_factory=SimpleQueue
    )
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self, item: int) -> Future[Result]:
        """Let a thread make a call; it logs with the fields that hold here."""
        if len(self._threads) < self.size:
            thread = threading.Thread(target=self._run, name="maskmill-item", daemon=True)
            self._threads.append(thread)
            thread.start()
        future: Future[Result] = Future()
        self._calls.put((future, contextvars.copy_context(), item))
        return future

    def dismiss(self, *, wait: bool) -> None:
        """Let the threads end after the calls that were started."""
        for _ in self._threads:
            self._calls.put(None)
        for thread in self._threads if wait else ():
            thread.join()

    def _run(self) -> None:
        while (given := self._calls.get()) is not None:
            future, context, item = given
            try:
                future.set_result(context.run(self.call, item))
            except BaseException as error:
                future.set_exception(error)
