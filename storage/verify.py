"""Stored bytes against their records: what is missing, torn, flipped or foreign."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from storage.blobs import Blobs
from storage.graphs import Scheduler, compute_each
from storage.write_grid import checksum

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

OBJECTS_PER_TASK = 32


@dataclass(frozen=True, slots=True)
class Problem:
    """One object that is not what its record says.

    Attributes
    ----------
    item : int
        Which record it belongs to.
    key : str
        Object, relative to its folder.
    fault : str
        ``missing``, or ``changed`` with both sizes.
    """

    item: int
    key: str
    fault: str


def check_objects(
    url: str, records: Iterable[tuple[int, list[dict[str, Any]]]], *, scheduler: Scheduler
) -> Iterator[Problem]:
    """Read every recorded object and compare its checksum.

    Parameters
    ----------
    url : str
        Folder that the keys are relative to.
    records : iterable
        Item and its objects (``key``, ``size``, ``checksum``).
    scheduler : str or callable
        What ``dask.compute`` takes; objects are read where its tasks run.
    """
    for problems in compute_each(_check, _batches(url, records), scheduler=scheduler):
        for item, key, fault in problems:
            yield Problem(item, key, fault)


def _batches(
    url: str, records: Iterable[tuple[int, list[dict[str, Any]]]]
) -> Iterator[tuple[str, list[tuple[int, dict[str, Any]]]]]:
    batch: list[tuple[int, dict[str, Any]]] = []
    for item, objects in records:
        batch += [(item, stored) for stored in objects]
        if len(batch) >= OBJECTS_PER_TASK:
            yield url, batch
            batch = []
    if batch:
        yield url, batch


def _check(url: str, batch: list[tuple[int, dict[str, Any]]]) -> list[tuple[int, str, str]]:
    problems = []
    blobs = Blobs(url)
    for item, record in batch:
        try:
            data = blobs.read(record["key"])
        except FileNotFoundError:
            problems.append((item, record["key"], "missing"))
            continue
        if checksum(data) != record["checksum"]:
            fault = f"changed: {record['size']} bytes recorded, {len(data)} stored"
            problems.append((item, record["key"], fault))
    return problems
