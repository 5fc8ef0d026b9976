"""Two loops around a Keras model: `predict` with half overlap, and a compiled call on tiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.peers.spec import compiled_classes, tile_extents, tiled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.peers.spec import Spec

Settings = dict[str, Any]


def overlap_candidates(spec: Spec) -> list[Settings]:
    """Tile and batch of the `predict` loop."""
    batches = (4,) if spec.quick else (1, 4, 16)
    return [{"tile": t, "batch": b} for t in tile_extents(spec)[:2] for b in batches]


def prepare_overlap(spec: Spec, settings: Settings) -> Callable[[Any, Any], Settings]:
    """Half-overlapping tiles through `model.predict`, probabilities averaged."""
    model, tile, batch = spec.model(), settings["tile"], settings["batch"]
    classes = int(model.output_shape[-1])
    model.predict(np.zeros((batch, tile, tile, 1), np.float32), batch_size=batch, verbose=0)

    def run(source: Any, target: Any) -> Settings:
        computed = 0
        for z in range(spec.planes):
            plane = spec.normalised(source[z])
            total = np.zeros((*plane.shape[:2], classes), np.float32)
            count = np.zeros((*plane.shape[:2], 1), np.float32)
            windows = list(_half_overlap(plane.shape[:2], tile))
            tiles = np.stack([plane[window] for window in windows])
            computed += tiles[..., 0].size
            found = model.predict(tiles, batch_size=batch, verbose=0)
            for window, probabilities in zip(windows, found, strict=True):
                total[window] += probabilities
                count[window] += 1
            target[z] = (total / count).argmax(axis=-1).astype(np.uint8)
        return {"computed_voxels": computed}

    return run


def _half_overlap(shape: tuple[int, ...], tile: int) -> Iterator[tuple[slice, slice]]:
    for y in _origins(shape[0], tile):
        for x in _origins(shape[1], tile):
            yield slice(y, y + tile), slice(x, x + tile)


def _origins(size: int, tile: int) -> list[int]:
    last = max(0, size - tile)
    return sorted({*range(0, last, max(1, tile // 2)), last})


def compiled_candidates(spec: Spec) -> list[Settings]:
    """Tile and batch of the compiled call."""
    batches = (1,) if spec.quick else (1, 2, 4)
    return [{"tile": t, "batch": b} for t in tile_extents(spec) for b in batches]


def prepare_compiled(spec: Spec, settings: Settings) -> Callable[[Any, Any], Settings]:
    """Tiles with their halo through a compiled call, as a user who knows both would write it."""
    call, batch, halo = compiled_classes(spec.model()), settings["batch"], spec.halo
    shape = spec.source.shape[1:]
    windows = list(tiled(shape, settings["tile"], halo))
    first = tuple(s.stop - s.start for s in windows[0][0])
    call(np.zeros((batch, *first, 1), np.float32))

    def run(source: Any, target: Any) -> Settings:
        computed = 0
        for z in range(spec.planes):
            plane = spec.normalised(source[z])
            mask = np.zeros(shape, np.uint8)
            for start in range(0, len(windows), batch):
                some = windows[start : start + batch]
                tiles = np.stack([plane[window] for window, _ in some])
                computed += tiles[..., 0].size
                keep(call(tiles), some, mask)
            target[z] = mask
        return {"computed_voxels": computed}

    return run


def keep(found: np.ndarray, windows: list[tuple[Any, Any]], mask: np.ndarray) -> None:
    """Put the core of every tile in its place."""
    for classes, (window, core) in zip(found, windows, strict=True):
        inside = tuple(
            slice(c.start - w.start, c.stop - w.start) for c, w in zip(core, window, strict=True)
        )
        mask[core] = classes[inside]
