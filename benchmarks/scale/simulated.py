"""A run of very many shards whose workers answer at once: all that is left is the driver.

The image exists as metadata and as a listing of small objects, one for each shard; so does the
mask. What the workers would say is drawn from a few results that were counted once, so that
records are as long as real ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flows.executors import Outcome
from flows.jobs import SegmentJob
from segmentation.metrics.codec import encode_array
from segmentation.metrics.counting import count_planes
from segmentation.shard import ShardResult
from storage.blobs import Blobs
from storage.labels import group_document, stage
from storage.ome import ImageMetadata, Level, image_attributes, make_axes
from storage.ome_labels import label_classes
from storage.volume import open_image
from storage.write_grid import PLANAR_CHUNK, checksum, choose_chunks, create_array

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable, Iterator

    from flows.work import SegmentWork

CLASSES = ("background", "membrane", "glia", "mitochondria", "synapse")
CONTENT = b"a cell of the mask"
IN_PLANE = 10
TEMPLATES = 16
SAMPLE = (128, 128)
ENORMOUS = 2**20


def make_scene(folder: Path, shards: int) -> None:
    """An image of serial sections with a truth, and a place for records.

    Parameters
    ----------
    folder : Path
        Where ``image.zarr`` is made.
    shards : int
        Write-grid cells of its mask, a multiple of 100: ten by ten in every section or two.
    """
    chunks, cell = choose_chunks((ENORMOUS,) * 3, "zyx", 1, planar=True)
    if chunks != PLANAR_CHUNK or shards % IN_PLANE**2:
        raise ValueError(f"{shards} shards are no multiple of {IN_PLANE**2}; take 10000")
    grid = (shards // IN_PLANE**2, IN_PLANE, IN_PLANE)
    shape = (grid[0] * cell[0], grid[1] * cell[1], grid[2] * cell[2])
    url = str(folder / "image.zarr")
    create_array(url, "0", shape=shape, dtype="uint8", chunks=chunks, shards=cell, axes="zyx")
    levels = (Level("0", (1.0,) * 3, (0.0,) * 3),)
    metadata = ImageMetadata("0.5", "huge", make_axes("zyx", None), levels)
    Blobs(url).write("zarr.json", group_document(image_attributes(metadata)))
    classes = label_classes(dict(enumerate(CLASSES)))
    stage(
        open_image(url), url, "truth", name="truth", classes=classes, dtype="uint8", itemsize=1,
        provenance={},
    )  # fmt: skip
    fill(Path(url), grid)


def fill(array: Path, grid: tuple[int, ...]) -> None:
    """Put a small object in the place of every cell of level 0."""
    for row in np.ndindex(grid[:-1]):
        place = array.joinpath("0", "c", *map(str, row))
        place.mkdir(parents=True, exist_ok=True)
        for last in range(grid[-1]):
            (place / str(last)).write_bytes(CONTENT)


def make_job(folder: Path, runs: str | None = None) -> SegmentJob:
    """The job of the scene; its run goes beside the image, or to an object store."""
    image = str(folder / "image.zarr")
    return SegmentJob(
        image=image, model="identity", name="mask", truth="truth", executor="serial", runs=runs
    )


@dataclass(slots=True)
class AnswersAtOnce:
    """Says what workers would say, and computes nothing.

    Attributes
    ----------
    done : int
        Shards that were asked for.
    """

    done: int = 0
    _templates: list[dict[str, Any]] = field(default_factory=list)

    def map(
        self, work: SegmentWork, items: Iterable[int], stop: threading.Event
    ) -> Iterator[Outcome]:
        """Outcome of every item in order."""
        planes = work.plan.cell[0]
        self._templates = self._templates or [_statistics(n, planes) for n in range(TEMPLATES)]
        stored = {"size": len(CONTENT), "checksum": checksum(CONTENT)}
        for item in items:
            if stop.is_set():
                return
            self.done += 1
            yield Outcome(item, self._result(work, item, stored))

    def dask_scheduler(self) -> str:
        """What runs in the calling thread."""
        return "synchronous"

    def close(self) -> None:
        """Nothing is held."""

    def _result(self, work: SegmentWork, item: int, stored: dict[str, Any]) -> ShardResult:
        region = work.plan.write_region(item)
        cell = (a // c for a, c in zip(region.start, work.plan.cell, strict=True))
        key = "/".join(["0", "c", *map(str, cell)])
        return ShardResult(
            item,
            self._templates[item % TEMPLATES],
            [region.voxels, 0, 0, 0, 0],
            [{"key": key, **stored}],
            {"read": 0.0123, "compute": 0.4567, "device": 0.4242, "write": 0.0234},
            2**29,
            {"get": 3, "put": 1, "read_bytes": 2**25, "written_bytes": 2**21},
            1,
        )


def _statistics(seed: int, planes: int) -> dict[str, Any]:
    """Counts of sections of random classes against others."""
    random = np.random.default_rng(seed)
    truth, mask = random.integers(0, len(CLASSES), (2, planes, *SAMPLE), np.uint8)
    return {"planes/0": encode_array(count_planes(truth, mask, len(CLASSES)))}
