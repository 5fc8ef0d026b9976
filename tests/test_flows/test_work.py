import numpy as np
import pytest

from flows.work import _shares


@pytest.mark.parametrize("size", [0, 1, 5, 16, 17, 40])
def test_shares_are_the_voxels_of_every_class(size):
    rng = np.random.default_rng(0)
    classes = rng.integers(0, max(size, 1), (3, 17, 19)).astype(np.uint8)
    expected = [int((classes == value).sum()) for value in range(size)]
    assert _shares(classes, size) == expected
