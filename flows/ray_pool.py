"""Items on their way through a pool of actors, bounded in flight: who gets what next."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flows.executors import MAX_ATTEMPTS, Outcome
from segmentation.planner import IN_FLIGHT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flows.evidence import Whereabouts
    from flows.ray_actor import Failure
    from flows.ray_meter import PoolMeter


@dataclass(slots=True, eq=False)
class Member:
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
class Pool:
    """Items on their way through the actors."""

    members: list[Member]
    start_member: Callable[[], Member]
    items: Iterator[int]
    meter: PoolMeter
    in_flight: int = IN_FLIGHT
    retries: deque[int] = field(default_factory=deque)
    suspects: deque[int] = field(default_factory=deque)
    running: dict[Any, tuple[Member, int]] = field(default_factory=dict)
    blames: dict[int, int] = field(default_factory=dict)
    exhausted: bool = False
    failed_starts: int = 0

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to start."""
        return self.exhausted and not self.retries and not self.suspects

    def next_item(self) -> int | None:
        """A retried item, else a new one."""
        if self.retries:
            return self.retries.popleft()
        item = next(self.items, None)
        self.exhausted = item is None
        return item

    def submit(self, member: Member, item: int) -> None:
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

    def replace(self, member: Member) -> None:
        """Put a new actor in the place of one that is gone; once for each."""
        import ray

        if member in self.members:
            # Out of reach is not dead: a lost actor must not go on writing.
            ray.kill(member.handle)
            self.members[self.members.index(member)] = self.start_member()

    def blame(self, item: int, failure: Failure) -> Outcome | None:
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
