"""Dask as a way to call one function on many small arguments, with any scheduler.

Graphs carry URLs and regions, never voxels, and are computed in batches: neither the graph nor
the results of a large volume pile up in the driver. Requests that other processes make count as
this one's, see `storage.requests`.
"""

from __future__ import annotations

import os
import socket
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from storage.requests import Lap, add

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Result = TypeVar("Result")

# What dask.compute takes: "threads", "synchronous", or a function such as Ray's.
Scheduler = Any

TASKS_PER_BATCH = 1000


def compute_each(
    function: Callable[..., Result],
    arguments: Iterable[tuple[Any, ...]],
    *,
    scheduler: Scheduler,
    batch: int = TASKS_PER_BATCH,
) -> Iterator[Result]:
    """Results of a function for each tuple of arguments, in their order.

    Parameters
    ----------
    function : callable
        Picklable; may run in another process, and twice.
    arguments : iterable of tuple
        Small picklable values.
    scheduler : str or callable
        What ``dask.compute`` takes.
    batch : int
        Tasks in one graph.
    """
    import dask

    task = dask.delayed(_call, pure=False, traverse=False)
    remaining = iter(arguments)
    while tasks := [task(function, args) for args in islice(remaining, batch)]:
        for result, process, made in dask.compute(*tasks, scheduler=scheduler):
            if process != _process():
                add(made)
            yield result


def _call(
    function: Callable[..., Result], arguments: tuple[Any, ...]
) -> tuple[Result, str, dict[str, int]]:
    """Result, the process that made it, and the requests to object stores it took there."""
    lap = Lap()
    result = function(*arguments)
    return result, _process(), lap()


def _process() -> str:
    return f"{socket.gethostname()} {os.getpid()}"
