"""An image as a classifier is shown it: its channels, its intensities, its size.

Training and prediction both go through `prepare`, so that a network is never shown anything else
than what it learned from.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from segmentation.normalize import IntensityTransform

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from segmentation.bundle import Card

# The one rule, as cards state it.
RESIZE = "antialiased linear"
# Of red, green and blue in grey: ITU-R BT.601.
LUMA = (0.299, 0.587, 0.114)


def prepare(image: NDArray[Any], card: Card) -> NDArray[np.float32]:
    """An image as the network of a card takes it.

    Parameters
    ----------
    image : shape (y, x, channels)
        Intensities, any real dtype, any extents.
    card : Card
        Of a classifier.

    Returns
    -------
    float32, shape (*card.image_size, card.channels)

    Raises
    ------
    ValueError
        If the channels do not fit, the image has no contrast, or holds NaN.
    """
    size = card.image_size or image.shape[:2]
    return prepare_image(image, card.channels, card.intensity, size)


def prepare_image(
    image: NDArray[Any], channels: int, intensity: Mapping[str, Any], size: Sequence[int]
) -> NDArray[np.float32]:
    """Convert channels, then intensities, then the size; the arguments as in `prepare`.

    Percentiles are those of this image alone, each channel for itself.
    """
    voxels = with_channels(image, channels)
    return resized(image_transform(voxels, intensity)(voxels), size)


def with_channels(image: NDArray[Any], channels: int) -> NDArray[Any]:
    """Colours as grey (ITU-R BT.601), grey as three equal colours, or the image as it is.

    Raises
    ------
    ValueError
        If neither helps.
    """
    if image.ndim != 3:
        raise ValueError(f"the image has the shape {image.shape}; expected (y, x, channels)")
    have = image.shape[-1]
    if have == channels:
        return image
    if (have, channels) == (3, 1):
        red, green, blue = (image[..., c : c + 1] for c in range(3))
        if np.array_equal(red, green) and np.array_equal(red, blue):
            return red
        grey = sum(share * image[..., c : c + 1] for c, share in enumerate(LUMA))
        return np.asarray(grey, np.float32)
    if (have, channels) == (1, 3):
        return np.repeat(image, 3, axis=-1)
    raise ValueError(
        f"the image has {have} channels and the network takes {channels}; expected images of "
        f"{channels} channels, like those it was trained on"
    )


def image_transform(image: NDArray[Any], intensity: Mapping[str, Any]) -> IntensityTransform:
    """Transform of an image, by the rule of a card.

    A channel in which nothing is becomes 0, where another one shows something.

    Raises
    ------
    ValueError
        If the image has no contrast at all, or holds NaN.
    """
    if intensity["rule"] == "fixed":
        return IntensityTransform(tuple(intensity["low"]), tuple(intensity["high"]))
    limits = [float(intensity["low"]), float(intensity["high"])]
    flat = image.reshape(-1, image.shape[-1])
    low, high = np.percentile(flat, limits, axis=0)
    # A figure with a wide margin: its extremes still have contrast.
    shown = low < high
    low = np.where(shown, low, flat.min(axis=0))
    high = np.where(shown, high, flat.max(axis=0))
    if (low < high).any():
        high = np.where(low == high, low + 1, high)
    return IntensityTransform(tuple(map(float, low)), tuple(map(float, high)))


def resized(image: NDArray[np.float32], size: Sequence[int]) -> NDArray[np.float32]:
    """The image at another size: linear where it grows, weighted means where it shrinks.

    The triangle of linear interpolation is as wide as a pixel of the coarser of the two grids, so
    that no detail is skipped. Centres of the images coincide; both axes are treated alike.

    Parameters
    ----------
    image : float32, shape (y, x, channels)
        Intensities.
    size : sequence of int
        Extents along y and x.

    Returns
    -------
    float32, shape (*size, channels)
    """
    height, width, channels = image.shape
    if (height, width) == tuple(size):
        return image
    rows = _weights(height, size[0]) @ image.reshape(height, width * channels)
    columns = rows.reshape(size[0], width, channels).transpose(1, 0, 2).reshape(width, -1)
    result = _weights(width, size[1]) @ columns
    turned = result.reshape(size[1], size[0], channels).transpose(1, 0, 2)
    return np.ascontiguousarray(turned, np.float32)


@lru_cache(maxsize=16)
def _weights(extent: int, wanted: int) -> Any:
    """Sparse weights (wanted, extent), float32; every row adds up to 1."""
    step = extent / wanted
    reach = max(step, 1.0)
    centres = (np.arange(wanted) + 0.5) * step - 0.5
    first = np.ceil(centres - reach).astype(np.int64)
    columns = first[:, None] + np.arange(int(2 * reach) + 2)
    heights = np.maximum(1 - np.abs(columns - centres[:, None]) / reach, 0.0)
    heights[(columns < 0) | (columns >= extent)] = 0.0
    heights /= heights.sum(axis=1, keepdims=True)
    rows = np.repeat(np.arange(wanted), columns.shape[1])
    kept = heights.ravel() > 0
    entries = (heights.ravel()[kept].astype(np.float32), (rows[kept], columns.ravel()[kept]))
    return sparse.csr_array(entries, shape=(wanted, extent))
