"""The work that joins the components of a shard to those of the next ones along every axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from flows.count_work import STATISTICS, CountWork
from segmentation.metrics.codec import encode_array, unpack_arrays
from segmentation.objects import join_shards
from storage.blobs import Blobs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass(frozen=True, slots=True)
class JoinWork:
    """Reads stored faces of neighbouring shards; items are those of the count."""

    count: CountWork

    def open(self) -> Callable[[int], list[dict[str, Any]]]:
        """The function that joins the shard at an item to those after it."""
        return self.join

    def join(self, item: int) -> list[dict[str, Any]]:
        """Pairs of component ids that are one, per label, image and neighbour.

        Returns
        -------
        list of dict
            ``label``, ``image``, ``other`` (item of the neighbour) and ``pairs``.
        """
        lower = self._stored(item)
        found = []
        for axis, other in self._neighbours(item):
            for name, pairs in join_shards(lower, self._stored(other), axis).items():
                label, _, image = name.partition("/")
                if len(pairs):
                    document = {"label": label, "image": int(image), "other": other}
                    found.append(document | {"pairs": encode_array(pairs)})
        return found

    def _stored(self, item: int) -> dict[str, np.ndarray]:
        return unpack_arrays(Blobs(str(self.count.url)).read(f"{STATISTICS}/{item:08d}.npz"))

    def _neighbours(self, item: int) -> Iterator[tuple[int, int]]:
        """Axis of the image, and item of the next shard along it."""
        number, shard = self.count.place(item)
        grid = self.count.cases[number].plan.grid_shape
        place = np.unravel_index(shard, grid)
        axes = self.count.measures.image_axes
        for axis in range(axes):
            along = len(grid) - axes + axis
            if place[along] + 1 < grid[along]:
                after = [int(p) + (at == along) for at, p in enumerate(place)]
                yield axis, item - shard + int(np.ravel_multi_index(after, grid))
