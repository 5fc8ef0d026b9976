"""Items of a catalog, which are divided between parts, and the classes they have in common."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from flows.errors import RequestError
from segmentation.region import Region
from storage.ome_labels import LabelClass, label_classes, parse_label_classes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flows.catalog import Catalog, Entry


def overlapping(entries: Sequence[Entry]) -> Iterator[tuple[int, int]]:
    """Pairs of entries that share voxels, which would be learned and then scored."""
    by_image: dict[str, list[int]] = {}
    for number, entry in enumerate(entries):
        by_image.setdefault(entry.image.url, []).append(number)
    for numbers in by_image.values():
        ordered = sorted(numbers, key=lambda number: entries[number].region.start)
        for place, first in enumerate(ordered):
            box = entries[first].region
            for second in islice(ordered, place + 1, None):
                if entries[second].region.start[0] >= box.stop[0]:
                    break
                if box.intersection(entries[second].region) is not None:
                    yield min(first, second), max(first, second)


def planes(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """The entries, those with images along z cut into one for each plane, a group of its own."""
    return tuple(item for entry in entries for item in _planes(entry))


def _planes(entry: Entry) -> Iterator[Entry]:
    if entry.images_along is None:
        yield entry
        return
    start, stop = entry.region.start, entry.region.stop
    for z in range(start[0], stop[0]):
        region = Region((z, *start[1:]), (z + 1, *stop[1:]))
        yield replace(entry, region=region, group=f"{entry.group}/{z}")


def catalog_classes(catalog: Catalog, ignore_label: int | None = None) -> tuple[LabelClass, ...]:
    """The classes that the catalog names, or else all of its labels; not the ignored one.

    Raises
    ------
    RequestError
        If a label names none, two labels name them differently, or they are not 0, 1, 2, …
    """
    if catalog.classes is not None:
        classes = label_classes(dict(enumerate(catalog.classes)))
    else:
        classes = _common_classes(catalog.entries)
    values = [c.value for c in classes if c.value != ignore_label]
    if values != list(range(len(values))) or len(values) < 2:
        raise RequestError(
            f"the labels have the classes {values} that count; expected 0, 1, 2, … Masks of "
            "0 and 255 have to be divided by 255, and classes counted from 0"
        )
    return tuple(c for c in classes if c.value != ignore_label)


def _common_classes(entries: Sequence[Entry]) -> tuple[LabelClass, ...]:
    found = Counter(parse_label_classes(entry.label.attributes) for entry in entries)
    if () in found:
        raise RequestError(
            "a label of the catalog names no classes; import it with --classes, or name them under "
            "'classes:' in the catalog"
        )
    if len({tuple((c.value, c.name) for c in classes) for classes in found}) > 1:
        raise RequestError("the labels of the catalog name different classes; import them alike")
    return next(iter(found))
