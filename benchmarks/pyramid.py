"""Label pyramids side by side: mode by maskmill, nearest by ome-zarr-py, mode by ngff-zarr.

Run ``python -m benchmarks.pyramid [--bytes 2e9] [--rounds 5] [--workers 2] [--json]``. The finest
level is there; every contender makes the coarser ones, of the same shapes, chunks, shards and
codec, in threads of one process.
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.bench import machine, tell
from benchmarks.rounds import installed, scratch, show, take_turns
from benchmarks.stacks import UNIT, VOXEL_SIZE, depth_of, sections, write_planes
from storage.convert import import_image
from storage.pyramid import build_level, level_factors
from storage.write_grid import compressor, create_array

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from storage.volume import Image, Volume

PACKAGES = ("zarr", "ome-zarr", "ngff-zarr", "dask", "numba", "numpy")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bytes", type=float, default=2e9)
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--isotropic", action="store_true", help="halve z too")
    parser.add_argument("--folder", help="where the volumes are made and removed")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with scratch(options.folder) as folder:
        figures = _compare(folder, _labels(folder, options), options)
    show(machine(PACKAGES) | figures, as_json=options.json)


def _labels(folder: Path, options: argparse.Namespace) -> Image:
    """Classes with their levels, whose layout the contenders repeat."""
    depth = depth_of(options.bytes, options.side)
    tell(f"making {depth} sections of {options.side} × {options.side}")
    planes = write_planes(folder / "planes", sections(options.side, labels=True), depth)
    size = (VOXEL_SIZE[-1],) * 3 if options.isotropic else VOXEL_SIZE
    url = str(folder / "labels.zarr")
    return import_image([str(planes)], url, voxel_size=size, unit=UNIT)


def _compare(folder: Path, labels: Image, options: argparse.Namespace) -> dict[str, Any]:
    import dask

    work = _Pyramids(labels.volumes, folder / "out.zarr", folder / "labels.zarr" / "0")
    contenders: dict[str, Callable[[], None]] = {"maskmill": work.maskmill}
    if installed("ome_zarr"):
        contenders["ome-zarr-py"] = work.ome_zarr
    if installed("ngff_zarr"):
        contenders["ngff-zarr"] = work.ngff_zarr
    with dask.config.set(scheduler="threads", num_workers=options.workers):
        work.warm_up()
        times = take_turns(
            contenders, options.rounds, clean=lambda: shutil.rmtree(folder / "out.zarr")
        )
    ours = times["maskmill"]["seconds"]
    return {
        "shapes": [volume.shape for volume in labels.volumes],
        "shards": [volume.shards for volume in labels.volumes],
        "workers": options.workers,
        "contenders": times,
        "times_as_fast_as": {
            name: found["seconds"] / ours for name, found in times.items() if name != "maskmill"
        },
        "voxels_per_s": float(np.prod(labels.volumes[0].shape)) / ours,
    }


@dataclass(frozen=True, slots=True)
class _Pyramids:
    """One way after the other to make the coarser levels of an array."""

    levels: tuple[Volume, ...]
    out: Path
    finest: Path

    def maskmill(self) -> None:
        """Mode, level by level; the finest level is linked into the group."""
        self.out.mkdir()
        (self.out / "0").symlink_to(self.finest)
        for level in self.levels[1:]:
            create_array(str(self.out), level.path, **_layout(level))
        for fine, coarse in pairwise(level.path for level in self.levels):
            for _ in build_level(str(self.out), fine, coarse, reducer="mode", scheduler="threads"):
                pass

    def ome_zarr(self) -> None:
        """Its nearest neighbour, its writer."""
        import dask.array
        import zarr
        from ome_zarr.scale import Methods, _build_pyramid
        from ome_zarr.writer import write_multiscale_labels

        finest = dask.array.from_zarr(str(self.finest), chunks=self.levels[0].shards)
        pyramid = _build_pyramid(finest, self._factors(), "zyx", Methods.NEAREST)
        options = [
            {"chunks": level.chunks, "shards": level.shards, "compressors": [_codec(level)]}
            for level in self.levels[1:]
        ]
        write_multiscale_labels(
            pyramid[1:],
            zarr.open_group(str(self.out), mode="w", zarr_format=3),
            name="labels",
            axes="zyx",
            storage_options=options,
        )

    def ngff_zarr(self) -> None:
        """Its mode; written by dask, so that layout and codec are the same."""
        import dask
        import dask.array
        import zarr
        from ngff_zarr import Methods, to_multiscales, to_ngff_image

        finest = dask.array.from_zarr(str(self.finest), chunks=self.levels[0].shards)
        made = to_multiscales(
            to_ngff_image(finest, dims=list("zyx")),
            scale_factors=self._factors(),
            method=Methods.DASK_IMAGE_MODE,
            cache=False,
        )
        stores = []
        for level in self.levels[1:]:
            create_array(str(self.out), level.path, **_layout(level))
            stores.append(zarr.open_array(str(self.out / level.path), mode="r+"))
        images = zip(made.images[1:], self.levels[1:], strict=True)
        dask.array.store([i.data.rechunk(v.shards) for i, v in images], stores, lock=False)

    def warm_up(self) -> None:
        """Compile what is compiled: the kernels are loaded before the clock starts."""
        from storage.downsample import mode_downsample

        for fine, coarse in pairwise(self.levels):
            factors = level_factors(fine.shape, coarse.shape)
            mode_downsample(np.zeros((4, 4, 4), fine.dtype), factors)

    def _factors(self) -> list[dict[str, int]]:
        """Of every coarser level, against the finest one."""
        finest = self.levels[0].shape
        return [
            dict(zip("zyx", level_factors(finest, level.shape), strict=True))
            for level in self.levels[1:]
        ]


def _layout(level: Volume) -> dict[str, Any]:
    return {
        "shape": level.shape,
        "dtype": level.dtype,
        "chunks": level.chunks,
        "shards": level.shards,
        "axes": level.axes,
    }


def _codec(level: Volume) -> Any:
    return compressor(level.dtype)


if __name__ == "__main__":
    main()
