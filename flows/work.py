"""The work of one shard, put together: read, compute, count, write.

Plain data goes to the worker (URLs, a plan, a transform); voxels go from store to store. The
worker returns a `ShardResult`, never voxels.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flows.device import Device
from flows.precision import FLOAT32, is_compared
from segmentation.agreement import agreement
from segmentation.metrics.codec import encode_array
from segmentation.region import Region
from segmentation.shard import (
    ShardOutput,
    ShardResult,
    background,
    cell_blocks,
    evaluate_shard,
    read_block,
    segment_shard,
)
from storage.cells import CellArray, open_cells
from storage.requests import Lap
from storage.write_grid import WriteGrid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flows.device import Turn
    from flows.skipping import Skipping
    from segmentation.normalize import IntensityTransform
    from segmentation.plan import Shard, ShardPlan
    from segmentation.predictor import Predictor
    from segmentation.skipping import Selection
    from storage.volume import Volume

IDENTITY = "identity"
PROBABILITIES = "probabilities.zarr"
FEW_CLASSES = 16


@dataclass(frozen=True, slots=True)
class Truth:
    """What the mask is compared with.

    Attributes
    ----------
    volume : Volume
        Level 0 of the truth label.
    num_classes : int
        Classes 0..num_classes - 1.
    ignore_label : int or None
        Truth value that counts as ignored.
    """

    volume: Volume
    num_classes: int
    ignore_label: int | None


@dataclass(frozen=True, slots=True)
class SegmentWork:
    """Everything a worker needs to segment the shards of a run.

    Attributes
    ----------
    image : Volume
        Level 0 of the image.
    target : str
        URL of the staged mask volume.
    path : str
        Array of level 0 in it.
    dtype : str
        Of the mask.
    model : str
        Folder or URL of the bundle, or ``identity``.
    plan : ShardPlan
        The plan of the run.
    transform : IntensityTransform or None
        None for the identity predictor.
    channels : tuple of int or None
        Channels of the image that the network gets; None for all.
    truth : Truth or None
        What to count against.
    num_classes : int
        Classes of the mask whose voxels are counted; 0 counts none.
    probabilities : str or None
        URL of a group for uint8 probabilities, if they are wanted.
    threads : int or None
        Threads of the device runtime.
    digest : str
        Of the bundle; one that is fetched is compared with it.
    precision : str
        In which the network computes.
    fold : bool
        Whether BatchNorm is folded.
    scores : bool
        Whether classes are chosen by their scores.
    skipping : Skipping or None
        How empty blocks are found; None computes every block.
    """

    image: Volume
    target: str
    path: str
    dtype: str
    model: str
    plan: ShardPlan
    transform: IntensityTransform | None
    channels: tuple[int, ...] | None = None
    truth: Truth | None = None
    num_classes: int = 0
    probabilities: str | None = None
    threads: int | None = None
    digest: str = ""
    precision: str = FLOAT32
    fold: bool = True
    scores: bool = True
    skipping: Skipping | None = None

    def open(self) -> Callable[[int], ShardResult]:
        """Load the model and open the mask once; the function segments the shard at an index."""
        kept = self.probabilities
        return _Segmenter(
            requests=Lap(),
            work=self,
            mask=open_cells(self.target, self.path),
            levels=open_cells(kept, "0") if kept else None,
            predictor=_predictor(self),
        )

    def region(self, item: int) -> Region:
        """Voxels that an item writes."""
        return self.plan.write_region(item)


@dataclass(frozen=True, slots=True)
class _Given:
    """What a shard is computed from; no block where nothing of it is."""

    shard: Shard
    block: np.ndarray | None
    selection: Selection | None

    def skipped(self, output: ShardOutput, plan: ShardPlan) -> dict[str, int]:
        """Counts of what was skipped, for the record."""
        if self.selection is None:
            return {}
        return self.selection.counts(plan) | self.selection.false_counts(output.classes)


def _read(work: SegmentWork, shard: Shard) -> _Given:
    """Read what the shard's tiles need, once it is known which are computed."""
    selection = work.skipping.select(shard, work.plan) if work.skipping else None
    needed = shard if selection is None else selection.narrowed(work.plan)
    if needed is None:
        return _Given(shard, None, selection)
    channel = work.image.axes.find("c")
    block = read_block(work.image, needed.read, channel if channel >= 0 else None, work.channels)
    return _Given(needed, block, selection)


@dataclass(slots=True)
class _Segmenter:
    work: SegmentWork
    mask: CellArray
    levels: CellArray | None
    predictor: Predictor
    requests: Lap
    device: Device = field(default_factory=Device)

    def __call__(self, index: int) -> ShardResult:
        work = self.work
        shard = work.plan.shard(index)
        clock = _Clock()
        given = _read(work, shard)
        seconds = {"read": clock.lap()}
        turn = self.device.turn()
        output = self._compute(given, turn)
        same = self._agreement(given, output, turn)
        seconds |= {"compute": clock.lap(), "device": round(turn.seconds, 4)}
        statistics, shares = self._count(output, shard)
        objects = self._write_mask(output.classes.astype(work.dtype), shard.write)
        if self.levels is not None and output.probabilities is not None:
            objects += self._write_probabilities(self.levels, output.probabilities, shard.write)
        seconds["write"] = clock.lap()
        return ShardResult(
            index,
            statistics,
            shares,
            objects,
            seconds,
            peak_memory_bytes(),
            self.requests(),
            self.predictor.batch_size,
            same,
            given.skipped(output, work.plan),
        )

    def _compute(self, given: _Given, turn: Turn) -> ShardOutput:
        work = self.work
        if given.block is None:
            kept = work.probabilities is not None
            classes = self.predictor.num_classes
            return background(given.shard.write, classes, probabilities=kept)
        return segment_shard(
            given.block,
            given.shard,
            work.plan,
            self.predictor,
            work.transform,
            probabilities=work.probabilities is not None,
            device=turn,
            selection=given.selection,
        )

    def _agreement(self, given: _Given, output: ShardOutput, turn: Turn) -> tuple[int, ...]:
        """Voxels of the same class as in float32, and voxels compared; nothing for most shards."""
        work, reference = self.work, self.predictor.reference
        if given.block is None or reference is None:
            return ()
        if not is_compared(given.shard.index, len(work.plan)):
            return ()
        return agreement(
            output,
            given.block,
            given.shard,
            work.plan,
            (self.predictor, reference),
            work.transform,
            device=turn,
            selection=given.selection,
        )

    def _count(self, output: ShardOutput, shard: Shard) -> tuple[dict[str, Any], list[int]]:
        size = self.work.num_classes
        shares = _shares(output.classes, size)
        truth = self.work.truth
        if truth is None:
            return {}, shares
        expected = truth.volume[shard.write.slices]
        found = evaluate_shard(output, expected, truth.num_classes, truth.ignore_label)
        return {name: encode_array(array) for name, array in found.items()}, shares

    def _write_mask(self, classes: np.ndarray, write: Region) -> list[dict[str, Any]]:
        """Write the mask, each cell in one atomic put."""
        cells = _cells(self.work, classes, write)
        return [self.mask.write(index, block) for index, block in cells]

    def _write_probabilities(
        self, target: CellArray, levels: np.ndarray, write: Region
    ) -> list[dict[str, Any]]:
        """Write the probabilities of every class beside the run; their axis stands after t."""
        axis = channel_position(len(self.work.plan.shape))
        records = []
        for channel in range(levels.shape[-1]):
            of_class = np.ascontiguousarray(levels[..., channel])
            for index, block in _cells(self.work, of_class, write):
                place = (*index[:axis], channel, *index[axis:])
                stored = target.write(place, np.expand_dims(block, axis))
                records.append(stored | {"key": f"{PROBABILITIES}/{stored['key']}"})
        return records


def _cells(
    work: SegmentWork, result: np.ndarray, write: Region
) -> Iterator[tuple[tuple[int, ...], np.ndarray]]:
    """The write-grid cells a shard owns, whole."""
    grid = WriteGrid(work.plan.shape, work.plan.cell)
    cells = ((index, Region(*grid.bounds(index))) for index in grid.cells(write.start, write.stop))
    return cell_blocks(result, write, cells)


def _shares(classes: np.ndarray, size: int) -> list[int]:
    """Voxels of every class; few are compared one by one, which is faster and frees the GIL."""
    if size > FEW_CLASSES:
        return [int(count) for count in np.bincount(classes.ravel(), minlength=size)]
    return [int(np.count_nonzero(classes == value)) for value in range(size)]


def channel_position(mask_axes: int) -> int:
    """Where a channel axis goes among the axes of a mask: after t, before z, y, x."""
    return 1 if mask_axes == 4 else 0


def _predictor(work: SegmentWork) -> Predictor:
    from flows.model import worker_bundle
    from segmentation.predictor import IdentityPredictor, KerasPredictor

    if work.model == IDENTITY:
        return IdentityPredictor(len(work.plan.shape))
    return KerasPredictor(
        worker_bundle(work.model, work.digest),
        batch_size=work.plan.batch,
        threads=work.threads,
        precision=work.precision,
        fold=work.fold,
        scores=work.scores,
    )


@dataclass(slots=True)
class _Clock:
    started: float = field(default_factory=time.perf_counter)

    def lap(self) -> float:
        """Seconds since the last lap."""
        now = time.perf_counter()
        seconds, self.started = now - self.started, now
        return round(seconds, 4)


def peak_memory_bytes() -> int:
    """Peak resident memory of this process.

    Linux's ``VmHWM`` belongs to the running program; ``ru_maxrss`` would be inherited from the
    process that started it.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
