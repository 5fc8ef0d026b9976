"""Versions of a mask, and a reader of them."""

from __future__ import annotations

import numpy as np

from storage.volume import open_label
from tests.test_flows.images import segment, voxels_like

VOXELS = voxels_like((3, 80, 70))


def make_versions(image, number):
    """Versions of one mask, published one after the other; their runs."""
    return [segment(image)[0], *(segment(image, force=True)[0] for _ in range(number - 1))]


def read_until(stop, image, expected, seen):
    """Read the published mask again and again; what is no version as a whole is noted."""
    while not stop.is_set():
        try:
            mask = open_label(image, "mask").volumes[0][...]
            equal = [name for name, voxels in expected.items() if np.array_equal(mask, voxels)]
            seen.append(equal[0] if equal else "mixed")
        except Exception as error:
            seen.append(repr(error))
