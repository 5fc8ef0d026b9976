"""Catalogs: the volumes a network is trained on, in YAML, with paths relative to the file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.catalog_items import overlapping
from flows.errors import RequestError
from segmentation.region import Region, parse_region
from segmentation.training.inspection import one_hot_message
from storage.stores import is_local
from storage.volume import Image, open_image, open_label

SPLITS = ("train", "validation", "test")
FIELDS = ("image", "label", "group", "region", "split", "images_along")
TOP_FIELDS = ("volumes", "classes")


@dataclass(frozen=True, slots=True)
class Entry:
    """One volume of a catalog, opened, or one plane of it.

    Attributes
    ----------
    image, label : Image
        Intensities and truth, of one shape but for the channels.
    region : Region
        The part to use, along the axes of the label.
    group : str
        Specimen, paper or patient.
    split : str or None
        ``train``, ``validation`` or ``test``.
    image_name, label_name : str
        As the catalog writes them.
    images_along : str or None
        ``z`` where every plane is an image of its own.
    """

    image: Image
    label: Image
    region: Region
    group: str
    split: str | None
    image_name: str
    label_name: str
    images_along: str | None = None

    @property
    def channel_axis(self) -> int | None:
        """Where the image has its channels."""
        axes = self.image.volumes[0].axes
        return axes.index("c") if "c" in axes else None

    @property
    def name(self) -> str:
        """The image as the catalog writes it, and the plane where every plane is an image."""
        if self.images_along is None:
            return self.image_name
        return f"{self.image_name}/{self.region.start[0]}"


@dataclass(frozen=True, slots=True)
class Catalog:
    """What a catalog says.

    Attributes
    ----------
    entries : tuple of Entry
        Its volumes.
    classes : tuple of str or None
        Names by value, where the catalog itself gives them.
    """

    entries: tuple[Entry, ...]
    classes: tuple[str, ...] | None = None


def read_catalog(path: str, *, allow_overlap: bool = False) -> Catalog:
    """Volumes of a catalog, opened and checked against each other.

    Parameters
    ----------
    path : str
        YAML file.
    allow_overlap : bool
        Accept voxels that stand in two volumes.

    Raises
    ------
    RequestError, StorageError
        If the file is no catalog, or a volume cannot be used.
    """
    content = _content(path)
    volumes = content.get("volumes")
    if not isinstance(volumes, list) or not volumes:
        raise RequestError(f"catalog {path} has no volumes; expected 'volumes:' and a list")
    folder = Path(path).absolute().parent
    entries = tuple(_entry(folder, number, fields) for number, fields in enumerate(volumes, 1))
    shared = next(overlapping(entries), None)
    if shared is not None and not allow_overlap:
        raise RequestError(_overlap_message(*(entries[number] for number in shared)))
    return Catalog(entries, _names(content.get("classes")))


def _overlap_message(first: Entry, second: Entry) -> str:
    parts = f" ({first.split} and {second.split})" if first.split and second.split else ""
    return (
        f"two volumes of the catalog share voxels of {first.image.url}{parts}; give regions that "
        "do not overlap, or, for an experiment in training, --allow-overlap"
    )


def _content(path: str) -> dict[str, Any]:
    import yaml

    try:
        content = yaml.safe_load(Path(path).read_text())
    except OSError as error:
        raise RequestError(f"catalog {path} cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise RequestError(f"catalog {path} is not YAML: {error}") from error
    if not isinstance(content, dict):
        raise RequestError(f"catalog {path} has no volumes; expected 'volumes:' and a list")
    unknown = sorted(map(str, content.keys() - set(TOP_FIELDS)))
    if unknown:
        raise RequestError(
            f"catalog {path} has the field {unknown[0]!r}; expected {' and '.join(TOP_FIELDS)}"
        )
    return content


def _names(classes: Any) -> tuple[str, ...] | None:
    """Class names that the catalog gives itself."""
    if classes is None:
        return None
    names = tuple(map(str, classes)) if isinstance(classes, list) else ()
    if len(names) < 2 or len(set(names)) < len(names) or "" in names:
        raise RequestError(
            f"the catalog has the classes {classes!r}; expected a list of at least two different "
            "names, that of the background first"
        )
    return names


def _entry(folder: Path, number: int, fields: Any) -> Entry:
    _check_fields(number, fields)
    name, label_name = str(fields["image"]), str(fields["label"])
    image = open_image(str(folder / name) if is_local(name) and "://" not in name else name)
    label = open_label(image.url, label_name)
    _check_shapes(number, image, label, label_name)
    truth, text = label.volumes[0], fields.get("region")
    region = parse_region(text if text is None else str(text), truth.axes, truth.shape)
    if fields.get("images_along") is not None and truth.axes != "zyx":
        raise RequestError(
            f"volume {number} of the catalog has images_along: z and the axes {truth.axes}; only "
            "zyx can be cut into planes"
        )
    group, along = str(fields.get("group", _place(folder, image))), fields.get("images_along")
    return Entry(image, label, region, group, fields.get("split"), name, label_name, along)


def _place(folder: Path, image: Image) -> str:
    """Where an image is, seen from the catalog: the same, however the catalog writes it."""
    return os.path.relpath(image.url, folder) if is_local(image.url) else image.url


def _check_fields(number: int, fields: Any) -> None:
    if not isinstance(fields, dict) or not {"image", "label"} <= fields.keys() <= set(FIELDS):
        given = sorted(map(str, fields)) if isinstance(fields, dict) else fields
        raise RequestError(
            f"volume {number} of the catalog has the fields {given!r}; "
            f"expected image, label and perhaps {', '.join(FIELDS[2:])}"
        )
    split, along = fields.get("split"), fields.get("images_along")
    if split is not None and split not in SPLITS:
        raise RequestError(
            f"volume {number} of the catalog has the split {split!r}; "
            f"expected one of {', '.join(SPLITS)}"
        )
    if along not in (None, "z"):
        raise RequestError(
            f"volume {number} of the catalog has images_along: {along}; expected z, or nothing"
        )


def _check_shapes(number: int, image: Image, label: Image, name: str) -> None:
    """Refuse a label of another shape than the image's, or with one plane per class."""
    base, truth = image.volumes[0], label.volumes[0]
    shape, without = (
        tuple(n for axis, n in zip(volume.axes, volume.shape, strict=True) if axis != "c")
        for volume in (base, truth)
    )
    if "c" in truth.axes and without == shape:
        message = one_hot_message(truth, truth.axes.index("c"))
        raise RequestError(f"volume {number} of the catalog: label {name!r}: {message}")
    if truth.shape != shape:
        raise RequestError(
            f"volume {number} of the catalog: label {name!r} has the shape {truth.shape} and the "
            f"image {shape}; import the label of this image"
        )


def channel_count(entry: Entry) -> int:
    """Channels of an entry's image."""
    axis = entry.channel_axis
    return 1 if axis is None else entry.image.volumes[0].shape[axis]
