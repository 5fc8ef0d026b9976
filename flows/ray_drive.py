"""The driver's loop over a pool of actors, and who is to blame for what.

Failures are counted here, not by Ray. An exception blames its item. The death of an actor
blames nobody yet: a new actor takes its place, everything it had in flight is suspected, and
every suspect is rerun with an actor to itself; only an item that then takes its actor down again
is to blame. A node that is taken away (preempted) is nobody's fault. Actors that die again and
again before the work is open end the run: nothing would ever be computed.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from flows.evidence import evidence_of, evidence_of_death
from flows.executors import MAX_ATTEMPTS, Outcome, WorkerStartError, describe, logger
from flows.ray_actor import Failure

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator

    from flows.ray_pool import Member, Pool

POLL_SECONDS = 0.5
# Without a result for so long, it is looked whether there are machines at all.
LOOK_SECONDS = 10.0


def drive(pool: Pool, stop: threading.Event) -> Iterator[Outcome]:
    """Keep the actors busy until every item has its outcome or a stop is asked for."""
    import ray

    looked = time.monotonic()
    while True:
        _open_members(pool)
        pool.meter.tell_share()
        if not stop.is_set():
            pool.fill()
        waiting = [*pool.running, *(m.ready for m in pool.members if not m.opened)]
        if not pool.running and (stop.is_set() or pool.is_done):
            return
        finished, _ = ray.wait(waiting, timeout=POLL_SECONDS)
        if finished or time.monotonic() > looked + LOOK_SECONDS:
            looked = time.monotonic()
            if not finished:
                _check_nodes()
        for reference in finished:
            if reference not in pool.running:
                continue
            outcome = _collect(pool, reference)
            if outcome is not None:
                yield outcome
                if outcome.fatal:
                    stop.set()


def _check_nodes() -> None:
    """Where no machine is left an actor that was asked for stays pending; nobody says so."""
    import ray

    if not any(node["Alive"] for node in ray.nodes()):
        raise WorkerStartError(
            "no machine of the Ray cluster is alive any more; run the same command to go on"
        )


def _open_members(pool: Pool) -> None:
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
                logger.info("a worker is ready", extra={"event": "worker-opened"})
                pool.failed_starts = 0


def _start_failed(pool: Pool, member: Member, error: Any) -> None:
    pool.failed_starts += not error.preempted
    if pool.failed_starts >= MAX_ATTEMPTS:
        raise WorkerStartError(
            f"workers died {MAX_ATTEMPTS} times in a row while they opened model and image; "
            "give them more memory, or fewer --workers"
        )
    pool.replace(member)


def _collect(pool: Pool, reference: Any) -> Outcome | None:
    """What a finished call means for its item and its actor."""
    import ray

    member, item = pool.running.pop(reference)
    member.in_flight -= 1
    try:
        result = ray.get(reference)
    except ray.exceptions.RayActorError as error:
        return _actor_died(pool, member, item, error)
    except ray.exceptions.RayError as error:
        pool.meter.failed()
        return pool.blame(item, Failure(describe(error), False, evidence_of(error)))
    if isinstance(result, Failure):
        pool.meter.failed()
        _say("attempt-failed", item, f"failed: {result.message}")
        return pool.blame(item, result)
    pool.meter.done(item, result)
    return Outcome(item, result, attempts=pool.blames.pop(item, 0) + 1)


def _actor_died(pool: Pool, member: Member, item: int, error: Any) -> Outcome | None:
    if member in pool.members:
        pool.meter.died()
    pool.replace(member)
    if error.preempted:
        pool.retries.append(item)
        return None
    if member.alone:
        _say("worker-died", item, "took its worker down")
        message = f"worker died while it alone computed shard {item}"
        outcome = pool.blame(item, Failure(message, False, evidence_of_death(member.worker)))
        if outcome is None:
            pool.retries.remove(item)
            pool.suspects.append(item)
        return outcome
    _say("worker-died", item, "is suspected: its worker died")
    pool.suspects.append(item)
    return None


def _say(event: str, item: int, text: str) -> None:
    logger.info("shard %d %s", item, text, extra={"event": event, "shard": item})
