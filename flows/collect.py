"""From the records of a run to the statistics of the whole, one record at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from segmentation.metrics.codec import decode_array, unpack_arrays
from segmentation.metrics.summary import VolumeCounts, shard_map
from segmentation.metrics.surface import SurfaceCounts
from segmentation.objects import (
    ObjectTables,
    ShardObjects,
    merge_objects,
    part,
    shard_objects,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from flows.count_work import CountWork
    from storage.blobs import Blobs

SURFACE_TABLES = 64  # merged at once, so that they do not pile up
SUMS = ("paired", "probability", "boundary")


@dataclass(slots=True)
class Statistics:
    """Statistics of an evaluation, added up as records come in.

    Attributes
    ----------
    work : CountWork
        Volumes and shards.
    planes : list
        By mask and volume: counts, int64 (planes, C·C + 2).
    places : dict
        By place on the shard grid: counts of mask 0 in the first volume.
    sums : dict
        ``paired``, ``probability`` and ``boundary``, added up.
    strays : dict
        Truth values outside the classes, and their voxels.
    objects : dict
        By item: its objects.
    surfaces : list of SurfaceCounts
        Few, still to be merged.
    joins : list
        Item, and what hangs together across its border (`flows.join_work`).
    """

    work: CountWork
    planes: list[list[NDArray[np.int64]]]
    places: dict[tuple[int, ...], NDArray[np.int64]] = field(default_factory=dict)
    sums: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    strays: dict[int, int] = field(default_factory=dict)
    objects: dict[int, list[ShardObjects]] = field(default_factory=dict)
    surfaces: list[SurfaceCounts] = field(default_factory=list)
    joins: list[tuple[int, dict[str, Any]]] = field(default_factory=list)

    @classmethod
    def empty(cls, work: CountWork) -> Statistics:
        """No shard yet."""
        size = work.measures.num_classes
        planes = [
            [
                np.zeros((_rows(work, number), size**2 + 2), np.int64)
                for number in range(len(work.cases))
            ]
            for _ in work.cases[0].masks
        ]
        return cls(work, planes)

    def add(self, item: int, statistics: Mapping[str, Any]) -> None:
        """Add the light statistics of a shard, as its record holds them."""
        number, _ = self.work.place(item)
        for name, document in statistics.items():
            array = decode_array(document)
            if name.startswith("planes/"):
                self._add_planes(int(name.partition("/")[2]), number, item, array)
            elif name == "strays":
                for value, count in array.tolist():
                    self.strays[value] = self.strays.get(value, 0) + count
            else:
                self.sums[name] = self.sums[name] + array if name in self.sums else array

    def add_heavy(self, item: int, blobs: Blobs, objects: Iterable[Mapping[str, Any]]) -> None:
        """Add what a shard has stored apart."""
        number, _ = self.work.place(item)
        masks = len(self.work.cases[0].masks)
        for stored in objects:
            arrays = unpack_arrays(blobs.read(stored["key"]))
            surface = part(arrays, "surface/")
            if surface:
                self.surfaces.append(SurfaceCounts.from_arrays(surface))
                if len(self.surfaces) >= SURFACE_TABLES:
                    self.surfaces = [SurfaceCounts.merge(self.surfaces)]
            if self.work.measures.objects:
                self.objects[item] = list(shard_objects(arrays, number, masks))

    def _add_planes(self, mask: int, number: int, item: int, rows: NDArray[np.int64]) -> None:
        core = self.work.region(item)
        plan = self.work.cases[number].plan
        leading = max(0, len(plan.shape) - 2)
        total = self.planes[mask][number]
        if self.work.measures.keeps_planes and leading:
            grid = total.reshape(*plan.region.shape[:leading], -1)
            inside = core.relative_to(plan.region.start).slices[:leading]
            grid[inside] += rows.reshape(*core.shape[:leading], -1)
        else:
            total[0] += rows.sum(axis=0)
        if mask == 0 and number == 0:
            grid_place = np.unravel_index(self.work.place(item)[1], plan.grid_shape)
            place = tuple(int(i) for i in grid_place[-2:])
            counts = rows.sum(axis=0)
            self.places[place] = self.places[place] + counts if place in self.places else counts

    def volumes(self, mask: int, names: list[tuple[str, str]]) -> list[VolumeCounts]:
        """Counts of every volume against a mask; `names` gives image and specimen of each."""
        return [
            self._volume(planes, number, *names[number])
            for number, planes in enumerate(self.planes[mask])
        ]

    def _volume(
        self, planes: NDArray[np.int64], number: int, name: str, group: str
    ) -> VolumeCounts:
        plan, measures = self.work.cases[number].plan, self.work.measures
        leading = len(plan.shape) - 2
        kept = measures.keeps_planes and leading > 0
        return VolumeCounts(
            name,
            group,
            planes,
            axis=self.work.cases[number].truth.axes[:leading] if kept else "",
            first=plan.region.start[0] if kept and leading == 1 else 0,
            image_planes=self.work.image_planes(number) if kept else None,
        )

    def merged_objects(self) -> list[ObjectTables]:
        """Objects of every mask, over all shards."""
        keyed = [(item, shard) for item in sorted(self.objects) for shard in self.objects[item]]
        places = {(item, shard.image[1]): at for at, (item, shard) in enumerate(keyed)}
        joins: dict[str, list[tuple[int, int, NDArray[Any]]]] = {}
        for item, join in self.joins:
            lower = places[item, join["image"]]
            upper = places[join["other"], join["image"]]
            pairs = decode_array(join["pairs"])
            joins.setdefault(join["label"], []).append((lower, upper, pairs))
        return merge_objects([shard for _, shard in keyed], joins, self.work.measures.objects)

    def map(self) -> dict[str, Any] | None:
        """Scores on the shard grid of a single volume."""
        if len(self.work.cases) > 1:
            return None
        axes = self.work.cases[0].truth.axes[-2:]
        return shard_map(axes, self.places.items())


def _rows(work: CountWork, number: int) -> int:
    """Planes of a volume's region, or one."""
    plan = work.cases[number].plan
    return int(np.prod(plan.region.shape[:-2])) if work.measures.keeps_planes else 1
