"""Chunks kept in memory: the same voxels, read less often, within the budget."""

from dataclasses import dataclass, field

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from segmentation.training.block_cache import BlockCache, CachedArray, cached


@dataclass(eq=False)
class Chunked:
    """An array in chunks that counts how often it is read."""

    voxels: np.ndarray
    chunks: tuple
    reads: list = field(default_factory=list)

    shape = property(lambda self: self.voxels.shape)
    dtype = property(lambda self: self.voxels.dtype)

    def __getitem__(self, slices):
        self.reads.append(slices)
        return self.voxels[slices].copy()


@given(st.data())
def test_any_box_is_the_same_voxels(data):
    shape = data.draw(st.lists(st.integers(1, 9), min_size=2, max_size=3))
    chunks = tuple(data.draw(st.integers(1, 5)) for _ in shape)
    array = Chunked(np.arange(np.prod(shape)).reshape(shape), chunks)
    view = CachedArray(array, BlockCache(data.draw(st.sampled_from([0, 100, 10**6]))))
    for _ in range(3):
        bounds = [sorted(data.draw(st.tuples(*[st.integers(0, n)] * 2))) for n in shape]
        box = tuple(slice(a, b) for a, b in bounds)
        found = view[box]
        np.testing.assert_array_equal(found, array.voxels[box])
        found[...] = -1  # What is handed out may be changed.


def test_a_chunk_is_read_once_and_the_oldest_goes_first():
    array = Chunked(np.zeros((4, 8), np.uint8), (1, 8))
    view = CachedArray(array, BlockCache(16))
    for row in (0, 1, 0, 2, 0, 1):
        view[row : row + 1, :]
    # Two rows fit: row 1 was the oldest when row 2 came, and is read again.
    assert [s[0].start for s in array.reads] == [0, 1, 2, 1]
    assert view.cache._held == 16


def test_only_chunks_that_fit_are_kept():
    plain = np.zeros((4, 4))
    assert cached(plain, BlockCache(10**6)) is plain
    array = Chunked(np.zeros((4, 8), np.uint8), (4, 8))
    assert cached(array, BlockCache(8 * 32 - 1)) is array
    assert isinstance(cached(array, BlockCache(8 * 32)), CachedArray)
