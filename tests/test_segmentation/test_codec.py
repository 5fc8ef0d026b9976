from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from segmentation.metrics.codec import decode_array, encode_array, pack_arrays, unpack_arrays

ARRAYS = hnp.arrays(
    st.sampled_from(["int64", "uint64", "float64", "uint8", ">i4"]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5),
)


@given(ARRAYS)
def test_arrays_come_back_from_text(array: NDArray[np.generic]) -> None:
    back = decode_array(json.loads(json.dumps(encode_array(array))))
    assert back.dtype == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(back, array)


@given(st.dictionaries(st.sampled_from(["a", "b/0/counts", "file"]), ARRAYS))
def test_arrays_come_back_from_a_file(arrays: dict[str, NDArray[np.generic]]) -> None:
    data = pack_arrays(arrays)
    assert data == pack_arrays(dict(reversed(arrays.items())))
    back = unpack_arrays(data)
    assert set(back) == set(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(back[name], array)


def test_a_damaged_file_is_refused() -> None:
    data = pack_arrays({"counts": np.arange(1000)})
    for damaged in (data[:-30], b"", data[:40] + b"\x00" * 20 + data[60:]):
        with pytest.raises(ValueError, match="a file of statistics is damaged"):
            unpack_arrays(damaged)
