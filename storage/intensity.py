"""Intensity percentiles of a volume, over all of it or a stated sample.

Tasks read chunk-aligned blocks and return histograms; these add up, so neither order nor
scheduler changes a digit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from storage.errors import StorageError
from storage.graphs import Scheduler, compute_each
from storage.write_grid import WriteGrid

if TYPE_CHECKING:
    from storage.volume import Volume

SAMPLE_VOXELS = 2**28
TASK_VOXELS = 2**25
HISTOGRAMS_PER_BATCH = 32
BINS = 2**16
GOLDEN_RATIO = 0.6180339887498949

# Upper 16 bits of a sort key with its channel: the bin of the first pass.
Bin = tuple[int, int]


def percentiles(
    volume: Volume,
    low: float,
    high: float,
    *,
    scheduler: Scheduler,
    max_voxels: int = SAMPLE_VOXELS,
) -> tuple[tuple[float, ...], tuple[float, ...], dict[str, Any]]:
    """Two percentiles of the intensities of every channel.

    They are those of NumPy's ``linear`` method: exact for integers of up to 16 bits, and for
    other types exact once their values are rounded to float32. The values of a rank are found
    by its float32 bits, upper half first, so long tails cost no resolution.

    Parameters
    ----------
    volume : Volume
        Any level.
    low, high : float
        In percent, 0 to 100.
    scheduler : str or callable
        What ``dask.compute`` takes.
    max_voxels : int
        A larger volume is sampled in whole chunks, spread evenly by a rule without chance.

    Returns
    -------
    tuple
        Low value per channel (one without a channel axis), high value per channel, and a
        description of the rule for the provenance.

    Raises
    ------
    StorageError
        If a voxel is NaN or infinite, or the percentages are not in order.
    """
    if not 0 <= low < high <= 100:
        raise StorageError(f"percentiles {low} and {high} are not in order between 0 and 100")
    sample = _sample(volume, max_voxels)
    upper = _histogram(sample, None, scheduler)
    size = int(upper[0].sum())
    ranks = {rank for q in (low, high) for rank in _ranks(q, size)}
    values = _values_of_ranks(sample, upper, sorted(ranks), scheduler)
    lows, highs = (
        tuple(_interpolate(values, channel, q, size) for channel in range(len(upper)))
        for q in (low, high)
    )
    return lows, highs, {"low": low, "high": high, **sample.description()}


@dataclass(frozen=True, slots=True)
class _Sample:
    """Blocks of a volume, all channels in one: every block, or one of each equal run of them."""

    volume: Volume
    grid: WriteGrid
    blocks: int

    def region(self, number: int) -> tuple[slice, ...]:
        total = math.prod(self.grid.grid_shape)
        first, stop = number * total // self.blocks, (number + 1) * total // self.blocks
        # The place within the run moves on, or a run of a row's length would read one column.
        index = first + int((number * GOLDEN_RATIO) % 1.0 * (stop - first))
        cell = tuple(int(i) for i in np.unravel_index(index, self.grid.grid_shape))
        return tuple(slice(a, b) for a, b in zip(*self.grid.bounds(cell), strict=True))

    def description(self) -> dict[str, Any]:
        total = math.prod(self.grid.grid_shape)
        everything = self.blocks == total
        return {
            "level": self.volume.path,
            "sample": "every voxel" if everything else "blocks spread evenly",
            "blocks": self.blocks,
            "blocks_in_volume": total,
            "block_shape": list(self.grid.cell),
            "rounded_to": None if _is_small_integer(self.volume.dtype) else "float32",
        }


def _sample(volume: Volume, max_voxels: int) -> _Sample:
    cell = tuple(
        size if axis == "c" else min(chunk, size)
        for axis, chunk, size in zip(volume.axes, volume.chunks, volume.shape, strict=True)
    )
    grid = WriteGrid(volume.shape, cell)
    total = math.prod(grid.grid_shape)
    if math.prod(volume.shape) <= max_voxels:
        return _Sample(volume, grid, total)
    return _Sample(volume, grid, min(total, max(1, max_voxels // math.prod(cell))))


def _histogram(sample: _Sample, bins: tuple[Bin, ...] | None, scheduler: Scheduler) -> np.ndarray:
    """Counts of upper key halves per channel, or of lower halves within each of some bins."""
    step = max(1, TASK_VOXELS // math.prod(sample.grid.cell))
    tasks = (
        (sample, first, min(first + step, sample.blocks), bins)
        for first in range(0, sample.blocks, step)
    )
    channels = sample.volume.shape[sample.volume.axes.index("c")] if _has_channels(sample) else 1
    total = np.zeros((channels if bins is None else len(bins), BINS), dtype=np.int64)
    for counts, fault in compute_each(
        _count_blocks, tasks, scheduler=scheduler, batch=HISTOGRAMS_PER_BATCH
    ):
        if fault is not None:
            raise StorageError(_fault_message(sample.volume, *fault))
        total += counts
    return total


def _count_blocks(
    sample: _Sample, first: int, stop: int, bins: tuple[Bin, ...] | None
) -> tuple[np.ndarray, tuple[tuple[int, ...], float] | None]:
    """Histogram of some blocks, and where the first NaN or Inf is, which ends the count."""
    total: np.ndarray = np.zeros((), dtype=np.int64)
    for number in range(first, stop):
        region = sample.region(number)
        block = sample.volume[region]
        if block.dtype.kind == "f" and not np.isfinite(block).all():
            place = tuple(int(i) for i in np.argwhere(~np.isfinite(block))[0])
            index = tuple(s.start + i for s, i in zip(region, place, strict=True))
            return total, (index, float(block[place]))
        if _has_channels(sample):
            block = np.moveaxis(block, sample.volume.axes.index("c"), 0)
        else:
            block = block[np.newaxis]
        keys = _sort_keys(block.reshape(len(block), -1))
        total = total + (_count_upper(keys) if bins is None else _count_lower(keys, bins))
    return total, None


def _count_upper(keys: np.ndarray) -> np.ndarray:
    return np.stack([np.bincount(channel >> 16, minlength=BINS) for channel in keys])


def _count_lower(keys: np.ndarray, bins: tuple[Bin, ...]) -> np.ndarray:
    return np.stack(
        [
            np.bincount(keys[channel][keys[channel] >> 16 == upper] & 0xFFFF, minlength=BINS)
            for channel, upper in bins
        ]
    )


def _sort_keys(values: np.ndarray) -> np.ndarray:
    """Keys of 32 bits in the order of the values; small integers use the upper half alone."""
    if _is_small_integer(values.dtype.name):
        return (values.astype(np.int64) - int(np.iinfo(values.dtype).min)).astype(np.uint32) << 16
    with np.errstate(over="ignore"):
        # Adding 0 turns -0.0 into 0.0; the largest float32 stands in for what lies beyond.
        rounded = np.nan_to_num(values.astype(np.float32)) + np.float32(0)
    bits = rounded.view(np.uint32)
    return np.where(bits >> 31, ~bits, bits | np.uint32(0x80000000))


def _key_value(key: int, dtype: str) -> float:
    """Inverse of `_sort_keys`."""
    if _is_small_integer(dtype):
        return float((key >> 16) + int(np.iinfo(dtype).min))
    bits = key ^ 0x80000000 if key >> 31 else ~key & 0xFFFFFFFF
    return float(np.uint32(bits).view(np.float32))


def _values_of_ranks(
    sample: _Sample, upper: np.ndarray, ranks: list[int], scheduler: Scheduler
) -> dict[tuple[int, int], float]:
    """Value by channel and rank; a second pass only where the upper halves do not tell."""
    wanted = [(channel, rank) for channel in range(len(upper)) for rank in ranks]
    found = {key: _locate(upper[key[0]], key[1]) for key in wanted}
    lower: dict[Bin, np.ndarray] = {}
    if not _is_small_integer(sample.volume.dtype):
        bins = tuple(sorted({(channel, found[channel, rank][0]) for channel, rank in wanted}))
        lower = dict(zip(bins, _histogram(sample, bins, scheduler), strict=True))
    values = {}
    for channel, rank in wanted:
        upper_half, rest = found[channel, rank]
        lower_half = _locate(lower[channel, upper_half], rest)[0] if lower else 0
        values[channel, rank] = _key_value(upper_half << 16 | lower_half, sample.volume.dtype)
    return values


def _locate(counts: np.ndarray, rank: int) -> Bin:
    """Bin of the voxel of a rank, and its rank within the bin."""
    cumulative = np.cumsum(counts)
    place = int(np.searchsorted(cumulative, rank, side="right"))
    return place, rank - int(cumulative[place] - counts[place])


def _ranks(percent: float, size: int) -> tuple[int, int]:
    """The two neighbouring ranks (0 is the lowest voxel) between which a percentile lies."""
    rank = math.floor(percent / 100 * (size - 1))
    return rank, min(rank + 1, size - 1)


def _interpolate(
    values: dict[tuple[int, int], float], channel: int, percent: float, size: int
) -> float:
    below, above = _ranks(percent, size)
    part = percent / 100 * (size - 1) - below
    return values[channel, below] * (1 - part) + values[channel, above] * part


def _is_small_integer(dtype: str) -> bool:
    return np.dtype(dtype).kind in "iu" and np.dtype(dtype).itemsize <= 2


def _has_channels(sample: _Sample) -> bool:
    return "c" in sample.volume.axes


def _fault_message(volume: Volume, index: tuple[int, ...], value: float) -> str:
    where = ", ".join(f"{axis}={i}" for axis, i in zip(volume.axes, index, strict=True))
    return (
        f"{volume.url} level {volume.path} holds {value} at ({where}); "
        "replace NaN and Inf voxels by numbers and import the image again"
    )
