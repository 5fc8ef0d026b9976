"""What a mask volume has to hold, and which records say so: all that a verification knows.

It is made from a run that is open, or from the records alone: the image and the bundle may be
gone when a mask is verified.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flows.run import INFER, Run
from flows.staging import METADATA_STAGE, keeps_probabilities, metadata_keys
from flows.work import PROBABILITIES, channel_position
from storage.blobs import Blobs
from storage.level_cells import LevelCells, level_cells
from storage.manifest import RunManifest
from storage.write_grid import WriteGrid

if TYPE_CHECKING:
    from segmentation.plan import ShardPlan

PYRAMID = "pyramid-"


@dataclass(frozen=True, slots=True)
class RecordedMask:
    """A mask volume and the folder of its run.

    Attributes
    ----------
    url : str
        Of the label.
    run : Blobs
        Folder of the run.
    digest : str
        Of the job.
    plan : ShardPlan
        Its shards.
    levels : tuple of LevelCells
        Cells of every level, finest first.
    kept : LevelCells or None
        Cells of the probabilities in the run's folder, if they are kept.
    """

    url: str
    run: Blobs
    digest: str
    plan: ShardPlan
    levels: tuple[LevelCells, ...]
    kept: LevelCells | None = None

    @property
    def manifest(self) -> RunManifest:
        """Records of finished work."""
        return RunManifest(self.run, self.digest)

    @property
    def metadata(self) -> list[str]:
        """Keys of the metadata objects, in the order of their records."""
        return metadata_keys([level.path for level in self.levels], kept=self.kept is not None)

    def stages(self) -> list[RecordedStage]:
        """Every stage whose records name objects."""
        return [
            RecordedStage(self, METADATA_STAGE, len(self.metadata)),
            RecordedStage(self, INFER, len(self.plan)),
            *(RecordedStage(self, f"{PYRAMID}{c.path}", c.total, c) for c in self.levels[1:]),
        ]

    def folder_of(self, key: str) -> Blobs:
        """The folder that a recorded key is relative to."""
        return self.run if is_kept(key) else Blobs(self.url)


@dataclass(frozen=True, slots=True)
class RecordedStage:
    """One stage: which items there are, and which objects each of them owns.

    Attributes
    ----------
    mask : RecordedMask
        The mask.
    name : str
        Of the stage.
    planned : int
        Number of its items.
    cells : LevelCells or None
        Of a coarser level: an item is a cell.
    """

    mask: RecordedMask
    name: str
    planned: int
    cells: LevelCells | None = None

    def wanted(self) -> list[int]:
        """Items that need a record."""
        if self.cells is None:
            return list(range(self.planned))
        return [self.cells.number(index) for index in self.cells]

    def keys(self, item: int) -> list[str]:
        """Objects of an item in the label's folder (the metadata's may be in the run's)."""
        if self.cells is not None:
            return [self.cells.key(self.cells.index(item))]
        if self.name == METADATA_STAGE:
            return [self.mask.metadata[item]]
        region, finest = self.mask.plan.write_region(item), self.mask.levels[0]
        return [finest.key(cell) for cell in finest.grid.cells(region.start, region.stop)]

    def misfit(self, record: dict[str, Any]) -> str:
        """Why a record is none of the plan's, empty if it is one."""
        item = record["item"]
        if self.cells is not None and self.cells.wanted(self.keys(item)[0]) is None:
            return f"cell {item} is not part of the run's region"
        objects = record.get("objects")
        if not isinstance(objects, list) or not all(map(is_object, objects)):
            return f"the objects of item {item} are not named with key, size and checksum"
        if self.name == INFER:
            region = self.mask.plan.write_region(item)
            expected = {"start": list(region.start), "stop": list(region.stop)}
            if record.get("region") != expected:
                return f"shard {item} has the region {expected} in the plan"
        keys = self.keys(item)
        named = [s["key"] for s in objects if self.name != INFER or not is_kept(s["key"])]
        return "" if sorted(named) == sorted(keys) else f"item {item} owns {', '.join(keys[:3])}"


def is_kept(key: str) -> bool:
    """Whether a key is relative to the run's folder: one of the probabilities."""
    return key.startswith(f"{PROBABILITIES}/")


def is_object(stored: Any) -> bool:
    """Whether a value names a stored object with key, size and checksum."""
    if not isinstance(stored, dict):
        return False
    types = {"key": str, "size": int, "checksum": str}
    return all(isinstance(stored.get(name), kind) for name, kind in types.items())


def mask_of(run: Run) -> RecordedMask:
    """The mask of a run that is open."""
    layout, volumes = run.prepared.layout, run.prepared.image.volumes
    grids = [
        (volume.path, WriteGrid(shape, cell))
        for volume, shape, cell in zip(volumes, layout.shapes, layout.cells, strict=True)
    ]
    region = run.plan.region
    levels = level_cells(grids, region.start, region.stop)
    kept = len(run.prepared.model.classes) if keeps_probabilities(run) else 0
    return RecordedMask(
        run.target,
        run.blobs,
        run.prepared.digest,
        run.plan,
        levels,
        probability_cells(levels[0], kept),
    )


def probability_cells(finest: LevelCells, channels: int) -> LevelCells | None:
    """Cells of the probabilities of so many classes; None if there are none."""
    if not channels:
        return None
    at = channel_position(len(finest.first))

    def widen(values: tuple[int, ...], value: int) -> tuple[int, ...]:
        return (*values[:at], value, *values[at:])

    grid = WriteGrid(widen(finest.grid.shape, channels), widen(finest.grid.cell, 1))
    return LevelCells(
        f"{PROBABILITIES}/0", grid, widen(finest.first, 0), widen(finest.last, channels)
    )
