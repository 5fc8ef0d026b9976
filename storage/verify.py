"""Stored bytes against their records: what is missing, changed, swapped or foreign."""

from __future__ import annotations

import errno
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from storage.blobs import Blobs
from storage.graphs import Scheduler, compute_each
from storage.write_grid import checksum

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from storage.level_cells import LevelCells

OBJECTS_PER_TASK = 32
_DRAWS = 2**64


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is not what the records say.

    Attributes
    ----------
    kind : str
        Of an object ``missing``, ``changed``, ``swapped`` or ``foreign``; of an item
        ``no record``; of a record ``torn record``, ``foreign record`` or ``stale record``.
    key : str
        Object, relative to its folder; of an item without a record what it has to fill.
    item : int or None
        The shard, cell or metadata object it belongs to, where that is known.
    detail : str
        What was expected and what was found.
    stage : str
        Whose records name the object.
    stored : str
        Checksum of what is stored, where it was read.
    """

    kind: str
    key: str
    item: int | None = None
    detail: str = ""
    stage: str = ""
    stored: str = ""

    @property
    def of_record(self) -> bool:
        """Whether a record is at fault and no object."""
        return self.kind in ("torn record", "foreign record", "stale record")

    def __str__(self) -> str:
        """One line for a terminal."""
        return f"{self.key}: {self.kind}{': ' * bool(self.detail)}{self.detail}"


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
        yield from problems


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


def _check(url: str, batch: list[tuple[int, dict[str, Any]]]) -> list[Problem]:
    blobs = Blobs(url)
    found = (_compare(blobs, item, record) for item, record in batch)
    return [problem for problem in found if problem is not None]


def _compare(blobs: Blobs, item: int, record: dict[str, Any]) -> Problem | None:
    """What is wrong with one object, if anything."""
    key = record["key"]
    try:
        data = blobs.read(key)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return Problem("missing", key, item)
    except OSError as error:
        # A broken sector is a fault of the object; a store that is away is none.
        if error.errno != errno.EIO:
            raise
        return Problem("changed", key, item, f"cannot be read ({error.strerror})")
    stored = checksum(data)
    if stored == record["checksum"]:
        return None
    detail = f"{record['size']} bytes recorded, {len(data)} stored"
    return Problem("changed", key, item, detail, stored=stored)


def in_sample(key: str, share: float, seed: int) -> bool:
    """Whether an object belongs to the sample of a seed; the same on every machine."""
    if share >= 1:
        return True
    drawn = hashlib.blake2b(f"{seed} {key}".encode(), digest_size=8).digest()
    return int.from_bytes(drawn) < share * _DRAWS


@dataclass(slots=True)
class Listing:
    """What a folder holds, measured against the cells it should hold.

    Attributes
    ----------
    sizes : dict
        For each level's path the bytes of every cell's object, int64, -1 where there is none.
    others : dict
        Bytes of the other objects that are expected.
    strays : list of str
        Keys that belong to nothing.
    """

    sizes: dict[str, np.ndarray] = field(default_factory=dict)
    others: dict[str, int] = field(default_factory=dict)
    strays: list[str] = field(default_factory=list)

    def size(self, levels: Sequence[LevelCells], key: str) -> int:
        """Bytes of an object, -1 where there is none."""
        for level in levels:
            index = level.wanted(key)
            if index is not None:
                return int(self.sizes[level.path][level.number(index)])
        return self.others.get(key, -1)


def list_objects(
    url: str, levels: Sequence[LevelCells], expected: Iterable[str], prefix: str = ""
) -> Listing:
    """List a folder once.

    Parameters
    ----------
    url : str
        Folder that the keys are relative to.
    levels : sequence of LevelCells
        Cells that belong there.
    expected : iterable of str
        Other keys that belong there.
    prefix : str
        Folder below the URL to look at; all of it without.
    """
    listing = Listing({level.path: np.full(level.total, -1, np.int64) for level in levels})
    known = frozenset(expected)
    for key, size in Blobs(url).list(prefix):
        if key in known:
            listing.others[key] = size
            continue
        for level in levels:
            index = level.wanted(key)
            if index is not None:
                listing.sizes[level.path][level.number(index)] = size
                break
        else:
            listing.strays.append(key)
    return listing
