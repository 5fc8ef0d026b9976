"""The few threads of a process that decode and encode: codecs let go of the interpreter."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Result = TypeVar("Result")

MAX_THREADS = 8
NAME = "maskmill-codec"


def in_threads(
    function: Callable[..., Result], tasks: Iterable[Any], *others: Any
) -> Iterator[Result]:
    """Results of a function for every task, in their order, as soon as each is there.

    Parameters
    ----------
    function : callable
        Gets a task and `others`.
    tasks : iterable
        All of them are taken at once. From one of these threads they are done one after the
        other: threads that wait for threads would wait for ever.
    others : object
        The same for every task.
    """
    if threading.current_thread().name.startswith(NAME):
        return iter([function(task, *others) for task in tasks])
    return _threads().map(lambda task: function(task, *others), tasks)


@lru_cache(maxsize=1)
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(min(MAX_THREADS, os.cpu_count() or 1), NAME)


# A forked process has no threads but its own.
os.register_at_fork(after_in_child=_threads.cache_clear)
