"""Small volumes in which masks are wrong by a known shift."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from tests.test_flows.images import make_image, make_label

if TYPE_CHECKING:
    from pathlib import Path

CLASSES = ("background", "membrane", "synapse")


def make_volume(folder: Path, seed: int = 0, shape: tuple[int, ...] = (8, 192, 192)) -> str:
    """An image of three intensities, and a truth that is shifted against them."""
    folder.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).standard_normal(shape)
    smooth = ndimage.gaussian_filter(noise, (1, 6, 6))
    voxels = np.digitize(smooth, np.quantile(smooth, [0.6, 0.85])).astype(np.uint8)
    image = make_image(folder, voxels, axes="zyx")
    make_label(image, np.roll(voxels, 2, axis=2), classes=CLASSES)
    return image
