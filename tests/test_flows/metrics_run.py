"""A cluster with a port for metrics, some work on it, and what Prometheus would read there.

Run as a program, as the settings of a process's first cluster hold to its end.
"""

from __future__ import annotations

import os
import re
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from urllib.request import urlopen

from flows.logs import log_fields
from flows.ray_executor import RayExecutor
from flows.ray_settings import apply_settings
from segmentation.region import Region
from segmentation.shard import ShardResult

SETTLE_SECONDS = 10
BOX_SECONDS = 1.0
LINE = re.compile(r"^ray_(maskmill_\w+)\{(.*)\} (\S+)$")


@dataclass(frozen=True)
class Boxes:
    """Boxes of 5 × item voxels, said to have had the device for a quarter of a second."""

    failing: tuple[int, ...] = ()

    def open(self) -> Callable[[int], ShardResult]:
        return self.compute

    def region(self, item: int) -> Region:
        return Region((0, 0), (item, 5))

    def compute(self, item: int) -> ShardResult:
        if item in self.failing:
            raise ValueError(f"box {item} is not to be opened")
        time.sleep(BOX_SECONDS)
        return ShardResult(item, {}, [], [], {"device": 0.25})


def start_cluster(port: int) -> None:
    """A private cluster whose port for metrics is open, and fed every second."""
    os.environ["RAY_enable_metrics_collection"] = "1"  # noqa: SIM112 Ray's own name
    os.environ["RAY_metrics_report_interval_ms"] = "1000"  # noqa: SIM112
    apply_settings("local")
    import ray  # noqa: TID251 RayExecutor opens no such port

    ray.init(
        "local",
        num_cpus=1,
        include_dashboard=False,
        object_store_memory=100 * 2**20,
        log_to_driver=False,
        logging_level="ERROR",
        _metrics_export_port=port,
    )


def scrape(port: int) -> dict[str, float]:
    """Our metrics: values by name and labels, of which Ray's own are left out."""
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    found: dict[str, float] = {}
    for name, labels, value in (m.groups() for m in map(LINE.match, lines) if m):
        ours = re.findall(r'(?:run|stage)="[^"]*"', labels)
        found[f"{name} {' '.join(sorted(ours))}"] = float(value)
    return found


def watch(port: int, found: dict[str, float], over: threading.Event) -> None:
    """Read again and again: Ray tells a gauge only while it is set."""
    while not over.wait(0.5):
        with suppress(OSError):
            found.update(scrape(port))


def main() -> None:
    """Print what was last told of each metric."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    start_cluster(port)
    found: dict[str, float] = {}
    over = threading.Event()
    watcher = threading.Thread(target=watch, args=(port, found, over))
    watcher.start()
    executor = RayExecutor(workers=1, cpus_per_worker=1.0)
    with log_fields(run="file:///a.zarr.runs/cells-0123", stage="infer"):
        list(executor.map(Boxes(failing=(2,)), range(1, 5), threading.Event()))
    time.sleep(SETTLE_SECONDS)
    over.set()
    watcher.join()
    for name, value in sorted(found.items()):
        print(name, value)


if __name__ == "__main__":
    main()
