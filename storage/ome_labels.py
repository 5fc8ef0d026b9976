"""OME-Zarr metadata of labels: classes, colours, and the list of labels. No I/O."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from storage.errors import StorageError
from storage.label_names import check_class_name
from storage.ome import (
    LONGEST,
    MALFORMED,
    ImageMetadata,
    Level,
    image_attributes,
    ome_attributes,
)
from storage.ome_values import relative_path, shown, whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

GOLDEN_RATIO = 0.6180339887498949

Color = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class LabelClass:
    """One semantic class of a label: voxel value, name and RGBA colour of 0 to 255."""

    value: int
    name: str
    color: Color


def label_metadata(image: ImageMetadata, name: str) -> ImageMetadata:
    """Metadata of a label of an image: its levels and transforms without the channel axis."""
    keep = [i for i, axis in enumerate(image.axes) if axis.type != "channel"]
    levels = tuple(
        Level(
            level.path,
            tuple(level.scale[i] for i in keep),
            tuple(level.translation[i] for i in keep),
        )
        for level in image.levels
    )
    return ImageMetadata("0.5", name, tuple(image.axes[i] for i in keep), levels)


def label_attributes(
    metadata: ImageMetadata,
    classes: Sequence[LabelClass] | None,
    source: str = "../../",
    *,
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Group attributes of a label image.

    Parameters
    ----------
    metadata : ImageMetadata
        See `label_metadata`.
    classes : sequence of LabelClass or None
        Every semantic class, background included; None for instances, whose ids get neither
        names nor colours (a list of all of them overwhelms viewers).
    source : str
        Path from the label to its image.
    extra : mapping, optional
        Further attributes beside ``ome``.
    """
    # The schema wants at least one colour; a clear background serves instances too.
    colors = {0: (0, 0, 0, 0), **{item.value: item.color for item in classes or ()}}
    image_label: dict[str, Any] = {
        "colors": [{"label-value": v, "rgba": list(c)} for v, c in sorted(colors.items())],
        "source": {"image": source},
    }
    if classes:
        image_label["properties"] = [
            {"label-value": item.value, "class": item.name}
            for item in sorted(classes, key=lambda item: item.value)
        ]
    attributes = image_attributes(metadata, downscaling="mode", extra=extra)
    attributes["ome"]["image-label"] = image_label
    return attributes


def parse_label_classes(attributes: Mapping[str, Any]) -> tuple[LabelClass, ...]:
    """Classes of a label by value; empty where the properties name none (instances).

    Raises
    ------
    StorageError
        If properties are not what the specification says. A colour that is not only decorates,
        and the default one takes its place.
    """
    image_label = ome_attributes(attributes).get("image-label") or {}
    try:
        colors = dict(filter(None, map(_color, image_label.get("colors") or ())))
        named = [item for item in image_label.get("properties") or () if "class" in item]
        classes = [_label_class(item, colors) for item in named]
    except MALFORMED as error:
        raise StorageError(
            f"the label has a malformed image-label ({type(error).__name__}: "
            f"{str(error)[:LONGEST]}); check it with an OME-Zarr validator"
        ) from error
    return tuple(sorted(classes, key=lambda item: item.value))


def _color(item: Mapping[str, Any]) -> tuple[int, Color] | None:
    """A voxel value and its colour, if they can be used."""
    value, rgba = whole(item.get("label-value")), item.get("rgba")
    if value is None or not isinstance(rgba, list) or len(rgba) != 4:
        return None
    parts = [whole(part) for part in rgba]
    red, green, blue, alpha = (part if part is not None else -1 for part in parts)
    fits = all(0 <= part <= 255 for part in (red, green, blue, alpha))
    return (value, (red, green, blue, alpha)) if fits else None


def _label_class(item: Mapping[str, Any], colors: Mapping[int, Color]) -> LabelClass:
    value, name = whole(item["label-value"]), item["class"]
    if value is None or not isinstance(name, str | int | float):
        raise StorageError(
            f"the label has the class {shown(dict(item))}; expected a whole label-value and a name"
        )
    return LabelClass(value, str(name), colors.get(value, default_color(value)))


def label_classes(names: Mapping[int, str]) -> tuple[LabelClass, ...]:
    """Classes of named values in default colours.

    Raises
    ------
    StorageError
        If a name cannot be used; see `storage.label_names.check_class_name`.
    """
    return tuple(
        LabelClass(value, check_class_name(name), default_color(value))
        for value, name in sorted(names.items())
    )


def default_color(value: int) -> Color:
    """RGBA of a class value: clear for 0, else hues a golden ratio apart."""
    if value == 0:
        return (0, 0, 0, 0)
    hue = (value * GOLDEN_RATIO) % 1.0
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.75, 0.95)
    return (round(red * 255), round(green * 255), round(blue * 255), 255)


def labels_attributes(names: Iterable[str]) -> dict[str, Any]:
    """Attributes of the ``labels`` group that lists label images."""
    return {"ome": {"version": "0.5", "labels": list(names)}}


def parse_labels_list(attributes: Mapping[str, Any]) -> tuple[str, ...]:
    """Paths of the label images that a ``labels`` group lists.

    Raises
    ------
    StorageError
        If it is no list of paths below the group.
    """
    listed = ome_attributes(attributes).get("labels") or ()
    if not isinstance(listed, list | tuple):
        raise StorageError(f"labels/ lists {shown(listed)}; expected the names of its labels")
    return tuple(relative_path(path, "the list of labels/") for path in listed)
