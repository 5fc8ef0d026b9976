"""What is counted while shards are computed, under the names that Prometheus sees.

Ray adds the prefix ``ray_``, and ``_total`` to what only grows. Nothing is sent from here: a
cluster whose port for metrics is open hands the numbers out, any other keeps them to itself.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from segmentation.region import Region

SHARDS = "maskmill_shards"
VOXELS = "maskmill_voxels"
FAILURES = "maskmill_failures"
DEATHS = "maskmill_worker_deaths"
DEVICE_SECONDS = "maskmill_device_seconds"
DEVICE_BUSY = "maskmill_device_busy_share"

COUNTERS = {
    SHARDS: "Shards that were computed, also those computed again",
    VOXELS: "Voxels of those shards, without their halos",
    FAILURES: "Attempts at a shard that ended with an error",
    DEATHS: "Workers that died",
    DEVICE_SECONDS: "Seconds in which a shard had a device to itself",
}
DEVICE_BUSY_TEXT = "Share of the last minute in which the devices were busy, 0 to 1"
# A label of every metric: the folder of the run, and the stage.
LABELS = ("run", "stage")
WINDOW_SECONDS = 60.0


@runtime_checkable
class Placed(Protocol):
    """Work whose items are boxes of voxels."""

    def region(self, item: int, /) -> Region:
        """Voxels that an item is about."""


def item_voxels(work: object, item: int) -> int:
    """Voxels of an item; 0 where the work is about something else."""
    return work.region(item).voxels if isinstance(work, Placed) else 0


def device_seconds(result: Any) -> float:
    """Seconds in which an item had the device, as its result says; 0 where it says nothing."""
    seconds = getattr(result, "seconds", None)
    return float(seconds.get("device", 0.0)) if isinstance(seconds, dict) else 0.0


def labels(fields: dict[str, Any]) -> dict[str, str]:
    """Labels from the fields of a log: the last part of the run's URL, and the stage."""
    run = str(fields.get("run", "")).rstrip("/").rpartition("/")[2]
    return {"run": run, "stage": str(fields.get("stage", ""))}


@dataclass(slots=True)
class BusyShare:
    """Share of the last minute in which the devices of a pool were busy.

    Attributes
    ----------
    started : float
        When the pool began, in seconds of a clock that never goes back.
    devices : int
        One for each worker.
    """

    started: float
    devices: int = 1
    _ends: deque[tuple[float, float]] = field(default_factory=deque)

    def add(self, now: float, seconds: float) -> None:
        """Note that a shard ended which had a device for some seconds."""
        self._ends.append((now, seconds))

    def share(self, now: float) -> float:
        """The share, from 0 to 1; time before the pool began does not count as idle."""
        while self._ends and self._ends[0][0] <= now - WINDOW_SECONDS:
            self._ends.popleft()
        window = min(WINDOW_SECONDS, now - self.started) * self.devices
        return min(1.0, sum(busy for _, busy in self._ends) / window) if window > 0 else 0.0
