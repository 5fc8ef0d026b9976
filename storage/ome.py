"""OME-Zarr metadata of images: dict ↔ frozen dataclasses. No I/O.

Reads versions 0.4 and 0.5, writes 0.5 (https://ngff.openmicroscopy.org/0.5). A coordinate is
``scale · index + translation`` with the index at voxel centres, so a level whose voxels average
windows of ``f`` finer ones starts ``0.5 · (f - 1)`` fine voxels later than the finest level.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from storage.errors import StorageError
from storage.ome_values import finite, relative_path, shown, text_or_none

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

AXIS_TYPES = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}
AXIS_ORDER = "".join(AXIS_TYPES)
LONGEST = 200
# What reading a field of an unexpected kind raises.
MALFORMED = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError)
DOWNSCALING = {
    "mean": "mean of non-overlapping windows; integers are rounded half up",
    "mode": "most frequent value of non-overlapping windows; a tie gives the lowest non-zero one",
}


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis: name (a letter of ``tczyx``), type (time, channel, space) and unit."""

    name: str
    type: str
    unit: str | None


@dataclass(frozen=True, slots=True)
class Level:
    """One resolution level: array path, and scale and translation per axis in axis units."""

    path: str
    scale: tuple[float, ...]
    translation: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class ImageMetadata:
    """A multiscale image: the same for intensities and for labels.

    Attributes
    ----------
    version : {"0.4", "0.5"}
        Version of the format it was read from.
    name : str
        Name of the image, perhaps empty.
    axes : tuple of Axis
        Two to five axes in the order t, c, z, y, x.
    levels : tuple of Level
        Finest level first.
    """

    version: Literal["0.4", "0.5"]
    name: str
    axes: tuple[Axis, ...]
    levels: tuple[Level, ...]

    @property
    def axis_names(self) -> str:
        """Axis letters in order, such as ``"czyx"``."""
        return "".join(axis.name for axis in self.axes)


def make_axes(names: str, unit: str | None) -> tuple[Axis, ...]:
    """Axes of letters; `unit` is that of the spatial ones."""
    return tuple(
        Axis(name, AXIS_TYPES[name], unit if AXIS_TYPES[name] == "space" else None)
        for name in names
    )


def check_axes(names: Sequence[str], where: str) -> None:
    """Refuse axes other than two to five of t, c, z, y, x, in this order, with y and x.

    Raises
    ------
    StorageError
        Naming the axes found and those expected.
    """
    listed = ", ".join(str(name) for name in names)[:LONGEST]
    unknown = [str(name) for name in names if name not in AXIS_TYPES]
    if unknown:
        raise StorageError(
            f"{where} has the unknown axes {', '.join(unknown)[:LONGEST]} among ({listed}); "
            f"maskmill reads the axes t, c, z, y, x"
        )
    if list(names) != [name for name in AXIS_ORDER if name in names]:
        raise StorageError(f"{where} has the axes ({listed}); expected the order t, c, z, y, x")
    if "y" not in names or "x" not in names:
        raise StorageError(f"{where} has the axes ({listed}); expected y and x among them")


def parse_image(attributes: Mapping[str, Any], url: str) -> ImageMetadata:
    """Metadata of the first multiscale image in a group's attributes.

    Parameters
    ----------
    attributes : mapping
        Attributes of the Zarr group.
    url : str
        Where they come from, for messages.

    Raises
    ------
    StorageError
        If there is no multiscale image (with a hint where one is: the group may be a plate or
        a container of images), the version is another one, an axis is unknown, or the metadata
        breaks the specification.
    """
    try:
        ome = ome_attributes(attributes)
        if not ome.get("multiscales"):
            raise StorageError(_no_image(ome, url))
        return _parse_multiscale(ome, url)
    except StorageError:
        raise
    except (*MALFORMED, ValueError) as error:
        raise StorageError(
            f"{url} has malformed OME metadata ({type(error).__name__}: {str(error)[:LONGEST]}); "
            "check it with an OME-Zarr validator"
        ) from error


def image_attributes(
    metadata: ImageMetadata,
    *,
    downscaling: str | None = None,
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Group attributes of an image, always as OME-Zarr 0.5.

    Parameters
    ----------
    metadata : ImageMetadata
        What to write.
    downscaling : {"mean", "mode"}, optional
        How the levels were made.
    extra : mapping, optional
        Further attributes beside ``ome``, such as provenance.
    """
    multiscale: dict[str, Any] = {
        "name": metadata.name,
        "axes": [
            {"name": axis.name, "type": axis.type} | ({"unit": axis.unit} if axis.unit else {})
            for axis in metadata.axes
        ],
        "datasets": [_dataset(level) for level in metadata.levels],
    }
    if downscaling is not None:
        multiscale["type"] = downscaling
        multiscale["metadata"] = {"method": "maskmill", "description": DOWNSCALING[downscaling]}
    return {"ome": {"version": "0.5", "multiscales": [multiscale]}, **(extra or {})}


def ome_attributes(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """OME metadata: under ``ome`` since 0.5, at the top before."""
    if not isinstance(attributes, dict):
        return {}
    ome = attributes.get("ome")
    return ome if isinstance(ome, dict) else attributes


def _no_image(ome: Mapping[str, Any], url: str) -> str:
    if "plate" in ome:
        wells = ome["plate"].get("wells") or [{"path": "A/1"}]
        first = f"{url}/{relative_path(wells[0]['path'], url)}/0"
        return f"{url} is a plate, not an image; use an image in it, such as {first}"
    if "well" in ome:
        images = ome["well"].get("images") or [{"path": "0"}]
        return f"{url} is a well, not an image; use {url}/{relative_path(images[0]['path'], url)}"
    if "bioformats2raw.layout" in ome:
        return f"{url} is a bioformats2raw container of images; use an image in it, such as {url}/0"
    if "labels" in ome:
        names = ", ".join(map(str, ome["labels"] or ()))[:LONGEST] or "none"
        return f"{url} is a list of labels ({names}), not an image; use {url}/NAME"
    return (
        f"{url} is a Zarr group without OME metadata (no 'multiscales' in its attributes); "
        "expected an OME-Zarr 0.4 or 0.5 image; make one with `maskmill import`"
    )


def _parse_multiscale(ome: Mapping[str, Any], url: str) -> ImageMetadata:
    multiscale = ome["multiscales"][0]
    version = str(ome.get("version") or multiscale.get("version") or "0.4")
    if version not in ("0.4", "0.5"):
        raise StorageError(
            f"{url} is OME-Zarr {version[:LONGEST]}; expected 0.4 or 0.5; convert it first"
        )
    entries = multiscale["axes"]
    check_axes([entry["name"] for entry in entries], url)
    axes = tuple(
        Axis(e["name"], AXIS_TYPES[e["name"]], text_or_none(e.get("unit"), f"{url}: a unit"))
        for e in entries
    )
    shared = multiscale.get("coordinateTransformations") or ()
    levels = tuple(
        _parse_level(dataset, shared, len(axes), url) for dataset in multiscale["datasets"]
    )
    if not levels:
        raise StorageError(f"{url} lists no resolution level; expected at least one dataset")
    known: Literal["0.4", "0.5"] = "0.4" if version == "0.4" else "0.5"
    return ImageMetadata(known, str(multiscale.get("name") or ""), axes, levels)


def _parse_level(
    dataset: Mapping[str, Any], shared: Sequence[Mapping[str, Any]], ndim: int, url: str
) -> Level:
    """A level with the multiscale's own transforms, which apply after the level's, composed."""
    scale, translation = (1.0,) * ndim, (0.0,) * ndim
    where = f"{url} level {shown(dataset['path'])}"
    for transform in (*dataset["coordinateTransformations"], *shared):
        kind = transform["type"]
        if kind == "identity":
            continue
        if kind not in ("scale", "translation") or kind not in transform:
            raise StorageError(
                f"{where} has the transform {shown(dict(transform))}; "
                "expected a scale and perhaps a translation, given as lists"
            )
        least = 0.0 if kind == "scale" else -math.inf
        values = tuple(finite(value, f"{where}: {kind}", above=least) for value in transform[kind])
        if len(values) != ndim:
            raise StorageError(f"{where} has a {kind} of {len(values)} numbers for {ndim} axes")
        if kind == "scale":
            scale = tuple(a * b for a, b in zip(scale, values, strict=True))
            translation = tuple(a * b for a, b in zip(translation, values, strict=True))
        else:
            translation = tuple(a + b for a, b in zip(translation, values, strict=True))
    for value in (*scale, *translation):
        finite(value, where)
    return Level(relative_path(dataset["path"], url), scale, translation)


def _dataset(level: Level) -> dict[str, Any]:
    transforms: list[dict[str, Any]] = [{"type": "scale", "scale": list(level.scale)}]
    if any(level.translation):
        transforms.append({"type": "translation", "translation": list(level.translation)})
    return {"path": level.path, "coordinateTransformations": transforms}
