"""How often the class of a mask changes near the faces of tiles.

A tile that is read without enough around it is wrong near its faces. Beside zeros that were added
it may be wrong alike on both sides, and the class changes less often at the face and more often
some voxels away; or in different ways, and it changes more often at the face. What is looked for
is therefore any pattern that repeats at the faces.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

REACH = 8
DRAWS = 1999
SEED = 0


@dataclass(frozen=True, slots=True, eq=False)
class AxisSeams:
    """How often the class changes near the faces of one axis.

    Attributes
    ----------
    axis : str
        Its name.
    faces : int
        Faces that were seen.
    offset : int
        Distance from the face, in voxels along the axis, at which the pattern is strongest.
    there, overall : float
        Share of neighbouring voxels whose classes differ, at that distance and at all places.
    p : float
        Chance of so strong a pattern at as many places drawn at random.
    profile : tuple of (float, float or None)
        Share by distance from the face.
    """

    axis: str
    faces: int
    offset: int
    there: float
    overall: float
    p: float
    profile: tuple[tuple[float, float | None], ...]

    @property
    def ratio(self) -> float:
        """How many times as often, or as seldom, the class changes there; 1 or more."""
        low, high = sorted((self.there, self.overall))
        if not low:
            return float("inf") if high else 1.0
        return high / low


def axis_seams(
    axis: str,
    changes: NDArray[np.int64],
    pairs: NDArray[np.int64],
    faces: Sequence[int],
    stride: int = 1,
) -> AxisSeams | None:
    """Look for a pattern that repeats at the faces of an axis.

    The shares of changes up to `REACH` voxels from a face are averaged over the faces; the sum of
    the squared differences of this profile from the mean of all places is compared with that at
    as many places drawn at random (Monte Carlo permutation test, Phipson and Smyth 2010:
    p = (1 + hits) / (1 + draws)). A network that pools changes its class most often at multiples
    of its stride, with tiles or without: places are drawn at the phase of the faces, if they have
    one.

    Parameters
    ----------
    axis : str
        Its name.
    changes, pairs : int64, shape (extent,)
        Of `MaskScan`.
    faces : sequence of int
        Places of the faces, counted like these.
    stride : int
        Of the network, by which the tiles were laid.

    Returns
    -------
    AxisSeams or None
        None if no face was seen with what is beside it, or fewer than twice as many places.
    """
    seen = pairs > 0
    reach = min(REACH, len(pairs) // 8)
    offsets = np.arange(-reach, reach + 1)
    places = _places(seen, reach, faces, stride)
    at = np.intersect1d(places, np.array(faces, np.int64))
    if not at.size or len(places) < 2 * at.size:
        return None
    rates = np.divide(changes, pairs, out=np.zeros(len(pairs)), where=seen)
    overall = float(rates[seen].mean())
    profile = rates[at[:, np.newaxis] + offsets].mean(axis=0)
    strongest = int(np.argmax(np.abs(profile - overall)))
    return AxisSeams(
        axis,
        int(at.size),
        int(offsets[strongest]),
        float(profile[strongest]),
        overall,
        _chance(rates, overall, places, at.size, offsets, profile),
        tuple(zip(map(float, offsets), map(float, profile), strict=True)),
    )


def _places(
    seen: NDArray[np.bool_], reach: int, faces: Sequence[int], stride: int
) -> NDArray[np.int64]:
    """Places that were seen with all that is beside them, at the phase of the faces."""
    window = np.ones(2 * reach + 1)
    whole = np.convolve(seen.astype(float), window, mode="same") > 2 * reach + 0.5
    whole[:reach] = whole[len(whole) - reach :] = False
    places = np.flatnonzero(whole)
    phases = {face % stride for face in faces}
    return places[places % stride == phases.pop()] if len(phases) == 1 else places


def _chance(
    rates: NDArray[np.float64],
    overall: float,
    places: NDArray[np.int64],
    count: int,
    offsets: NDArray[np.int64],
    profile: NDArray[np.float64],
) -> float:
    """Probability of a profile as far from the mean as that of the faces."""
    found = float(((profile - overall) ** 2).sum())
    draws = np.random.default_rng(SEED)
    hits = 0
    for _ in range(DRAWS):
        drawn = draws.choice(places, count, replace=False)
        other = rates[drawn[:, np.newaxis] + offsets].mean(axis=0)
        # Equal sums may differ in their last digits by the order of their terms.
        hits += float(((other - overall) ** 2).sum()) >= found * (1 - 1e-12)
    return (1 + hits) / (1 + DRAWS)
