"""`dask.array.map_overlap` around a compiled Keras call, with the network's halo as its depth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.peers.spec import compiled_classes, tile_extents

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.peers.spec import Spec

Settings = dict[str, Any]


def candidates(spec: Spec) -> list[Settings]:
    """Block, sections a block, and threads of Dask beside those of TensorFlow."""
    batches = (1,) if spec.quick else (1, 2)
    workers = (1,) if spec.quick else (1, 2)
    return [
        {"tile": tile, "batch": batch, "workers": count}
        for tile in tile_extents(spec)
        for batch in batches
        for count in workers
    ]


def prepare(spec: Spec, settings: Settings) -> Callable[[Any, Any], Settings]:
    """Blocks of the plane that share their halos; computed and stored by Dask's threads."""
    import dask
    import dask.array as da

    call = compiled_classes(spec.model())
    halo, tile = spec.halo, settings["tile"]
    computed: list[int] = []
    call(np.zeros((settings["batch"], tile, tile, 1), np.float32))

    def classes(block: np.ndarray) -> np.ndarray:
        computed.append(block.size)
        return call(spec.normalised(block))

    def run(source: Any, target: Any) -> Settings:
        # The grid lies on the stride: pooling windows fall where the untiled network puts them.
        image = da.from_zarr(source)[: spec.planes].rechunk((settings["batch"], tile, tile))
        depth = (0, *(h if tile < n else 0 for h, n in zip(halo, image.shape[1:], strict=True)))
        mask = da.map_overlap(
            classes,
            image,
            depth=depth,
            boundary="none",
            dtype=np.uint8,
            meta=np.empty((0, 0, 0), np.uint8),
            allow_rechunk=True,
        ).rechunk(target.chunks)
        with dask.config.set(scheduler="threads", num_workers=settings["workers"]):
            da.store(mask, target, lock=False)
        return {"computed_voxels": sum(computed)}

    return run
