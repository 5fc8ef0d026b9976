"""Plain copies of a Zarr array, shard by shard in worker processes: what a pipeline can be held to.

Each contender reads boxes with its library and writes them into an array of the same layout and
codec; a box is a whole shard, so no writer touches another's.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

from benchmarks.rounds import installed
from storage.cells import open_cells
from storage.write_grid import create_array

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Box = tuple[tuple[int, int], ...]
ZARRS = "zarrs.ZarrsCodecPipeline"


def copiers() -> dict[str, Callable[[str, str, Box], None]]:
    """Functions that copy one box, by library."""
    found: dict[str, Callable[[str, str, Box], None]] = {"zarr-python": zarr_copy}
    if installed("zarrs"):
        found["zarrs"] = zarrs_copy
    if installed("tensorstore"):
        found["tensorstore"] = tensorstore_copy
    return found


class Copier:
    """Copies an array with a number of processes, which are ready before the clock starts.

    Parameters
    ----------
    source : str
        Folder of the Zarr array.
    target : Path
        Folder of the group to make.
    copy : callable
        Copies one box.
    workers : int
        Processes.
    """

    def __init__(
        self, source: str, target: Path, copy: Callable[[str, str, Box], None], workers: int
    ) -> None:
        self.source, self.target, self.copy = source, target, copy
        self.cells = open_cells(*source.rsplit("/", 1))
        self.pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
        warm = [self.pool.submit(_import, copy.__name__) for _ in range(4 * workers)]
        for one in warm:
            one.result()

    def __call__(self) -> None:
        """Make the target and fill it."""
        cells = self.cells
        create_array(
            str(self.target),
            "0",
            shape=cells.shape,
            dtype=cells.dtype,
            chunks=cells.chunks,
            shards=cells.cell,
            axes="zyx",
        )
        boxes = [
            tuple(zip(*cells.grid.bounds(index), strict=True))
            for index in product(*map(range, cells.grid.grid_shape))
        ]
        jobs = [self.pool.submit(self.copy, self.source, f"{self.target}/0", box) for box in boxes]
        for job in jobs:
            job.result()

    def close(self) -> None:
        """End the processes."""
        self.pool.shutdown()


def _import(name: str) -> None:
    import zarr

    if name == "zarrs_copy":
        zarr.config.set({"codec_pipeline.path": ZARRS})
    if name == "tensorstore_copy":
        import tensorstore  # noqa: F401 only to have it loaded


def zarr_copy(source: str, target: str, box: Box) -> None:
    """With zarr-python."""
    import zarr

    place = tuple(slice(*bounds) for bounds in box)
    zarr.open_array(target, mode="r+")[place] = zarr.open_array(source, mode="r")[place]


def zarrs_copy(source: str, target: str, box: Box) -> None:
    """With zarr-python and the codecs of zarrs."""
    import zarr

    with zarr.config.set({"codec_pipeline.path": ZARRS}):
        zarr_copy(source, target, box)


def tensorstore_copy(source: str, target: str, box: Box) -> None:
    """With tensorstore."""
    place = tuple(slice(*bounds) for bounds in box)
    _tensorstore(target)[place].write(_tensorstore(source)[place]).result()


def _tensorstore(path: str) -> Any:
    import tensorstore

    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": path}}
    return tensorstore.open(spec, open=True).result()
