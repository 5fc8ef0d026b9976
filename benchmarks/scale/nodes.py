"""The same workers on one, two and four nodes of a Ray cluster on this machine.

Workers hold their device for a fixed time and compute nothing, so that what is measured is not
how busy two cores are but what the driver, and Ray between the nodes, add to it.
"""

from __future__ import annotations

import resource
import statistics
import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flows.ray_executor import RayExecutor
from flows.ray_settings import LOCAL, apply_settings
from segmentation.shard import ShardResult

if TYPE_CHECKING:
    from collections.abc import Callable

NODES = (1, 2, 4)
WORKERS = 4
STORE_BYTES = 80_000_000


@dataclass(frozen=True, slots=True)
class Nap:
    """Work whose items hold the device of their worker for a while.

    Attributes
    ----------
    seconds : float
        How long.
    """

    seconds: float

    def open(self) -> Callable[[int], ShardResult]:
        """The function of one item."""
        device = threading.Lock()

        def hold(item: int) -> ShardResult:
            with device:
                time.sleep(self.seconds)
            return ShardResult(item, {}, [], [], {"device": self.seconds})

        return hold


def measure_nodes(shards: int, seconds: float, rounds: int) -> dict[str, Any]:
    """Overhead of a shard over the time its worker is busy, by number of nodes.

    Parameters
    ----------
    shards : int
        That the workers do in a round.
    seconds : float
        That a shard holds a device.
    rounds : int
        Of each number of nodes, interleaved.
    """
    found: dict[int, list[tuple[float, float]]] = {count: [] for count in NODES}
    for _ in range(rounds):
        for count in NODES:
            found[count].append(_on_nodes(count, Nap(seconds), shards))
            wall, cpu = found[count][-1]
            sys.stderr.write(f"{count} nodes: {wall:.3g} ms, driver's CPU {cpu:.3g} ms\n")
    return {
        "workers": WORKERS,
        "shards": shards,
        "shard_seconds": seconds,
        "overhead_ms": {n: statistics.median(wall for wall, _ in found[n]) for n in NODES},
        "driver_cpu_ms": {n: statistics.median(cpu for _, cpu in found[n]) for n in NODES},
    }


def _on_nodes(count: int, work: Nap, shards: int) -> tuple[float, float]:
    """Milliseconds a shard takes beyond its nap, and of the driver's processor."""
    apply_settings(LOCAL)
    import ray  # noqa: TID251 a cluster of several nodes is Ray's own
    from ray.cluster_utils import Cluster  # noqa: TID251 the same

    cluster = Cluster()
    try:
        for _ in range(count):
            cluster.add_node(num_cpus=WORKERS // count, object_store_memory=STORE_BYTES)
        ray.init(address=cluster.address, log_to_driver=False, logging_level="CRITICAL")
        executor = RayExecutor(workers=WORKERS, cpus_per_worker=1.0)
        ends, used = [], []
        for _ in executor.map(work, range(shards), threading.Event()):
            ends.append(time.perf_counter())
            used.append(resource.getrusage(resource.RUSAGE_SELF))
    finally:
        ray.shutdown()
        cluster.shutdown()
    return per_shard(ends, [u.ru_utime + u.ru_stime for u in used], work.seconds)


def per_shard(ends: list[float], used: list[float], nap: float) -> tuple[float, float]:
    """Milliseconds beyond a nap, and of the driver's processor, for one shard of one worker.

    Parameters
    ----------
    ends, used : list of float
        At the end of every shard: the clock, and the processor's seconds so far.
    nap : float
        Seconds that a worker was busy with one.
    """
    counted = len(ends) - WORKERS
    wall = (ends[-1] - ends[WORKERS - 1]) * WORKERS / counted - nap
    return 1000 * wall, 1000 * (used[-1] - used[WORKERS - 1]) / counted
