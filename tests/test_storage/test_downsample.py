from collections import Counter
from fractions import Fraction
from itertools import product
from math import floor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from storage.downsample import mean_downsample, mode_downsample
from storage.errors import StorageError

INTEGERS = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"]


def windows(block, factors):
    """Output index and the values of its window, one by one."""
    shape = [-(-size // f) for size, f in zip(block.shape, factors, strict=True)]
    for index in product(*map(range, shape)):
        region = tuple(slice(i * f, (i + 1) * f) for i, f in zip(index, factors, strict=True))
        yield index, block[region].ravel().tolist()


def mode_of(values):
    counts = Counter(values)
    most = max(counts.values())
    best = [value for value, count in counts.items() if count == most]
    return min([value for value in best if value != 0], default=0)


def mean_of(values):
    return floor(Fraction(sum(values), len(values)) + Fraction(1, 2))


@st.composite
def blocks(draw, dtypes, few_values):
    shape = draw(npst.array_shapes(min_dims=1, max_dims=5, max_side=5))
    factors = tuple(draw(st.integers(1, 3)) for _ in shape)
    elements = st.integers(0, 3) if few_values else None
    block = draw(npst.arrays(draw(st.sampled_from(dtypes)), shape, elements=elements))
    return block, factors


@settings(deadline=None)  # the first call compiles
@given(blocks(["uint8", "uint16", "uint32", "uint64"], few_values=True))
def test_mode_is_the_counted_mode(case):
    block, factors = case
    result = mode_downsample(block, factors)
    assert result.dtype == block.dtype
    for index, values in windows(block, factors):
        assert result[index] == mode_of(values)


@settings(deadline=None)  # the first call compiles
@given(blocks(INTEGERS, few_values=False))
def test_mean_is_the_exact_mean_rounded_half_up(case):
    block, factors = case
    result = mean_downsample(block, factors)
    assert result.dtype == block.dtype
    for index, values in windows(block, factors):
        assert int(result[index]) == mean_of(values)


@pytest.mark.parametrize(
    ("values", "mode"),
    [
        ([0, 0, 0, 1], 0),  # majority
        ([0, 0, 1, 1], 1),  # a tie with background gives the object
        ([2, 2, 1, 1], 1),  # a tie of objects gives the lowest
        ([0, 3, 2, 1], 1),  # all different: the lowest that is not 0
        ([5, 5, 5, 5], 5),
    ],
)
def test_mode_rule(values, mode):
    assert mode_downsample(np.array([values], np.uint8), (1, 4)).tolist() == [[mode]]


def test_mean_rounds_half_up_and_does_not_overflow():
    assert mean_downsample(np.array([1, 2], np.uint8), (2,)).tolist() == [2]  # 1.5
    assert mean_downsample(np.array([-1, -2], np.int8), (2,)).tolist() == [-1]  # -1.5
    top = np.full(8, 2**64 - 1, np.uint64)
    assert mean_downsample(top, (8,)).tolist() == [2**64 - 1]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_mean_of_floats(dtype):
    block = np.array([[1, 2, 4], [3, 6, 8]], dtype)
    result = mean_downsample(block, (2, 2))
    assert result.dtype == dtype
    assert result.tolist() == [[3.0, 6.0]]  # the last window is clipped: (4 + 8) / 2


def test_foreign_byte_order_and_strides():
    block = np.arange(24, dtype=">u2").reshape(4, 6).T
    assert mean_downsample(block, (2, 2)).tolist() == [[4, 16], [6, 18], [8, 20]]


def test_refusals():
    with pytest.raises(StorageError, match="mode needs integers, got float32"):
        mode_downsample(np.zeros((2, 2), np.float32), (2, 2))
    with pytest.raises(StorageError, match="mean needs integers or floats, got bool"):
        mean_downsample(np.zeros((2, 2), bool), (2, 2))
    with pytest.raises(StorageError, match=r"factors \(2,\) do not fit a block of shape \(2, 2\)"):
        mode_downsample(np.zeros((2, 2), np.uint8), (2,))
