"""How far a tiled network is from the untiled one, measured on a made-up image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from segmentation.region import Region
from segmentation.tiling import TileSpec, blend_weights, blend_windows, exact_windows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from segmentation.receptive_field import Geometry

    Predict = Callable[[NDArray[np.float32]], NDArray[np.float32]]

THIN = {2: 64, 3: 16}  # voxels across the sample of an exact network, by number of axes

LEAST_CORE = 16


def measure_mismatch(
    predict: Predict,
    geometry: Geometry,
    channels: int,
    *,
    tile: Sequence[int],
    seed: int = 0,
) -> dict[str, Any]:
    """Compare tiled with untiled probabilities on seeded smooth noise.

    An exact network is tiled along one axis at a time, in tiles just large enough, on strips
    long enough that the middle tile sees neither end. Another one is tiled and blended as it
    will be used, over twice its tile along every axis.

    Parameters
    ----------
    predict : callable
        float32 (1, *shape, channels) to probabilities (1, *shape, classes).
    geometry : Geometry
        Stride, halo and exactness of the network.
    channels : int
        Channels of its input.
    tile : sequence of int
        The tile of a network that is not exact.
    seed : int
        Of the noise.

    Returns
    -------
    dict
        ``max_difference`` of probabilities, ``argmax_fraction`` of voxels whose class differs,
        and what the ``sample`` was.
    """
    cases = _strips(geometry) if geometry.exact else [_doubled(geometry, tile)]
    largest, changed, total = 0.0, 0, 0
    for spec, shape in cases:
        image = smooth_noise((*shape, channels), seed)
        untiled = predict(image[np.newaxis])[0]
        tiled = predict_tiled(predict, image, spec)
        largest = max(largest, float(np.abs(tiled - untiled).max()))
        changed += int(np.count_nonzero(tiled.argmax(-1) != untiled.argmax(-1)))
        total += untiled[..., 0].size
    sizes = ", ".join("x".join(map(str, shape)) for _, shape in cases)
    return {
        "max_difference": largest,
        "argmax_fraction": changed / total,
        "sample": f"smooth noise, seed {seed}, {sizes} voxels",
    }


def measure_overlap(
    predict: Predict, geometry: Geometry, channels: int, *, tile: Sequence[int], seed: int = 0
) -> dict[str, Any]:
    """As `measure_mismatch`, for a network that takes one tile size and cannot run untiled.

    Two tiles half a tile apart are compared where both are further than the halo from their
    own borders.
    """
    shift = [t // 2 // s * s for t, s in zip(tile, geometry.stride, strict=True)]
    inner = [
        max(h, 0) if 2 * h < t - d else 0
        for h, t, d in zip(geometry.halo, tile, shift, strict=True)
    ]
    image = smooth_noise((*(t + d for t, d in zip(tile, shift, strict=True)), channels), seed)
    first, second = (
        predict(
            image[tuple(slice(o, o + t) for o, t in zip(origin, tile, strict=True))][np.newaxis]
        )[0]
        for origin in ([0] * len(shift), shift)
    )
    here = tuple(slice(d + m, t - m) for d, m, t in zip(shift, inner, tile, strict=True))
    there = tuple(slice(m, t - d - m) for d, m, t in zip(shift, inner, tile, strict=True))
    a, b = first[here], second[there]
    return {
        "max_difference": float(np.abs(a - b).max()),
        "argmax_fraction": float(np.mean(a.argmax(-1) != b.argmax(-1))),
        "sample": f"smooth noise, seed {seed}, two tiles of {'x'.join(map(str, tile))} voxels "
        "half a tile apart",
    }


def predict_tiled(
    predict: Predict, image: NDArray[np.float32], spec: TileSpec
) -> NDArray[np.float32]:
    """Probabilities of an image, tile by tile; its size is a multiple of the stride.

    Parameters
    ----------
    image : numpy.ndarray
        Shape (*spatial, channels).
    spec : TileSpec
        How to tile it.
    """
    shape = image.shape[:-1]
    if spec.exact:
        return _kept(predict, image, spec, Region.whole(shape))
    weights = blend_weights(spec)[..., np.newaxis]
    total: Any = 0.0
    norm = np.zeros((*shape, 1), np.float32)
    for tile in blend_windows(Region.whole(shape), shape, spec):
        output = predict(image[tile.slices][np.newaxis])[0]
        total = np.zeros((*shape, output.shape[-1]), np.float32) if norm.max() == 0 else total
        total[tile.slices] += output * weights
        norm[tile.slices] += weights
    return np.asarray(total / norm, np.float32)


def _kept(
    predict: Predict, image: NDArray[np.float32], spec: TileSpec, whole: Region
) -> NDArray[np.float32]:
    pieces = [
        (
            w.keep.slices,
            predict(image[w.tile.slices][np.newaxis])[0][w.keep.relative_to(w.tile.start).slices],
        )
        for w in exact_windows(whole, whole.shape, spec)
    ]
    result = np.empty((*whole.shape, pieces[0][1].shape[-1]), np.float32)
    for place, piece in pieces:
        result[place] = piece
    return result


def smooth_noise(shape: Sequence[int], seed: int) -> NDArray[np.float32]:
    """Seeded noise with structure at several scales, about 0 to 1; shape (*spatial, channels)."""
    rng = np.random.default_rng(seed)
    noise = np.full(shape, 0.5, np.float32)
    for sigma in (0.0, 1.5, 6.0):
        layer = rng.standard_normal(shape, np.float32)
        layer = ndimage.gaussian_filter(layer, (*(sigma,) * (len(shape) - 1), 0), mode="wrap")
        noise += 0.15 * layer / layer.std()
    return noise


def _strips(geometry: Geometry) -> list[tuple[TileSpec, tuple[int, ...]]]:
    """Per axis: a strip, thin along the others, and the smallest tile with a core on it."""
    strips = []
    thin = [-(-THIN[len(geometry.stride)] // s) * s for s in geometry.stride]
    for axis, (halo, stride) in enumerate(zip(geometry.halo, geometry.stride, strict=True)):
        core = -(-max(LEAST_CORE, halo) // stride) * stride
        tile, shape = list(thin), list(thin)
        tile[axis] = 2 * halo + core
        shape[axis] = 2 * halo + 4 * core
        strips.append((TileSpec(tuple(tile), geometry.halo, geometry.stride), tuple(shape)))
    return strips


def _doubled(geometry: Geometry, tile: Sequence[int]) -> tuple[TileSpec, tuple[int, ...]]:
    spec = TileSpec(tuple(tile), geometry.halo, geometry.stride, exact=False)
    return spec, tuple(2 * extent for extent in tile)
