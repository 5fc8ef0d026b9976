"""Strategies, and networks simple enough to be their own oracle, that several tests share."""

import itertools

import numpy as np
from hypothesis import strategies as st

from segmentation.plan import ShardPlan
from segmentation.region import Region
from segmentation.shard import segment_shard
from segmentation.tiling import TileSpec


@st.composite
def regions(draw, shape):
    """A box anywhere inside a volume."""
    start = tuple(draw(st.integers(0, size - 1)) for size in shape)
    stop = tuple(draw(st.integers(a + 1, size)) for a, size in zip(start, shape, strict=True))
    return Region(start, stop)


@st.composite
def shapes(draw, *, dimensions, largest):
    """Extents that the stride divides or not, down to one voxel."""
    return tuple(draw(st.integers(1, most)) for most in largest[:dimensions])


@st.composite
def tiles(draw, size, stride, halo):
    """A tile extent: the whole padded axis, the smallest with a core, or something between."""
    padded = -(-size // stride) * stride
    least = 2 * halo + stride
    if least >= padded:
        return padded
    return draw(
        st.sampled_from([least, padded])
        | st.integers(least // stride, padded // stride).map(lambda blocks: blocks * stride)
    )


@st.composite
def plans(draw, shape, stride, halo, *, exact=True):
    """A plan by hand: any region, cells, shards, tiles and batch size over a volume.

    Axes in front of those of the network are walked through one voxel at a time.
    """
    leading = len(shape) - len(stride)
    stride, halo = (1,) * leading + tuple(stride), (0,) * leading + tuple(halo)
    tile = (1,) * leading + tuple(
        draw(tiles(*axis)) for axis in list(zip(shape, stride, halo, strict=True))[leading:]
    )
    cell = tuple(draw(st.integers(1, size)) for size in shape)
    multiples = tuple(draw(st.integers(1, 3)) for _ in shape)
    return ShardPlan(
        shape=tuple(shape),
        region=draw(regions(shape)),
        cell=cell,
        shard_shape=tuple(c * m for c, m in zip(cell, multiples, strict=True)),
        spec=TileSpec(tile, halo, stride, exact),
        batch=draw(st.integers(1, 3)),
        projected_bytes=0,
    )


class BlockNetwork:
    """An exact network in integers: what its tiles say differs or not, there is no rounding.

    Every voxel becomes itself plus seven times the sum of the stride blocks within reach;
    beyond the array there is nothing, as for a padded convolution.
    """

    num_classes = 0

    def __init__(self, stride, reach, channels=1):
        self.stride = tuple(stride)
        self.halo = tuple(s * r for s, r in zip(stride, reach, strict=True))
        self.channels = channels
        self._reach = reach

    def predict_classes(self, tiles):
        values = tiles.astype(np.int64) @ (1 + np.arange(self.channels))
        context = values
        for axis, (stride, reach) in enumerate(zip(self.stride, self._reach, strict=True), start=1):
            blocks = np.add.reduceat(context, range(0, context.shape[axis], stride), axis=axis)
            near = np.zeros_like(blocks)
            for shift in range(-reach, reach + 1):
                near += shifted(blocks, shift, axis)
            context = np.repeat(near, stride, axis=axis)
        return values + 7 * context


def shifted(array, shift, axis):
    """The array moved along an axis, zeros moving in."""
    index = np.arange(array.shape[axis]) + shift
    inside = (index >= 0) & (index < array.shape[axis])
    moved = np.take(array, np.clip(index, 0, array.shape[axis] - 1), axis=axis)
    keep = np.reshape(inside, [-1 if a == axis else 1 for a in range(array.ndim)])
    return np.where(keep, moved, 0)


def edge_padded(volume, stride):
    """The reference volume: each size brought up to the stride by repeating the last voxel."""
    for axis, step in enumerate(stride, start=volume.ndim - 1 - len(stride)):
        size = volume.shape[axis]
        index = np.minimum(np.arange(-(-size // step) * step), size - 1)
        volume = np.take(volume, index, axis=axis)
    return volume


def untiled(predict, volume, stride):
    """Output of a network that sees the whole padded volume at once, cropped to the volume.

    `volume` is (*leading, *spatial, channels); the leading axes become the batch.
    """
    padded = edge_padded(volume, stride)
    spatial = padded.shape[-1 - len(stride) : -1]
    leading = padded.shape[: -1 - len(stride)]
    output = np.asarray(predict(padded.reshape(-1, *spatial, padded.shape[-1])))
    output = output.reshape(*leading, *output.shape[1:])
    return output[tuple(slice(0, size) for size in volume.shape[:-1])]


def sharded(volume, plan, predictor, transform=None):
    """Output over the plan's region, from `shard.read` of each shard and nothing else."""
    result = None
    for shard in plan:
        block = volume[shard.read.slices].copy()
        classes = segment_shard(block, shard, plan, predictor, transform).classes
        if result is None:
            result = np.zeros(plan.region.shape, classes.dtype)
        result[shard.write.relative_to(plan.region.start).slices] = classes
    return result


def voxels_of(region):
    """Every voxel of a region, as a tuple."""
    return itertools.product(*(range(a, b) for a, b in zip(region.start, region.stop, strict=True)))


def random_volume(shape, seed, dtype="uint16"):
    """Seeded integers from 1 to 9: nothing is zero, so that what is left out is missed."""
    return np.random.default_rng(seed).integers(1, 10, shape).astype(dtype)
