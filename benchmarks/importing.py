"""Import of TIFF stacks side by side: maskmill, a script of tifffile and zarr-python, ngff-zarr.

Run ``python -m benchmarks.importing [--bytes 1e9] [--rounds 5] [--workers 2] [--json]``. One TIFF
of many pages and a folder of one file a section, uncompressed and with deflate; every contender
makes an image with the same levels by means of windows, and the codec of maskmill. The
script takes maskmill's chunks and shards, ngff-zarr chunks of one section.
"""

from __future__ import annotations

import argparse
import math
import shutil
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.bench import machine, tell
from benchmarks.rounds import installed, scratch, show, take_turns
from benchmarks.stacks import UNIT, VOXEL_SIZE, depth_of, sections, write_planes, write_stack
from storage.convert import import_image
from storage.pyramid import level_factors
from storage.volume import open_image
from storage.write_grid import compressor, create_array

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from storage.volume import Volume

CASES = {"one file": None, "one file, deflate": "zlib", "planes": None, "planes, deflate": "zlib"}
PACKAGES = ("zarr", "tifffile", "imagecodecs", "ngff-zarr", "dask", "numpy")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bytes", type=float, default=1e9)
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", help="where the volumes are made and removed")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    planes = sections(options.side, labels=False)
    figures: dict[str, Any] = {"bytes": depth_of(options.bytes, options.side) * planes[0].nbytes}
    with scratch(options.folder) as folder:
        for case in CASES:
            tell(case)
            figures[case] = _case(folder, case, planes, options)
    show(machine(PACKAGES) | figures, as_json=options.json)


def _case(
    folder: Path, case: str, planes: np.ndarray, options: argparse.Namespace
) -> dict[str, Any]:
    import dask

    write = write_planes if case.startswith("planes") else write_stack
    source = folder / ("planes" if case.startswith("planes") else "stack.tif")
    write(source, planes, depth_of(options.bytes, options.side), compression=CASES[case])
    out = folder / "out.zarr"
    _maskmill(source, out)
    levels = open_image(str(out)).volumes
    shutil.rmtree(out)
    contenders: dict[str, Callable[[], None]] = {
        "maskmill": partial(_maskmill, source, out),
        "tifffile and zarr": _Script(source, out, levels, options.workers),
    }
    if installed("ngff_zarr"):
        contenders["ngff-zarr"] = partial(_ngff_zarr, source, out, levels)
    with dask.config.set(scheduler="threads", num_workers=options.workers):
        times = take_turns(contenders, options.rounds, clean=lambda: shutil.rmtree(out))
    shutil.rmtree(source) if source.is_dir() else source.unlink()
    ours = times["maskmill"]["seconds"]
    peers = {name: found["seconds"] / ours for name, found in times.items() if name != "maskmill"}
    return {"contenders": times, "times_as_fast_as": peers}


def _maskmill(source: Path, out: Path) -> None:
    import_image([str(source)], str(out), axes="zyx", voxel_size=VOXEL_SIZE, unit=UNIT)


@dataclass(frozen=True, slots=True)
class _Script:
    """What one would write by hand: slabs of sections, then level by level from the finer one."""

    source: Path
    out: Path
    levels: tuple[Volume, ...]
    workers: int

    def __call__(self) -> None:
        """Make the image."""
        import zarr

        arrays = []
        for level in self.levels:
            create_array(
                str(self.out),
                level.path,
                shape=level.shape,
                dtype=level.dtype,
                chunks=level.chunks,
                shards=level.shards or level.chunks,
                axes=level.axes,
            )
            arrays.append(zarr.open_array(str(self.out / level.path), mode="r+"))
        for start, stop in self._slabs(0):
            arrays[0][start:stop] = self._read(start, stop)
        for number, (fine, coarse) in enumerate(pairwise(arrays), start=1):
            factors = level_factors(fine.shape, coarse.shape)
            for start, stop in self._slabs(number):
                slab = np.asarray(fine[start * factors[0] : stop * factors[0]])
                coarse[start:stop] = _mean(slab, factors)

    def _slabs(self, number: int) -> list[tuple[int, int]]:
        """Layers of shards of a level."""
        level = self.levels[number]
        step = (level.shards or level.chunks)[0]
        return [(z, min(z + step, level.shape[0])) for z in range(0, level.shape[0], step)]

    def _read(self, start: int, stop: int) -> np.ndarray:
        import tifffile

        if self.source.is_dir():
            files = sorted(self.source.iterdir())[start:stop]
            return np.asarray(tifffile.imread(files, ioworkers=self.workers))
        pages = range(start, stop)
        return np.asarray(tifffile.imread(self.source, key=pages, maxworkers=self.workers))


def _mean(slab: np.ndarray, factors: tuple[int, ...]) -> np.ndarray:
    """Mean of whole windows, rounded; sizes that a factor does not divide repeat their end."""
    missing = [(0, -size % f) for size, f in zip(slab.shape, factors, strict=True)]
    if any(after for _, after in missing):
        slab = np.pad(slab, missing, mode="edge")
    split = [n for size, f in zip(slab.shape, factors, strict=True) for n in (size // f, f)]
    total = slab.reshape(split).sum(axis=(1, 3, 5), dtype=np.uint32)
    count = math.prod(factors)
    return np.asarray((total + count // 2) // count, slab.dtype)


def _ngff_zarr(source: Path, out: Path, levels: tuple[Volume, ...]) -> None:
    """As its command does it."""
    from ngff_zarr import (
        ConversionBackend,
        Methods,
        cli_input_to_ngff_image,
        to_multiscales,
        to_ngff_zarr,
    )

    files = sorted(source.iterdir()) if source.is_dir() else [source]
    image = cli_input_to_ngff_image(ConversionBackend.TIFFFILE, [str(file) for file in files])
    image.dims = list("zyx")
    factors = [
        dict(zip("zyx", level_factors(levels[0].shape, level.shape), strict=True))
        for level in levels[1:]
    ]
    chunks = dict(zip("zyx", (1, *levels[0].shape[1:]), strict=True))
    made = to_multiscales(image, factors, Methods.DASK_BIN_SHRINK, chunks=chunks, cache=False)
    to_ngff_zarr(str(out), made, version="0.5", compressors=[compressor(levels[0].dtype)])


if __name__ == "__main__":
    main()
