"""Dask as a way to call one function on many small arguments, with any scheduler.

Graphs carry URLs and regions, never voxels, and are computed in batches: neither the graph nor
the results of a large volume pile up in the driver. Requests that other processes make count as
this one's, see `storage.requests`.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from storage.requests import Counted, Lap, counted, settle

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
        yield from map(settle, dask.compute(*tasks, scheduler=scheduler))


def _call(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Counted:
    lap = Lap()
    return counted(function(*arguments), lap)
