"""A few shards computed as a run computes them, and what each part of them took.

The shards go through the executor of the run, as many at a time as in the run, until every
worker has done a few after the first: the first one loads libraries, opens the network and
compiles it, which a long run does once. ::

    worker 1   open ......|first|  1  |  2  |  3  |
    worker 2   open ..........|first|  1  |  2  |  3  |
                                    ^ counted from here, worker by worker
"""

from __future__ import annotations

import os
import socket
import threading
import time
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING

from segmentation.load import Load, shard_load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from flows.executors import Executor, Outcome
    from flows.work import SegmentWork
    from segmentation.plan import ShardPlan
    from segmentation.region import Region
    from segmentation.shard import ShardResult

MEASURED_SHARDS = 3
# A worker that the cluster has no room for is not waited for beyond this many rounds of the others.
PATIENCE = 4


@dataclass(frozen=True, slots=True)
class Signed:
    """A result and the process that made it."""

    worker: str
    result: ShardResult


@dataclass(frozen=True, slots=True)
class SignedWork:
    """The work of a run whose results say which process made them."""

    work: SegmentWork

    def open(self) -> Callable[[int], Signed]:
        """Open the work; the function signs what the work gives."""
        function = self.work.open()
        worker = f"{socket.gethostname()} {os.getpid()}"
        return lambda item: Signed(worker, function(item))

    def region(self, item: int) -> Region:
        """Voxels that an item writes."""
        return self.work.region(item)


@dataclass(frozen=True, slots=True)
class Sight:
    """A finished shard: when it came in, in seconds from the start, and its result."""

    at: float
    result: ShardResult


@dataclass(frozen=True, slots=True)
class ShardRates:
    """What shards cost one worker while all workers are busy.

    Attributes
    ----------
    opening : float
        Seconds until the last worker has opened network and stores and compiled.
    read, compute, write : float
        Seconds a voxel that is read, computed or written (with its counting).
    overlap : float
        Seconds of a worker a shard / the sum of those three: 1 and a little for the driver where
        nothing overlaps, down to one third where a worker has three shards in flight.
    fill : float
        Seconds of the first read and the last write of a worker, which overlap with nothing.
    stored : float
        Bytes stored a voxel written.
    workers : int
        Workers that were measured.
    """

    opening: float
    read: float
    compute: float
    write: float
    overlap: float
    fill: float
    stored: float
    workers: int

    def parts(self, load: Load) -> tuple[float, float, float]:
        """Seconds of reading, computing and writing, one after the other."""
        return self.read * load.read, self.compute * load.computed, self.write * load.written

    def seconds(self, load: Load) -> float:
        """Seconds of one worker that is busy with a load, its parts overlapping."""
        return self.overlap * sum(self.parts(load))


def spread(count: int, wanted: int) -> list[int]:
    """Positions in the middle of equal parts; all of them where there are no more.

    Examples
    --------
    >>> spread(100, 3), spread(2, 3)
    ([16, 50, 83], [0, 1])
    """
    wanted = min(count, wanted)
    return [(2 * part + 1) * count // (2 * wanted) for part in range(wanted)]


def measure_shards(
    work: SegmentWork,
    executor: Executor,
    workers: int,
    note: Callable[[int, ShardResult], None],
) -> ShardRates:
    """Compute a few shards spread over the plan again and again until all workers were timed.

    Parameters
    ----------
    work : SegmentWork
        Writes to a scratch folder.
    executor : Executor
        Of the run.
    workers : int
        How many it has.
    note : callable
        Gets every finished shard and its result, as the driver of a run does.

    Raises
    ------
    RuntimeError
        If a shard cannot be computed.
    """
    items = cycle(spread(len(work.plan), MEASURED_SHARDS))
    stop = threading.Event()
    outcomes = executor.map(SignedWork(work), items, stop)
    started = time.perf_counter()
    try:
        seen = _observe(outcomes, workers, note, started)
    finally:
        # Closing lets go of the workers at once: what they have begun is of no use.
        close = getattr(outcomes, "close", None)
        if close is not None:
            close()
    return rates(work.plan, seen, getattr(executor, "in_flight", 1))


def _observe(
    outcomes: Iterator[Outcome],
    workers: int,
    note: Callable[[int, ShardResult], None],
    started: float,
) -> list[list[Sight]]:
    """The shards of every worker, until enough of each came after the last worker was ready."""
    seen: dict[str, list[Sight]] = {}
    for number, outcome in enumerate(outcomes, start=1):
        if outcome.error is not None:
            raise RuntimeError(f"shard {outcome.item} of the plan fails: {outcome.error}")
        signed: Signed = outcome.result
        note(outcome.item, signed.result)
        sight = Sight(time.perf_counter() - started, signed.result)
        seen.setdefault(signed.worker, []).append(sight)
        if len(seen) == workers or number >= PATIENCE * workers * (1 + MEASURED_SHARDS):
            timed = timed_sights(list(seen.values()))
            if all(len(sights) > MEASURED_SHARDS for sights in timed):
                return list(seen.values())
    raise RuntimeError("the executor ended before its workers could be timed")


def timed_sights(seen: Sequence[Sequence[Sight]]) -> list[list[Sight]]:
    """Of every worker the shards that came after the last worker was ready, and the one before.

    Parameters
    ----------
    seen : sequence of sequence of Sight
        In the order in which they came in.
    """
    ready = max(sights[0].at for sights in seen)
    return [
        list(sights[max(i for i, sight in enumerate(sights) if sight.at <= ready) :])
        for sights in seen
    ]


def rates(plan: ShardPlan, seen: Sequence[Sequence[Sight]], in_flight: int) -> ShardRates:
    """Seconds a voxel from the shards of every worker, and what came before its first one.

    Parameters
    ----------
    plan : ShardPlan
        Theirs.
    seen : sequence of sequence of Sight
        Of every worker, in the order in which they came in.
    in_flight : int
        Shards a worker has at a time.
    """
    timed = timed_sights(seen)
    results = [sight.result for sights in timed for sight in sights[1:]]
    load = _sum(shard_load(plan, result.index) for result in results)
    # A shard that waits for the device computes nothing.
    computing = "compute" if in_flight == 1 else "device"
    read, compute, write = (
        sum(result.seconds[part] for result in results) for part in ("read", computing, "write")
    )
    total = read + compute + write
    busy = sum(sights[-1].at - sights[0].at for sights in timed)
    # The reads of the first shards came before the interval, and a part of their computing where
    # shards take turns: no worker does more than `in_flight` things at a time, and no device more
    # than one, however short the interval.
    overlap = max(busy, total / in_flight, compute) / max(total, 1e-9)
    stored = sum(stored["size"] for result in results for stored in result.objects)
    alone = 0.0 if in_flight == 1 else (read + write) / len(results)
    rate = compute / load.computed
    return ShardRates(
        opening=max(_opened(plan, sights[0], computing, rate) for sights in seen),
        read=read / load.read,
        compute=rate,
        write=write / load.written,
        overlap=overlap,
        fill=alone,
        stored=stored / load.written,
        workers=len(timed),
    )


def _opened(plan: ShardPlan, first: Sight, computing: str, rate: float) -> float:
    """When a worker began its first shard, and what the device took longer for it than usual.

    That is the compilation. How long the shard took says nothing: others took turns with it.
    """
    seconds = first.result.seconds
    began = first.at - sum(seconds[part] for part in ("read", "compute", "write"))
    usual = rate * shard_load(plan, first.result.index).computed
    return max(0.0, began) + max(0.0, seconds[computing] - usual)


def _sum(loads: Iterable[Load]) -> Load:
    total = Load(0, 0, 0)
    for load in loads:
        total += load
    return total
