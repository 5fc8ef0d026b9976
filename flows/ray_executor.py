"""Ray: a pool of actors, bounded in flight. The one home of Ray.

An actor opens the work once and runs a few items at a time in threads, so that reading,
computing and writing overlap; the work itself makes its threads take turns at the device.

Failures are counted here, not by Ray. An exception blames its item. The death of an actor
blames nobody yet: a new actor takes its place, everything it had in flight is suspected, and
every suspect is rerun with an actor to itself; only an item that then takes its actor down again
is to blame. A node that is taken away (preempted) is nobody's fault. Actors that die again and
again before the work is open end the run: nothing would ever be computed.
"""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import signal
import socket
import tempfile
import threading
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.evidence import Evidence, Whereabouts, evidence_of, evidence_of_death
from flows.executors import (
    MAX_ATTEMPTS,
    Outcome,
    Work,
    WorkerStartError,
    describe,
    is_fatal,
    logger,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

IN_FLIGHT = 3
POLL_SECONDS = 0.5

# A silent network partition would hang tasks with Ray's defaults; these find it within seconds.
KEEPALIVE = {
    "RAY_grpc_client_keepalive_time_ms": "10000",
    "RAY_grpc_client_keepalive_timeout_ms": "10000",
    "RAY_health_check_period_ms": "3000",
    "RAY_health_check_timeout_ms": "10000",
    "RAY_health_check_failure_threshold": "3",
}
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
    "RAY_DEDUP_LOGS": "0",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "PYTHONWARNINGS": "ignore",
}


class _Actor:
    """Runs in a Ray worker process."""

    def __init__(self, work: Work) -> None:
        self.work = work

    def open(self) -> Whereabouts:
        """Open the work; called once, before the first item. Where this process is."""
        import ray

        context = ray.get_runtime_context()
        logs = Path(context.get_temp_dir(), context.get_session_name(), "logs")
        self.worker = Whereabouts.here(str(logs))
        self.function = self.work.open()
        return self.worker

    def run(self, item: int) -> Any:
        """Result of one item, or the exception it raised."""
        try:
            return self.function(item)
        except Exception as error:
            return _Failure(describe(error), is_fatal(error), evidence_of(error, self.worker))


@dataclass(frozen=True, slots=True)
class _Failure:
    message: str
    fatal: bool
    evidence: Evidence


@dataclass(slots=True, eq=False)
class _Member:
    """An actor of the pool, as the driver sees it; an actor that replaces it is a new member.

    `isolated` keeps new items away from it, `alone` says that what it runs is one suspect.
    """

    handle: Any
    ready: Any
    opened: bool = False
    isolated: bool = False
    alone: bool = False
    in_flight: int = 0
    worker: Whereabouts | None = None


@dataclass(slots=True)
class _Pool:
    """Items on their way through the actors."""

    members: list[_Member]
    start_member: Callable[[], _Member]
    items: Iterator[int]
    in_flight: int = IN_FLIGHT
    retries: deque[int] = field(default_factory=deque)
    suspects: deque[int] = field(default_factory=deque)
    running: dict[Any, tuple[_Member, int]] = field(default_factory=dict)
    blames: dict[int, int] = field(default_factory=dict)
    exhausted: bool = False
    failed_starts: int = 0

    def next_item(self) -> int | None:
        """A retried item, else a new one."""
        if self.retries:
            return self.retries.popleft()
        item = next(self.items, None)
        self.exhausted = item is None
        return item

    def submit(self, member: _Member, item: int) -> None:
        """Hand an item to an actor."""
        self.running[member.handle.run.remote(item)] = (member, item)
        member.in_flight += 1

    def fill(self) -> None:
        """Give every open actor its share of items; suspects get one to themselves."""
        for member in self.members:
            if not member.opened or member.isolated:
                continue
            if self.suspects and not any(m.isolated for m in self.members):
                member.isolated = True
                continue
            while member.in_flight < self.in_flight:
                item = self.next_item()
                if item is None:
                    break
                self.submit(member, item)
        for member in self.members:
            if member.isolated and member.opened and member.in_flight == 0:
                member.alone = member.isolated = bool(self.suspects)
                if self.suspects:
                    self.submit(member, self.suspects.popleft())

    def replace(self, member: _Member) -> None:
        """Put a new actor in the place of one that is gone; once for each."""
        import ray

        if member in self.members:
            # Out of reach is not dead: a lost actor must not go on writing.
            ray.kill(member.handle)
            self.members[self.members.index(member)] = self.start_member()

    def blame(self, item: int, failure: _Failure) -> Outcome | None:
        """Count a failure; an outcome once the attempts are used up."""
        self.blames[item] = self.blames.get(item, 0) + 1
        if failure.fatal or self.blames[item] >= MAX_ATTEMPTS:
            return Outcome(
                item,
                error=failure.message,
                attempts=self.blames.pop(item),
                fatal=failure.fatal,
                evidence=failure.evidence,
            )
        self.retries.append(item)
        return None


@dataclass(slots=True)
class RayExecutor:
    """An actor pool on a Ray cluster, started locally when no address is given.

    Attributes
    ----------
    workers : int
        Number of actors.
    cpus_per_worker, gpus_per_worker : float
        What each actor asks of the cluster.
    address : str or None
        ``auto``, ``host:port`` or ``ray://…`` of a running cluster.
    in_flight : int
        Items an actor runs at a time, in threads.
    """

    workers: int
    cpus_per_worker: float
    gpus_per_worker: float = 0.0
    address: str | None = None
    in_flight: int = IN_FLIGHT
    _started: bool = False

    def start(self) -> None:
        """Connect to the cluster, or start one that listens on this machine only."""
        if self._started:
            return
        # Ray reads its settings when it is imported.
        for key, value in {**KEEPALIVE, **QUIET}.items():
            os.environ.setdefault(key, value)
        # "local", as Ray would join a cluster that somebody else has started on this machine.
        address = self.address or os.environ.get("RAY_ADDRESS") or "local"
        if address == "local":
            _private_cluster()
        import ray

        # Ray's own message that it starts no dashboard is an error to it.
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "CRITICAL"}
        if not ray.is_initialized():
            with _no_dashboard() as without:
                if address == "local":
                    total = max(self.workers * self.cpus_per_worker, 1)
                    options |= without | {
                        "num_cpus": int(-(-total // 1)),
                        "object_store_memory": 128 * 2**20,
                    }
                _connect(address, options)
            self._started = True

    def map(self, work: Work, items: Iterable[int], stop: threading.Event) -> Iterator[Outcome]:
        """Outcome of every item, as they finish."""
        self.start()
        import ray

        start = partial(self._member, work)
        pool = _Pool([start() for _ in range(self.workers)], start, iter(items), self.in_flight)
        try:
            with _cluster_errors():
                yield from _drive(pool, stop)
        finally:
            for member in pool.members:
                ray.kill(member.handle)

    def _member(self, work: Work) -> _Member:
        import ray

        actor = ray.remote(_Actor).options(
            num_cpus=self.cpus_per_worker,
            num_gpus=self.gpus_per_worker,
            max_restarts=0,
            max_task_retries=0,
            max_concurrency=self.in_flight,
        )
        handle = actor.remote(work)
        return _Member(handle, handle.open.remote())

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

    with _cluster_errors():
        try:
            return ray_dask_get(graph, keys, **options)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None


def _drive(pool: _Pool, stop: threading.Event) -> Iterator[Outcome]:
    """Keep the actors busy until every item has its outcome or a stop is asked for."""
    import ray

    while True:
        _open_members(pool)
        if not stop.is_set():
            pool.fill()
        waiting = [*pool.running, *(m.ready for m in pool.members if not m.opened)]
        if not pool.running and (stop.is_set() or _is_done(pool)):
            return
        finished, _ = ray.wait(waiting, timeout=POLL_SECONDS)
        for reference in finished:
            if reference not in pool.running:
                continue
            outcome = _collect(pool, reference)
            if outcome is not None:
                yield outcome
                if outcome.fatal:
                    stop.set()


def _is_done(pool: _Pool) -> bool:
    return pool.exhausted and not pool.retries and not pool.suspects


def _open_members(pool: _Pool) -> None:
    """Note the actors that have opened the work; an error of the work itself ends the run."""
    import ray

    for member in list(pool.members):
        if not member.opened and ray.wait([member.ready], timeout=0)[0]:
            try:
                member.worker = ray.get(member.ready)
            except ray.exceptions.RayTaskError as error:
                raise error.cause from None
            except ray.exceptions.RayActorError as error:
                _start_failed(pool, member, error)
            else:
                member.opened = True
                pool.failed_starts = 0


def _start_failed(pool: _Pool, member: _Member, error: Any) -> None:
    pool.failed_starts += not error.preempted
    if pool.failed_starts >= MAX_ATTEMPTS:
        raise WorkerStartError(
            f"workers died {MAX_ATTEMPTS} times in a row while they opened model and image; "
            "give them more memory, or fewer --workers"
        )
    pool.replace(member)


def _collect(pool: _Pool, reference: Any) -> Outcome | None:
    """What a finished call means for its item and its actor."""
    import ray

    member, item = pool.running.pop(reference)
    member.in_flight -= 1
    try:
        result = ray.get(reference)
    except ray.exceptions.RayActorError as error:
        return _actor_died(pool, member, item, error)
    except ray.exceptions.RayError as error:
        return pool.blame(item, _Failure(describe(error), False, evidence_of(error)))
    if isinstance(result, _Failure):
        logger.info("shard %d failed: %s", item, result.message)
        return pool.blame(item, result)
    return Outcome(item, result, attempts=pool.blames.pop(item, 0) + 1)


def _actor_died(pool: _Pool, member: _Member, item: int, error: Any) -> Outcome | None:
    pool.replace(member)
    if error.preempted:
        pool.retries.append(item)
        return None
    if member.alone:
        logger.info("shard %d took its worker down", item)
        message = f"worker died while it alone computed shard {item}"
        outcome = pool.blame(item, _Failure(message, False, evidence_of_death(member.worker)))
        if outcome is None:
            pool.retries.remove(item)
            pool.suspects.append(item)
        return outcome
    logger.info("shard %d is suspected: its worker died", item)
    pool.suspects.append(item)
    return None


def _connect(address: str, options: dict[str, Any]) -> None:
    """Join a cluster, or start one; what goes wrong then is of no type of its own."""
    import ray

    try:
        with _own_signals():
            ray.init(address, **options)
    except ValueError:
        raise
    except Exception as error:
        reason = describe(error).partition("\n")[0]
        raise WorkerStartError(
            f"Ray could not be started or reached ({reason}); run the same command again"
        ) from error


@contextmanager
def _cluster_errors() -> Iterator[None]:
    """Tell a cluster that cannot be reached, or that has died, from an error of the work."""
    import ray

    try:
        yield
    except ray.exceptions.RayError as error:
        reason = describe(error).partition("\n")[0]
        raise WorkerStartError(f"Ray does not answer ({reason})") from error


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep the process's answer to SIGTERM: Ray would exit where we stop at a shard border."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _no_dashboard() -> Iterator[dict[str, Any]]:
    """Options under which Ray starts no dashboard; good until the context ends.

    Without its pages the dashboard's process is still started, to report the use of Ray. Forbidden
    to, it nevertheless asks the name server and 169.254.169.254 which cloud this is. Ray does
    without that process where its port is taken.
    """
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield {"include_dashboard": False, "dashboard_port": taken.getsockname()[1]}


def _private_cluster() -> None:
    """Settings of a local cluster: loopback only, a token of its own that only we can read."""
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    if "RAY_AUTH_MODE" not in os.environ:
        folder = Path(tempfile.mkdtemp(prefix="maskmill-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        token = folder / "ray_token"
        descriptor = os.open(token, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN_PATH"] = str(token)
