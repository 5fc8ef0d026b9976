"""The executor that runs on Ray: a pool of actors, bounded in flight.

An actor opens the work once and runs a few items at a time in threads, so that reading,
computing and writing overlap; the work itself makes its threads take turns at the device.
What becomes of failures is decided in `flows.ray_drive`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from flows.logs import current_fields, is_logging
from flows.ray_actor import Actor, Surroundings
from flows.ray_cluster import cluster_errors, connect
from flows.ray_drive import drive
from flows.ray_meter import PoolMeter
from flows.ray_pool import Member, Pool
from flows.ray_settings import LOCAL, apply_settings, cluster_address, no_dashboard
from segmentation.planner import IN_FLIGHT

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable, Iterator

    from flows.executors import Outcome, Work


@dataclass(slots=True)
class RayExecutor:
    """An actor pool on a Ray cluster, started locally when no address is given.

    Attributes
    ----------
    workers : int
        Number of actors.
    cpus_per_worker, gpus_per_worker : float
        What each actor asks of the cluster; of CPUs no more than its largest machine has.
    address : str or None
        ``auto`` or ``HOST:PORT`` of a running cluster that this machine is a part of.
    in_flight : int
        Items an actor runs at a time, in threads.

    Raises
    ------
    RequestError
        If the address is none, or the token of that cluster is missing.
    """

    workers: int
    cpus_per_worker: float
    gpus_per_worker: float = 0.0
    address: str | None = None
    in_flight: int = IN_FLIGHT
    _started: bool = False

    def __post_init__(self) -> None:
        cluster_address(self.address, os.environ)

    def start(self) -> None:
        """Connect to the cluster, or start one that listens on this machine only."""
        if self._started:
            return
        address = cluster_address(self.address, os.environ)
        # Ray reads its settings when it is imported.
        apply_settings(address)
        import ray

        # Ray's own message that it starts no dashboard is an error to it.
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "CRITICAL"}
        if not ray.is_initialized():
            with no_dashboard() as without:
                if address == LOCAL:
                    total = max(self.workers * self.cpus_per_worker, 1)
                    options |= without | {
                        "num_cpus": int(-(-total // 1)),
                        "object_store_memory": 128 * 2**20,
                    }
                connect(address, options)
            self._started = True

    def map(self, work: Work, items: Iterable[int], stop: threading.Event) -> Iterator[Outcome]:
        """Outcome of every item, as they finish."""
        self.start()
        import ray

        fields = current_fields()
        start = partial(self._member, work, Surroundings(fields, is_logging()), self._share())
        members = [start() for _ in range(self.workers)]
        meter = PoolMeter(work, self.workers, fields)
        pool = Pool(members, start, iter(items), meter, self.in_flight)
        try:
            with cluster_errors():
                yield from drive(pool, stop)
        finally:
            for member in pool.members:
                ray.kill(member.handle)

    def _share(self) -> float:
        """CPUs an actor asks for: more than the largest machine has would never be granted."""
        import ray

        counts = (one["Resources"].get("CPU", 0.0) for one in ray.nodes() if one["Alive"])
        largest: float = max(counts, default=0.0)
        return min(self.cpus_per_worker, largest) if largest else self.cpus_per_worker

    def _member(self, work: Work, surroundings: Surroundings, cpus: float) -> Member:
        import ray

        actor = ray.remote(Actor).options(
            num_cpus=cpus,
            num_gpus=self.gpus_per_worker,
            max_restarts=0,
            max_task_retries=0,
            max_concurrency=self.in_flight,
        )
        handle = actor.remote(work, surroundings)
        return Member(handle, handle.open.remote())

    def dask_scheduler(self) -> Any:
        """Dask graphs as Ray tasks."""
        self.start()
        return _dask_get

    def close(self) -> None:
        """Stop the cluster this executor started, or disconnect."""
        if self._started:
            import ray

            ray.shutdown()
            self._started = False


def _dask_get(graph: Any, keys: Any, **options: Any) -> Any:
    """Results of a dask graph, or the error a task raised without Ray's traceback around it."""
    import ray
    from ray.util.dask import ray_dask_get

    with cluster_errors():
        try:
            return ray_dask_get(graph, keys, **options)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None
