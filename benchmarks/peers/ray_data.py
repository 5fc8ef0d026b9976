"""Ray Data's `map_batches` around a compiled Keras call.

Rows are the places of planes; the actor reads and writes the voxels itself. That is faster than
rows of voxels, which would pass Ray's object store twice.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.bench import bytes_moved, process_peak
from benchmarks.peers.keras_loops import keep
from benchmarks.peers.spec import Spec, compiled_classes, tile_extents, tiled

if TYPE_CHECKING:
    from collections.abc import Callable

Settings = dict[str, Any]


def candidates(spec: Spec) -> list[Settings]:
    """Tile, tiles a call and planes a batch of rows."""
    batches = (1,) if spec.quick else (1, 4)
    return [{"tile": t, "batch": b, "rows": 2} for t in tile_extents(spec) for b in batches]


class Segmenter:
    """The actor: opens everything once, segments the planes of a batch of rows."""

    def __init__(self, spec: Spec, settings: Settings) -> None:
        import zarr

        self.spec, self.batch = spec, settings["batch"]
        self.call = compiled_classes(spec.model())
        self.source, self.target = spec.source, zarr.open_array(spec.target, mode="r+")
        self.windows = list(tiled(self.source.shape[1:], settings["tile"], spec.halo))
        first = tuple(s.stop - s.start for s in self.windows[0][0])
        self.call(np.zeros((self.batch, *first, 1), np.float32))

    def __call__(self, rows: dict[str, np.ndarray]) -> dict[str, list[float]]:
        """Segment planes; what was moved and computed, a row a batch."""
        before, began, computed = bytes_moved(), time.time(), 0
        for z in rows["z"]:
            plane = self.spec.normalised(self.source[int(z)])
            mask = np.zeros(plane.shape[:2], np.uint8)
            for start in range(0, len(self.windows), self.batch):
                some = self.windows[start : start + self.batch]
                tiles = np.stack([plane[window] for window, _ in some])
                computed += tiles[..., 0].size
                keep(self.call(tiles), some, mask)
            self.target[int(z)] = mask
        moved = [b - a for a, b in zip(before, bytes_moved(), strict=True)]
        return {
            "began": [began],
            "ended": [time.time()],
            "computed": [computed],
            "read": [moved[0]],
            "written": [moved[1]],
            "peak": [process_peak()],
        }


def prepare(spec: Spec, settings: Settings) -> Callable[[Any, Any], Settings]:
    """Start Ray with as many CPUs as the peer may use."""
    os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"
    import ray

    ray.init(
        num_cpus=spec.threads, include_dashboard=False, log_to_driver=False, logging_level="ERROR"
    )
    ray.data.DataContext.get_current().enable_progress_bars = False

    def run(_source: Any, _target: Any) -> Settings:
        rows = ray.data.from_items([{"z": z} for z in range(spec.planes)])
        found = rows.map_batches(
            Segmenter,
            fn_constructor_args=(spec, settings),
            batch_size=settings["rows"],
            compute=ray.data.ActorPoolStrategy(size=1),
            # Reading rows needs a CPU too; the actor computes on all of them whatever it asks for.
            num_cpus=max(1, spec.threads - 1),
        ).take_all()
        ray.shutdown()
        return {
            # From the first batch to the last: the actor's start is not counted against it.
            "seconds": max(r["ended"] for r in found) - min(r["began"] for r in found),
            "computed_voxels": int(sum(r["computed"] for r in found)),
            "peak_bytes": int(max(r["peak"] for r in found)),
            "read_bytes": int(sum(r["read"] for r in found)),
            "written_bytes": int(sum(r["written"] for r in found)),
        }

    return run
