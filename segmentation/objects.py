"""Objects of a whole evaluation out of those of its shards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from segmentation.evaluation import COMPONENTS
from segmentation.metrics.components import component_values, face, resolve, touching
from segmentation.metrics.contingency import Contingency

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    Joins = Iterable[tuple[int, int, NDArray[np.integer[Any]]]]

TRUTH = "truth"


@dataclass(frozen=True, slots=True)
class ShardObjects:
    """What one shard holds of the objects of one image.

    Attributes
    ----------
    image : tuple of int
        Volume, and image in it: objects of different images are apart.
    tables : tuple of Contingency
        Truth objects against those of each mask.
    values : dict
        Class by component id, for every label that is read as components.
    """

    image: tuple[int, int]
    tables: tuple[Contingency, ...]
    values: dict[str, NDArray[np.int64]]


@dataclass(frozen=True, slots=True)
class ObjectTables:
    """All objects of the truth against all objects of one mask.

    Attributes
    ----------
    tables : list of Contingency
        One for each image.
    truth_classes, mask_classes : int64 arrays by id, or None
        None where a label holds ids, which have no class.
    """

    tables: list[Contingency]
    truth_classes: NDArray[np.int64] | None
    mask_classes: NDArray[np.int64] | None

    @property
    def has_classes(self) -> bool:
        """Whether objects of both labels have a class; only those of one class can match."""
        return self.truth_classes is not None and self.mask_classes is not None


def label_names(masks: int) -> tuple[str, ...]:
    """Names of the labels in the statistics: the truth, then every mask."""
    return (TRUTH, *(str(number) for number in range(masks)))


def shard_objects(
    arrays: Mapping[str, NDArray[Any]], volume: int, masks: int
) -> Iterator[ShardObjects]:
    """The objects in the stored statistics of a shard, image by image."""
    images = {int(name.split("/")[2]) for name in arrays if name.startswith("contingency/")}
    for image in sorted(images):
        tables = tuple(
            Contingency.from_arrays(part(arrays, f"contingency/{mask}/{image}/"))
            for mask in range(masks)
        )
        values = {
            name: arrays[f"components/{name}/{image}/values"]
            for name in label_names(masks)
            if f"components/{name}/{image}/values" in arrays
        }
        yield ShardObjects((volume, image), tables, values)


def part(arrays: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    """Arrays below a name, under the rest of their names."""
    return {name[len(prefix) :]: a for name, a in arrays.items() if name.startswith(prefix)}


def join_shards(
    lower: Mapping[str, NDArray[Any]], upper: Mapping[str, NDArray[Any]], axis: int
) -> dict[str, NDArray[np.int64]]:
    """Components that are one across the border of two shards, by ``LABEL/IMAGE``.

    Parameters
    ----------
    lower, upper : mapping
        Stored statistics of a shard, and of the next one along an axis.
    axis : int
        Of the image.
    """
    names = sorted(name[: -len("/values")] for name in lower if name.endswith("/values"))
    return {
        name.removeprefix("components/"): touching(
            face(part(lower, f"{name}/"), "high", axis), face(part(upper, f"{name}/"), "low", axis)
        )
        for name in names
        if f"{name}/values" in upper
    }


def merge_objects(
    shards: Sequence[ShardObjects], joins: Mapping[str, Joins], kinds: Sequence[str]
) -> list[ObjectTables]:
    """The objects of every mask, over all shards of all volumes.

    Parameters
    ----------
    shards : sequence of ShardObjects
        In the order of (item, image).
    joins : mapping
        By label: positions of two entries of `shards`, and pairs of component ids.
    kinds : sequence of str
        ``ids`` or ``components`` for the truth and each mask.
    """
    names = label_names(len(kinds) - 1)
    ids: dict[str, list[NDArray[np.int64]]] = {}
    classes: dict[str, NDArray[np.int64]] = {}
    for name, kind in zip(names, kinds, strict=True):
        if kind == COMPONENTS:
            values = [shard.values[name] for shard in shards]
            ids[name] = resolve([v.size - 1 for v in values], joins.get(name, ()))
            classes[name] = component_values(ids[name], values)
    return [
        ObjectTables(
            _by_image(shards, number, ids.get(TRUTH), ids.get(name)),
            classes.get(TRUTH),
            classes.get(name),
        )
        for number, name in enumerate(names[1:])
    ]


def _by_image(
    shards: Sequence[ShardObjects],
    number: int,
    truth_ids: list[NDArray[np.int64]] | None,
    mask_ids: list[NDArray[np.int64]] | None,
) -> list[Contingency]:
    """One table an image, under global ids."""
    tables: dict[tuple[int, int], list[Contingency]] = {}
    for place, shard in enumerate(shards):
        table = shard.tables[number].relabelled(
            truth_ids[place] if truth_ids is not None else None,
            mask_ids[place] if mask_ids is not None else None,
        )
        tables.setdefault(shard.image, []).append(table)
    return [Contingency.merge(tables[image]) for image in sorted(tables)]
