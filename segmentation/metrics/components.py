"""Connected components of a label volume that is looked at shard by shard.

Each shard numbers its own components and keeps the planes at its ends; components that touch
across a border between two shards are then joined under one global id::

        shard 0          shard 1              joins          global ids
    [ 1 1 0 2 ] high | low [ 1 0 2 2 ]     (2, 1)        shard 0: 1 2   shard 1: 2 3
              2      |      1
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import cc3d
import numba
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    Integers = NDArray[np.integer[Any]]
    Ids = NDArray[np.uint32]
    Values = NDArray[np.int64]

_FACES: dict[int, Literal[4, 6]] = {2: 4, 3: 6}  # by number of axes, as cc3d names it


@dataclass(frozen=True, slots=True, eq=False)
class Components:
    """The connected regions of one array, numbered.

    Attributes
    ----------
    ids : uint32, shape of the array
        1..n, ascending with the first voxel of a component in C order; 0 where the label is 0.
    values : int64, shape (n + 1,)
        Label of each component; ``values[0]`` is 0.
    """

    ids: Ids
    values: Values

    @property
    def count(self) -> int:
        """Number of components n."""
        return self.values.size - 1


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """The outermost plane of a shard: component ids and the labels they have, of one shape."""

    ids: Integers
    values: Integers


def label_components(labels: Integers) -> Components:
    """Number the regions of equal label that hang together by faces; label 0 is no region.

    Regions of different labels stay apart even where they touch.

    Raises
    ------
    ValueError
        If the array is not 2D or 3D, not integer, or holds a label above 2**63 - 1.
    """
    if labels.ndim not in _FACES or labels.dtype.kind not in "iu":
        raise ValueError(
            f"labels have shape {labels.shape} and dtype {labels.dtype}; expected integers in 2D "
            "or 3D: evaluate other axes one position at a time"
        )
    if labels.size and int(labels.max()) > np.iinfo(np.int64).max:
        raise ValueError(f"the label {labels.max()} is above 2**63 - 1; renumber the labels")
    # cc3d numbers in memory order, and knows only native numbers.
    native = np.ascontiguousarray(labels, labels.dtype.newbyteorder("="))
    found, count = cc3d.connected_components(
        native, connectivity=_FACES[labels.ndim], return_N=True, out_dtype=np.uint32
    )
    ids = found.astype(np.uint32, copy=False)
    values = np.zeros(count + 1, np.int64)
    _note_values(ids.ravel(), native.ravel(), values)
    return Components(ids, values)


def faces(ids: Integers, values: Integers) -> dict[str, Integers]:
    """Return the two outermost planes along every axis, as arrays by name for storage.

    `ids` and `values` are those of `label_components`; a plane keeps both, as ``low_0_ids``,
    ``low_0_values``, ``high_0_ids`` and so on.
    """
    planes = {}
    for axis in range(ids.ndim):
        for side, index in (("low", 0), ("high", -1)):
            plane = np.take(ids, index, axis)
            planes[f"{side}_{axis}_ids"] = plane
            planes[f"{side}_{axis}_values"] = values[plane]
    return planes


def face(planes: Mapping[str, Integers], side: Literal["low", "high"], axis: int) -> Face:
    """Return one plane out of what `faces` wrote."""
    return Face(planes[f"{side}_{axis}_ids"], planes[f"{side}_{axis}_values"])


def touching(high: Face, low: Face) -> Values:
    """Return which components of equal label meet at the border of two neighbouring shards.

    Parameters
    ----------
    high, low : Face
        The high face of one shard, and the low face of the next shard along the same axis.

    Returns
    -------
    int64, shape (m, 2)
        Local ids in the shard of `high` and of `low`, ascending, no pair twice.

    Raises
    ------
    ValueError
        If the faces differ in shape: the shards are not neighbours.
    """
    if high.ids.shape != low.ids.shape:
        raise ValueError(
            f"faces of shapes {high.ids.shape} and {low.ids.shape} do not meet; give the high face "
            "of a shard and the low face of the next one along the same axis"
        )
    same = (high.values == low.values) & (high.ids != 0) & (low.ids != 0)
    pairs = np.unique(high.ids[same].astype(np.uint64) << 32 | low.ids[same].astype(np.uint64))
    return np.stack([pairs >> 32, pairs & 0xFFFFFFFF], axis=1).astype(np.int64)


def resolve(counts: Sequence[int], joins: Iterable[tuple[int, int, Integers]]) -> list[Values]:
    """Give all components of all shards global ids, the same for those that are joined.

    Parameters
    ----------
    counts : sequence of int
        Number of components in each of the shards 0..S-1.
    joins : iterable of (shard_a, shard_b, pairs)
        Pairs of local ids that are one object, in any order; `pairs` has the shape (m, 2).

    Returns
    -------
    list of int64 arrays, shapes (counts[s] + 1,)
        Global id by local id, ``[0] == 0``. The ids are 1..G, numbered by the first (shard, local
        id) of each object, whatever the order of the joins.

    Raises
    ------
    ValueError
        If a pair names a component that its shard does not have.
    """
    starts = np.cumsum([0, *counts])
    edges = [np.empty((0, 2), np.int64)]
    for first, second, pairs in joins:
        if np.any(pairs < 1) or np.any(pairs > (counts[first], counts[second])):
            raise ValueError(
                f"a join of the shards {first} and {second} names a component beyond their "
                f"{counts[first]} and {counts[second]}; local ids start at 1"
            )
        edges.append(pairs.astype(np.int64) + (starts[[first, second]] - 1))
    rows, columns = np.concatenate(edges).T
    total = int(starts[-1])
    graph = coo_array((np.ones(rows.size, bool), (rows, columns)), shape=(total, total))
    _, firsts, group = np.unique(
        connected_components(graph, directed=False)[1], return_index=True, return_inverse=True
    )
    rank = np.empty(firsts.size, np.int64)
    rank[np.argsort(firsts)] = np.arange(1, firsts.size + 1)
    return [np.append(0, rank[group[start:stop]]) for start, stop in pairwise(starts)]


def component_values(global_ids: Sequence[Values], values: Sequence[Values]) -> Values:
    """Return the label of each object by its global id, ``[0] == 0``.

    `global_ids` is what `resolve` gave, `values` are the `Components.values` of the same shards.

    Raises
    ------
    ValueError
        If components of different labels were joined.
    """
    ids, labels = np.concatenate(global_ids), np.concatenate(values)
    by_id = np.zeros(int(ids.max()) + 1, np.int64)
    by_id[ids] = labels
    if not np.array_equal(by_id[ids], labels):
        raise ValueError("components of different labels were joined; take the pairs of `touching`")
    return by_id


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]  # numba has no types
def _note_values(ids: Ids, labels: Integers, values: Values) -> None:
    """Write the label of every component to its place in `values`."""
    for index in range(ids.size):
        values[ids[index]] = labels[index]
