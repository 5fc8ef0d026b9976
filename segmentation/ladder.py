"""What a tile costs on a device: a short ladder of growing calls of the compiled network.

A call takes a fixed time and a time for every voxel. Calls grow rung by rung until they gain no
speed or memory ends, and the two are fitted to what they took. ::

    seconds a voxel  | *
                     |   *
                     |      *      *      *      stop: two rungs without a gain
                     +------------------------
                      voxels a call, twice as wide on every rung
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from segmentation.out_of_memory import is_out_of_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from segmentation.predictor import NetworkPredictor

Rung = tuple[int, tuple[int, ...]]

SMALLEST_CALL = 2**12
LADDER_SECONDS = 4.0
RUNG_SECONDS = 0.15
RUNG_TRIES = 5
SMALL_GAIN = 0.02
DULL_RUNGS = 2


@dataclass(frozen=True, slots=True)
class TileCost:
    """What one more tile costs, and how many voxels are best computed at once.

    Attributes
    ----------
    overhead_voxels : int
        Voxels that could be computed in the time a call takes beside its voxels.
    batch_voxels : int
        Voxels of a call beyond which there is little to gain.
    """

    overhead_voxels: int = 2**14
    batch_voxels: int = 2**18


@dataclass(frozen=True, slots=True)
class Step:
    """A rung that was climbed.

    Attributes
    ----------
    voxels : int
        Of one call.
    seconds : float
        It took, at best.
    """

    voxels: int
    seconds: float

    @property
    def speed(self) -> float:
        """Voxels a second."""
        return self.voxels / max(self.seconds, 1e-9)


def rungs(
    stride: Sequence[int], most_voxels: int, tile: tuple[int, ...] | None = None
) -> Iterator[Rung]:
    """Batch and tile of growing calls, up to a number of voxels.

    Parameters
    ----------
    stride : sequence of int
        Of the network, one for each of its axes.
    most_voxels : int
        What memory allows; the first rung is given even beyond it.
    tile : tuple of int, optional
        The one tile of a network that is not exact: only the batch grows.

    Examples
    --------
    >>> list(rungs((8, 8), 2**16))
    [(1, (64, 64)), (1, (128, 128)), (1, (256, 256))]
    >>> list(rungs((8, 8), 2**16, tile=(160, 160)))
    [(1, (160, 160)), (2, (160, 160))]
    """
    scale = 1
    while True:
        if tile:
            batch, shape = scale, tile
        else:
            side = scale * math.ceil(SMALLEST_CALL ** (1 / len(stride)) - 1e-9)
            batch, shape = 1, tuple(-(-side // s) * s for s in stride)
        if scale > 1 and batch * math.prod(shape) > most_voxels:
            return
        yield batch, shape
        scale *= 2


def climb(measure: Callable[[Rung], float], ladder: Iterable[Rung]) -> list[Step]:
    """Measure rung after rung until speed no longer grows, time is up or memory ends.

    Parameters
    ----------
    measure : callable
        Seconds of one call; what it raises ends the ladder if memory ran out, else goes on up.
    ladder : iterable of Rung
        From small to large.
    """
    steps: list[Step] = []
    best, dull, started = 0.0, 0, time.perf_counter()
    for batch, tile in ladder:
        try:
            seconds = measure((batch, tile))
        except Exception as error:
            if not steps or not is_out_of_memory(error):
                raise
            break
        steps.append(Step(batch * math.prod(tile), seconds))
        dull = 0 if steps[-1].speed > best * (1 + SMALL_GAIN) else dull + 1
        best = max(best, steps[-1].speed)
        if dull == DULL_RUNGS or time.perf_counter() - started > LADDER_SECONDS:
            break
    return steps


def fit(steps: Sequence[Step]) -> TileCost:
    """Cost of a tile from the rungs of a ladder.

    Seconds = overhead + voxels · slope, by least squares of the relative error; the batch is that
    of the first rung that is as fast as the fastest but for 2 %.
    """
    batch = next(
        step.voxels
        for step in steps
        if step.speed * (1 + SMALL_GAIN) >= max(other.speed for other in steps)
    )
    if len(steps) == 1:
        return TileCost(batch_voxels=batch)
    seconds = np.array([step.seconds for step in steps])
    voxels = np.array([step.voxels for step in steps], float)
    terms = np.stack([1 / seconds, voxels / seconds], axis=1)
    (overhead, slope), *_ = np.linalg.lstsq(terms, np.ones(len(steps)))
    if overhead <= 0 or slope <= 0:
        # Larger calls are slower a voxel: a tile more costs nothing.
        return TileCost(0, batch)
    return TileCost(round(overhead / slope), batch)


def measure_network(predictor: NetworkPredictor) -> Callable[[Rung], float]:
    """A function for `climb` that computes zeros and gives the best of a few calls.

    The first call compiles and is not counted. A predictor that had to halve its batch has no
    memory for the rung.
    """

    def measure(rung: Rung) -> float:
        batch, tile = rung
        predictor.batch_size = batch
        tiles = np.zeros((batch, *tile, predictor.channels), np.float32)
        predictor.predict_classes(tiles)
        if predictor.batch_size < batch:
            raise MemoryError(f"{batch} tiles of {tile} do not fit")
        return min(_tries(lambda: predictor.predict_classes(tiles)))

    return measure


def _tries(call: Callable[[], Any]) -> Iterator[float]:
    """Seconds of a few calls; of long ones only one."""
    total = 0.0
    for _ in range(RUNG_TRIES):
        started = time.perf_counter()
        call()
        seconds = time.perf_counter() - started
        total += seconds
        yield seconds
        if total > RUNG_SECONDS:
            return
