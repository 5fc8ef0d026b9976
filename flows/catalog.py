"""Catalogs: the volumes a network is trained on, in YAML, with paths relative to the file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.catalog_fields import check_fields, class_names, read_content
from flows.catalog_items import overlapping
from flows.errors import RequestError
from segmentation.region import Region, parse_region
from segmentation.training.inspection import one_hot_message
from storage.stores import is_local
from storage.volume import Image, open_image, open_label


class LabelShapeError(RequestError):
    """A label that does not lie on its image.

    Attributes
    ----------
    image, label : Image
        As they were opened.
    one_hot : bool
        Whether the label has one plane per class, and otherwise the shape of the image.
    """

    def __init__(self, message: str, image: Image, label: Image, *, one_hot: bool) -> None:
        super().__init__(message)
        self.image = image
        self.label = label
        self.one_hot = one_hot


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
    content = read_content(path)
    folder = Path(path).absolute().parent
    volumes = enumerate(content["volumes"], 1)
    entries = tuple(open_entry(folder, number, fields) for number, fields in volumes)
    shared = next(overlapping(entries), None)
    if shared is not None and not allow_overlap:
        raise RequestError(_overlap_message(*(entries[number] for number in shared)))
    return Catalog(entries, class_names(content))


def _overlap_message(first: Entry, second: Entry) -> str:
    parts = f" ({first.split} and {second.split})" if first.split and second.split else ""
    return (
        f"two volumes of the catalog share voxels of {first.image.url}{parts}; give regions that "
        "do not overlap, or, for an experiment in training, --allow-overlap"
    )


def open_entry(folder: Path, number: int, fields: Any) -> Entry:
    """One volume of a catalog, opened and checked.

    Parameters
    ----------
    folder : Path
        Where the catalog is.
    number : int
        Of the volume, counted from 1.
    fields : mapping
        As the catalog has them.

    Raises
    ------
    LabelShapeError, RequestError, StorageError
        If it cannot be used.
    """
    check_fields(number, fields)
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


def _check_shapes(number: int, image: Image, label: Image, name: str) -> None:
    """Refuse a label of another shape than the image's, or with one plane per class."""
    base, truth = image.volumes[0], label.volumes[0]
    shape, without = (
        tuple(n for axis, n in zip(volume.axes, volume.shape, strict=True) if axis != "c")
        for volume in (base, truth)
    )
    if "c" in truth.axes and without == shape:
        message = one_hot_message(truth, truth.axes.index("c"))
        text = f"volume {number} of the catalog: label {name!r}: {message}"
        raise LabelShapeError(text, image, label, one_hot=True)
    if truth.shape != shape:
        text = (
            f"volume {number} of the catalog: label {name!r} has the shape {truth.shape} and the "
            f"image {shape}; import the label of this image"
        )
        raise LabelShapeError(text, image, label, one_hot=False)


def channel_count(entry: Entry) -> int:
    """Channels of an entry's image."""
    axis = entry.channel_axis
    return 1 if axis is None else entry.image.volumes[0].shape[axis]
