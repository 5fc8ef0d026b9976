"""The counters of `flows.metrics` as Ray keeps them.

The driver counts, as every result passes it. A worker's own counts would be lost with it: it is
killed at the end of a stage, and Ray collects the counts of a process every few seconds only.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from flows import metrics

if TYPE_CHECKING:
    from flows.executors import Work


class PoolMeter:
    """Counts what becomes of the items of one piece of work.

    Parameters
    ----------
    work : Work
        Says how many voxels an item has.
    workers : int
        How many there are, with a device each.
    fields : dict
        Of the log: run and stage become labels.
    """

    def __init__(self, work: Work, workers: int, fields: dict[str, Any]) -> None:
        from ray.util.metrics import Counter, Gauge

        tags = metrics.labels(fields)
        self._work = work
        self._share = metrics.BusyShare(time.monotonic(), workers)
        self._counters = {
            name: Counter(name, text, metrics.LABELS).set_default_tags(tags)
            for name, text in metrics.COUNTERS.items()
        }
        self._busy = Gauge(metrics.DEVICE_BUSY, metrics.DEVICE_BUSY_TEXT, metrics.LABELS)
        self._busy.set_default_tags(tags)

    def done(self, item: int, result: Any) -> None:
        """Count an item that was computed."""
        seconds = metrics.device_seconds(result)
        self._count(metrics.SHARDS, 1)
        self._count(metrics.VOXELS, metrics.item_voxels(self._work, item))
        self._count(metrics.DEVICE_SECONDS, seconds)
        self._share.add(time.monotonic(), seconds)

    def tell_share(self) -> None:
        """Say how busy the devices are; to be repeated, as Ray forgets what it has told."""
        self._busy.set(self._share.share(time.monotonic()))

    def failed(self) -> None:
        """Count an attempt that ended with an error."""
        self._count(metrics.FAILURES, 1)

    def died(self) -> None:
        """Count a worker that died."""
        self._count(metrics.DEATHS, 1)

    def _count(self, name: str, count: float) -> None:
        if count > 0:
            self._counters[name].inc(count)
