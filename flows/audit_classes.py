"""Classes of a catalog, as far as it tells them; nothing is refused."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from segmentation.audit.finding import Finding, Table
from storage.ome_labels import parse_label_classes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flows.catalog import Entry
    from segmentation.audit.label_values import LabelValues

# Names that people give to voxels which do not count.
IGNORED_NAMES = ("ignore", "ignored", "void", "unlabeled", "unlabelled", "unknown")
MOST_UNNAMED = 64

Named = tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class CatalogClasses:
    """What the classes are taken to be.

    Attributes
    ----------
    names : tuple of str
        By value, counted from 0.
    ignored : int or None
        Value that does not count, where a label names one so.
    findings : tuple of Finding
        What is wrong with the names.
    """

    names: tuple[str, ...]
    ignored: int | None = None
    findings: tuple[Finding, ...] = ()


def catalog_class_names(
    entries: Sequence[Entry], names: Sequence[str] | None, values: Sequence[LabelValues]
) -> CatalogClasses:
    """Classes that the catalog names, or most of its labels, or else those that occur.

    Parameters
    ----------
    entries : sequence of Entry
        Its volumes.
    names : sequence of str or None
        What the catalog itself says.
    values : sequence of LabelValues
        Of the labels.
    """
    if names is not None:
        return CatalogClasses(tuple(names))
    said = [_named(entry) for entry in entries]
    common = Counter(named for named in said if named).most_common(1)
    if not common:
        return CatalogClasses(_occurring(values), findings=(_unnamed(entries),))
    chosen = common[0][0]
    differing = (_differing(entries, said),) if len(set(said)) > 1 else ()
    ignored = [value for value, name in chosen if value and name.lower() in IGNORED_NAMES]
    kept = tuple(name for value, name in chosen if value not in ignored[:1])
    return CatalogClasses(kept, ignored[0] if ignored else None, differing)


def _named(entry: Entry) -> Named:
    return tuple((c.value, c.name) for c in parse_label_classes(entry.label.attributes))


def _occurring(values: Sequence[LabelValues]) -> tuple[str, ...]:
    """Names for all values up to the largest that may be a class."""
    found = {value for one in values for value, _ in one.counts if 0 <= value < MOST_UNNAMED}
    return ("background", *(f"class {value}" for value in range(1, max(found, default=1) + 1)))


def _unnamed(entries: Sequence[Entry]) -> Finding:
    names = {(entry.image_name, entry.label_name): None for entry in entries}
    return Finding(
        "DATA-LABEL-RANGE",
        "error",
        "No label of the catalog names its classes, so that their values cannot be checked.",
        "found if neither the catalog nor a label says what the values mean; "
        f"{len(names)} labels do not",
        "Name them in the catalog, the background first (classes: [background, membrane, …]), or "
        "import the labels with maskmill import-labels --classes.",
        "That the values are wrong.",
        (Table("Labels without names", ("image", "label"), tuple(names)[:8]),),
    )


def _differing(entries: Sequence[Entry], said: Sequence[Named]) -> Finding:
    rows = {
        (entry.image_name, ", ".join(f"{value} {name}" for value, name in named) or "none"): None
        for entry, named in zip(entries, said, strict=True)
    }
    return Finding(
        "DATA-LABEL-RANGE",
        "error",
        f"The labels of the catalog name their classes in {len(set(said))} different ways.",
        f"found if labels differ in values or names of classes; {len(set(said))} ways were found",
        "Import the labels alike with maskmill import-labels --classes, or, if only the names "
        "differ, name the classes in the catalog (classes: [background, …]).",
        "That the voxels differ in meaning: perhaps only a name was written in another way.",
        (Table("Classes of the labels", ("image", "classes"), tuple(rows)[:8]),),
    )
