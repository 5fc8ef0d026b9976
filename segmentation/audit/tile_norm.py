"""Finding on tiles that were normalised each by itself: seams that follow the tiles' brightness."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from segmentation.audit.finding import Finding, Table
from segmentation.region import Region

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from segmentation.audit.mask_scan import Voxels
    from segmentation.audit.thresholds import InferenceThresholds

MOST_FACES = 200
FEWEST_FACES = 12
BAND = 4
# Relative size of what is rounding, of sums of squared ranks.
NOTHING_LEFT = 1e-12
SHOWN = 10


@dataclass(frozen=True, slots=True)
class Jump:
    """What changes across one face between two tiles.

    Attributes
    ----------
    axis : int
        Across which.
    place : tuple of int
        First voxel of the later tile.
    foreground : float
        Share of foreground in the first voxels behind the face minus that before it.
    brightness : float
        Mean intensity of the later tile minus that of the earlier one.
    beside : float
        The same of the voxels at the face alone.
    polarity : float
        Mean intensity of the foreground minus that of the background, within the two tiles.
    """

    axis: int
    place: tuple[int, ...]
    foreground: float
    brightness: float
    beside: float
    polarity: float


def tile_jumps(
    image: Voxels, mask: Voxels, region: Region, faces: Sequence[Sequence[int]]
) -> list[Jump]:
    """Changes across at most 200 faces, spread evenly over the region.

    Parameters
    ----------
    image, mask : array or volume
        Intensities of one channel, and classes, on the same grid.
    region : Region
        What is looked at.
    faces : sequence
        As `segmentation.audit.mask_scan.tile_faces` gives them.
    """
    edges = [
        [start, *cuts, stop] if cuts else list(range(start, stop + 1))
        for start, cuts, stop in zip(region.start, faces, region.stop, strict=True)
    ]
    pairs = [
        (axis, place)
        for axis, cuts in enumerate(faces)
        if cuts
        for place in itertools.product(
            *(range(1 if number == axis else 0, len(e) - 1) for number, e in enumerate(edges))
        )
    ]
    kept = min(len(pairs), MOST_FACES)
    chosen = [pairs[number * len(pairs) // kept] for number in range(kept)]
    return [_jump(image, mask, edges, axis, place) for axis, place in chosen]


def _jump(
    image: Voxels,
    mask: Voxels,
    edges: Sequence[Sequence[int]],
    axis: int,
    place: tuple[int, ...],
) -> Jump:
    before = tuple(index - (number == axis) for number, index in enumerate(place))
    tiles = [_tile(edges, index) for index in (before, place)]
    pixels = [np.asarray(image[tile.slices], np.float64) for tile in tiles]
    bands = [slice(-BAND, None), slice(None, BAND)]
    labels = [_band(np.asarray(mask[tile.slices]), axis, band) for tile, band in zip(
        tiles, bands, strict=True)]  # fmt: skip
    shades = [_band(part, axis, band) for part, band in zip(pixels, bands, strict=True)]
    return Jump(
        axis,
        tiles[1].start,
        float((labels[1] > 0).mean() - (labels[0] > 0).mean()),
        float(pixels[1].mean() - pixels[0].mean()),
        float(shades[1].mean() - shades[0].mean()),
        sum(
            _polarity(part, np.asarray(mask[tile.slices]))
            for part, tile in zip(pixels, tiles, strict=True)
        ),
    )


def _polarity(pixels: NDArray[np.float64], labels: NDArray[Any]) -> float:
    inside = labels > 0
    if inside.all() or not inside.any():
        return 0.0
    return float(pixels[inside].mean() - pixels[~inside].mean())


def _tile(edges: Sequence[Sequence[int]], place: Sequence[int]) -> Region:
    return Region(
        tuple(e[i] for e, i in zip(edges, place, strict=True)),
        tuple(e[i + 1] for e, i in zip(edges, place, strict=True)),
    )


def _band(block: NDArray[Any], axis: int, band: slice) -> NDArray[Any]:
    return block[tuple(band if number == axis else slice(None) for number in range(block.ndim))]


def tile_norm_findings(
    jumps: Sequence[Jump], axes: str, thresholds: InferenceThresholds
) -> Iterator[Finding]:
    """INFER-TILE-NORM: foreground jumps at tile faces against the brightness of whole tiles.

    A bright tile that is normalised by itself comes out darker than its neighbour, so that at
    their face it has less of a class that is bright, or more of one that is dark. Without that
    fault the brighter tile has more of a bright class, if anything.

    Parameters
    ----------
    jumps : sequence of Jump
        Across faces.
    axes : str
        Of the mask.
    thresholds : InferenceThresholds
        ``seam_p`` and ``tile_correlation``.
    """
    foreground, brightness, beside = (
        np.array([getattr(jump, name) for jump in jumps])
        for name in ("foreground", "brightness", "beside")
    )
    if len(jumps) < FEWEST_FACES or not foreground.any() or np.ptp(brightness) == 0:
        return
    sign = float(np.sign(sum(jump.polarity for jump in jumps)))
    correlation, p = partial_correlation(brightness, sign * foreground, beside)
    if not correlation < -thresholds.tile_correlation or p > thresholds.seam_p:
        return
    worst = sorted(jumps, key=lambda jump: -abs(jump.foreground))[:SHOWN]
    rows = tuple(
        (axes[jump.axis], " ".join(map(str, jump.place)), jump.foreground, jump.brightness)
        for jump in worst
    )
    yield Finding(
        code="INFER-TILE-NORM",
        severity="warning",
        statement=f"Across {len(jumps)} tile faces the foreground jumps against the brightness of "
        f"the whole tiles (correlation {correlation:+.2f}): each tile seems to have been "
        "normalised by itself.",
        rule="The rank correlation of jumps of the foreground with differences in mean intensity, "
        "given those at the face itself and turned so that foreground is bright, is below "
        f"{-thresholds.tile_correlation:g} (measured {correlation:.2f}) with a probability of at "
        f"most {thresholds.seam_p:g} by chance (measured {p:.2g}).",
        advice="Take one intensity range for the whole volume: `maskmill pack MODEL.keras BUNDLE "
        "--intensity-percentiles 1,99`, then `maskmill segment … --force`.",
        proves_not="Other faults that depend on brightness look alike, such as normalising layers "
        "inside the network (MODEL-NOT-EXACT).",
        evidence=(
            Table(
                "Faces with the largest jumps",
                ("axis", "at", "jump of foreground", "difference in mean intensity"),
                rows,
            ),
        ),
    )


def partial_correlation(
    first: NDArray[np.float64], second: NDArray[np.float64], given: NDArray[np.float64]
) -> tuple[float, float]:
    """Rank correlation of two quantities once a third is known, and its p.

    The ranks of the third are taken out of those of the others by least squares; the rest is
    correlated, and compared with Student's t of n - 3 degrees of freedom. What lies at a face
    has its own brightness: without this, structures at faces would look like the fault.

    Returns
    -------
    tuple of float
        (0, 1) where nothing is left to correlate.
    """
    rest = [_without(stats.rankdata(one), stats.rankdata(given)) for one in (first, second)]
    length = float(np.sqrt((rest[0] ** 2).sum() * (rest[1] ** 2).sum()))
    if length <= NOTHING_LEFT * len(given) ** 3:
        return 0.0, 1.0
    found = float((rest[0] * rest[1]).sum()) / length
    free = len(given) - 3
    far = abs(found) * np.sqrt(free / max(1 - found**2, NOTHING_LEFT))
    return found, float(2 * stats.t.sf(far, free))


def _without(ranks: NDArray[np.float64], given: NDArray[np.float64]) -> NDArray[np.float64]:
    """What a straight line through the other ranks does not say."""
    centred, other = ranks - ranks.mean(), given - given.mean()
    square = float((other**2).sum())
    slope = float((centred * other).sum()) / square if square else 0.0
    rest: NDArray[np.float64] = centred - slope * other
    return rest
