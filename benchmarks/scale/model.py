"""What a run takes on N workers, from parts that were measured: a pure function.

::

    run = start + plan + infer + pyramid + verify + aggregate

    infer = max( rounds · a worker's seconds for a shard,      the workers
                 shards · the driver's seconds for a shard,    the driver
                 bytes read and written / the store's rate )   the store all of them share

A worker's threads read, compute and write at the same time, so a shard takes it the longest of
the three; the last round is full even where few shards are left for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Parts:
    """What is measured, or assumed, of a machine, a network and a store.

    Attributes
    ----------
    device_voxels : float
        Computed voxels a second of one worker's device, halos counted.
    host_voxels : float
        Wanted voxels a second that one worker reads, decodes, counts, encodes and writes.
    worker_bytes : float
        Bytes a second between the store and one worker.
    store_bytes : float
        Bytes a second that the store gives all workers together.
    driver_seconds : float
        Of the driver for one shard, while shards are computed.
    end_seconds : float
        Of the driver for one shard at the end: aggregate, verify's records and listing, timings.
    plan_seconds : float
        Of the driver for one shard before the first one starts: listing of the image, plan.
    start_seconds : float
        From the command to the first shard.
    pyramid_voxels : float
        Voxels of level 0 a second that one worker reduces.
    verify_bytes : float
        Stored bytes a second that one worker compares with their checksums.
    """

    device_voxels: float
    host_voxels: float
    worker_bytes: float
    store_bytes: float
    driver_seconds: float
    end_seconds: float
    plan_seconds: float
    start_seconds: float
    pyramid_voxels: float
    verify_bytes: float


@dataclass(frozen=True, slots=True)
class Load:
    """What is to be done.

    Attributes
    ----------
    voxels : float
        Wanted voxels.
    shard_voxels : float
        Of one shard.
    amplification : float
        Computed over wanted voxels.
    read_bytes, written_bytes : float
        Stored bytes for one wanted voxel; halos are counted in what is read.
    workers : int
        Each with a device.
    """

    voxels: float
    shard_voxels: float
    amplification: float
    read_bytes: float
    written_bytes: float
    workers: int

    @property
    def shards(self) -> int:
        """How many there are."""
        return math.ceil(self.voxels / self.shard_voxels)


@dataclass(frozen=True, slots=True)
class Estimate:
    """Seconds of every stage, and what holds the workers up.

    Attributes
    ----------
    seconds : dict
        By stage.
    limit : str
        ``device``, ``host``, ``connection``, ``driver`` or ``store``.
    efficiency : float
        Seconds that the devices alone would take, over those of the whole run.
    """

    seconds: dict[str, float]
    limit: str
    efficiency: float

    @property
    def total(self) -> float:
        """Seconds of the run."""
        return sum(self.seconds.values())


def estimate(parts: Parts, load: Load) -> Estimate:
    """Seconds of a run, stage by stage.

    Parameters
    ----------
    parts : Parts
        Of machine, network and store.
    load : Load
        What is to be done.
    """
    moved = load.read_bytes + load.written_bytes
    per_shard = {
        "device": load.shard_voxels * load.amplification / parts.device_voxels,
        "host": load.shard_voxels / parts.host_voxels,
        "connection": load.shard_voxels * moved / parts.worker_bytes,
    }
    rounds = math.ceil(load.shards / load.workers)
    ways = {name: rounds * seconds for name, seconds in per_shard.items()}
    ways["driver"] = load.shards * parts.driver_seconds
    ways["store"] = load.voxels * moved / parts.store_bytes
    limit = max(ways, key=lambda name: ways[name])
    rewritten = load.voxels * load.written_bytes
    seconds = {
        "start": parts.start_seconds,
        "plan": load.shards * parts.plan_seconds,
        "infer": ways[limit],
        "pyramid": load.voxels / (parts.pyramid_voxels * load.workers),
        "verify": max(
            rewritten / (parts.verify_bytes * load.workers), rewritten / parts.store_bytes
        ),
        "end": load.shards * parts.end_seconds,
    }
    device = load.voxels * load.amplification / (parts.device_voxels * load.workers)
    return Estimate(seconds, limit, device / sum(seconds.values()))


def scaled(parts: Parts, load: Load, workers: tuple[int, ...]) -> dict[int, Estimate]:
    """The same work on several numbers of workers."""
    return {count: estimate(parts, replace(load, workers=count)) for count in workers}
