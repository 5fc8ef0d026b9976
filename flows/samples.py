"""Tables of samples: one row an image, with its class and its group; and catalogs of them.

```
classes: [non_covid, covid]     # by label; optional where the table has the column class
samples: truth.csv              # columns image, class and/or label, and perhaps group and split
images: images                  # folder or OME-Zarr stack; the table's folder by default
```
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.errors import RequestError
from flows.sample_rows import (
    CLASS,
    GROUP,
    IMAGE,
    SPLIT,
    Row,
    class_of,
    has_cells,
    named_classes,
    read_rows,
    some_names,
)
from flows.yaml_file import read_yaml
from storage.images import ImageSource, open_images
from storage.stores import is_local

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SPLITS = ("train", "validation", "test")
FIELDS = ("samples", "images", "classes")


@dataclass(frozen=True, slots=True)
class Sample:
    """One image of a table.

    Attributes
    ----------
    name : str
        File name, or number of the plane, as `storage.images.ImageSource` names it.
    label : int or None
        Its class by value; None where the table says none.
    group : str
        Specimen, paper or patient; the image itself where the table has no groups.
    split : str or None
        ``train``, ``validation`` or ``test`` where the table fixes it.
    """

    name: str
    label: int | None
    group: str
    split: str | None


@dataclass(frozen=True, slots=True)
class Samples:
    """What a catalog of samples says.

    Attributes
    ----------
    classes : tuple of str
        Names by label.
    samples : tuple of Sample
        In the order of the table; every one has a label.
    images : ImageSource
        Where the images are; its names are those of the samples.
    """

    classes: tuple[str, ...]
    samples: tuple[Sample, ...]
    images: ImageSource


def is_sample_catalog(path: str) -> bool:
    """Whether a YAML file is a catalog of samples; not if it cannot be read."""
    try:
        return "samples" in _content(path)
    except RequestError:
        return False


def read_samples(path: str) -> Samples:
    """Samples of a catalog, checked against the images that are there; no image is read.

    Parameters
    ----------
    path : str
        YAML file; its paths are relative to it.

    Raises
    ------
    RequestError, StorageError
        If it is no such catalog, the table is not usable, or images are missing.
    """
    content = _content(path)
    unknown = sorted(map(str, content.keys() - set(FIELDS)))
    if unknown or not isinstance(content.get("samples"), str):
        wrong = f"has the field {unknown[0]!r}" if unknown else "names no table"
        raise RequestError(
            f"catalog {path} {wrong}; expected samples: TABLE.csv and perhaps images and classes"
        )
    table = _placed(Path(path).absolute().parent, content["samples"])
    classes = _names(content.get("classes"), path) or table_classes(table)
    samples = read_table(table, classes)
    without = [sample.name for sample in samples if sample.label is None]
    if without:
        raise RequestError(
            f"{table} gives no class to {some_names(without)}; add it, or leave these rows out"
        )
    folder = str(Path(table).parent)
    if content.get("images") is not None:
        folder = _placed(Path(path).absolute().parent, str(content["images"]))
    return Samples(classes, samples, open_images(folder, [sample.name for sample in samples]))


def read_table(path: str, classes: Sequence[str] | None = None) -> tuple[Sample, ...]:
    """Rows of a table, checked.

    Parameters
    ----------
    path : str
        CSV file with the column ``image`` and perhaps ``class``, ``label``, ``group`` and
        ``split``; other columns are left alone.
    classes : sequence of str, optional
        Names by label, which the table has to keep to; by default those that it names itself.

    Raises
    ------
    RequestError
        If the file is no such table, an image is named twice or not at all, or a class, label or
        split is unknown; the rows are named.
    """
    rows = read_rows(path)
    names = [row.get(IMAGE, "") for row in rows]
    empty = [str(number) for number, name in enumerate(names, 2) if not name]
    if empty:
        raise RequestError(
            f"{path} names no image in the lines {some_names(empty)}; name one in each"
        )
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise RequestError(
            f"{path} names {some_names(twice)} more than once; keep one row for each image"
        )
    if classes is None and has_cells(rows, CLASS):
        classes = named_classes(path, rows)
    return tuple(_sample(path, row, classes) for row in rows)


def table_classes(path: str) -> tuple[str, ...]:
    """Names of a table's classes, by label; in the order of the alphabet without labels.

    Raises
    ------
    RequestError
        If it names no classes, fewer than two, or labels and classes contradict each other.
    """
    rows = read_rows(path)
    if not has_cells(rows, CLASS):
        raise RequestError(
            f"{path} has no column class; add it, or name the classes by label under classes: in "
            "the catalog"
        )
    return named_classes(path, rows)


def check_known(samples: Iterable[Sample], names: Iterable[str], where: str) -> None:
    """Refuse a table that names images which are not there.

    Raises
    ------
    RequestError
        With some of the names.
    """
    known = set(names)
    unknown = [sample.name for sample in samples if sample.name not in known]
    if unknown:
        example = f", such as {min(known)!r}" if known else ""
        raise RequestError(
            f"{where} names {some_names(unknown)}, not among the {len(known)} images{example}; "
            "correct the names, or leave these rows out"
        )


def _content(path: str) -> dict[str, Any]:
    content = read_yaml(path, "catalog")
    if not isinstance(content, dict):
        raise RequestError(f"catalog {path} has no fields; expected samples: TABLE.csv")
    return content


def _placed(folder: Path, name: str) -> str:
    return str(folder / name) if is_local(name) and "://" not in name else name


def _names(classes: Any, path: str) -> tuple[str, ...] | None:
    """Class names that the catalog gives itself."""
    if classes is None:
        return None
    names = tuple(map(str, classes)) if isinstance(classes, list) else ()
    if len(names) < 2 or len(set(names)) < len(names) or "" in names:
        raise RequestError(
            f"catalog {path} has the classes {classes!r}; expected a list of at least two "
            "different names, in the order of the labels 0, 1, 2, …"
        )
    return names


def _sample(path: str, row: Row, classes: Sequence[str] | None) -> Sample:
    name, split = row[IMAGE], row.get(SPLIT) or None
    if split is not None and split not in SPLITS:
        raise RequestError(
            f"{path} has the split {split!r} for {name}; expected one of {', '.join(SPLITS)}"
        )
    return Sample(name, class_of(path, row, classes), row.get(GROUP) or name, split)
