"""The executor that runs on Ray: a pool of actors, bounded in flight.

An actor opens the work once and runs a few items at a time in threads, so that reading,
computing and writing overlap; the work itself makes its threads take turns at the device.
What becomes of failures is decided in `flows.ray_drive`.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from logging import getLogger
from typing import TYPE_CHECKING, Any

from flows.background import in_background
from flows.logs import current_fields, is_logging
from flows.ray_actor import Actor, Surroundings
from flows.ray_cluster import cluster_errors, connect, own_signals
from flows.ray_drive import drive
from flows.ray_meter import PoolMeter
from flows.ray_pool import Member, Pool
from flows.ray_settings import LOCAL, apply_settings, cluster_address, no_dashboard
from segmentation.planner import IN_FLIGHT

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable, Iterator
    from concurrent.futures import Future

    from flows.executors import Outcome, Work

CLOSE_SECONDS = 20.0
# What Ray imports when it starts and Prefect when it is imported: two threads that import modules
# which import each other may meet half of one.
SHARED_IMPORTS = (
    "anyio.abc",
    "anyio.to_thread",
    "click",
    "cloudpickle",
    "opentelemetry.trace",
    "prometheus_client",
    "pydantic.v1",
    "starlette.exceptions",
)

logger = getLogger(__name__)


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
    _ahead: Future[None] | None = field(default=None, init=False)
    _spares: list[Any] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        cluster_address(self.address, os.environ)

    def warm(self, network: bool) -> None:
        """Begin to start a cluster of our own, and workers that the first work will find ready.

        What goes wrong is raised by what needs the cluster first.
        """
        if self._started or self._ahead or cluster_address(self.address, os.environ) != LOCAL:
            return
        apply_settings(LOCAL)
        import ray  # noqa: F401

        for name in SHARED_IMPORTS:
            import_module(name)

        def start() -> None:
            self._connect()
            self._spares += [self._actor(self.cpus_per_worker) for _ in range(self.workers)]
            for spare in self._spares:
                spare.warm.remote(network)

        self._ahead = in_background(start, "ray-ahead")

    def start(self) -> None:
        """Connect to the cluster, or start one that listens on this machine only."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead.result()
            own_signals()
        if not self._started:
            self._connect()

    def _connect(self) -> None:
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
            logger.info("the cluster is ready", extra={"event": "cluster-ready"})

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
        handle = self._spares.pop() if self._spares else self._actor(cpus)
        return Member(handle, handle.open.remote(work, surroundings))

    def _actor(self, cpus: float) -> Any:
        """An actor without work."""
        import ray

        actor = ray.remote(Actor).options(
            num_cpus=cpus,
            num_gpus=self.gpus_per_worker,
            max_restarts=0,
            max_task_retries=0,
            max_concurrency=self.in_flight,
        )
        return actor.remote()

    def dask_scheduler(self) -> Any:
        """Dask graphs as Ray tasks."""
        self.start()
        self._dismiss_spares()
        return _dask_get

    def _dismiss_spares(self) -> None:
        """End the workers that wait for work: tasks would wait for their CPUs."""
        import ray

        while self._spares:
            ray.kill(self._spares.pop())

    def close(self) -> None:
        """Stop the cluster this executor started, or disconnect."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            # Half a cluster cannot be stopped; one that hangs ends with this process.
            with suppress(Exception):
                ahead.result(CLOSE_SECONDS)
        self._spares.clear()
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
