"""Specimens as OME-Zarr, and catalogs of them."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from storage.convert import import_image, import_labels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

VOXEL_SIZE = (0.05, 0.01, 0.01)
UNIT = "micrometer"
TRUTH = "truth"
Volume = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Specimen:
    """One stack with its truth.

    Attributes
    ----------
    name : str
        Of the specimen.
    part : str
        ``train``, ``validation`` or ``test``.
    image : Path
        OME-Zarr, with the label ``truth``.
    voxels : uint8 or uint16, shape (z, y, x)
        Intensities.
    labels : uint8, shape (z, y, x)
        Classes.
    """

    name: str
    part: str
    image: Path
    voxels: NDArray[Any]
    labels: NDArray[Any]

    @property
    def volume(self) -> Volume:
        """Its entry in a catalog."""
        place = str(self.image)
        return {"image": place, "label": TRUTH, "group": self.name, "split": self.part}


def write_image(place: Path, voxels: NDArray[Any]) -> str:
    """Import a stack; its URL."""
    axes = "zyx"[-voxels.ndim :]
    source = place.with_suffix(".npy")
    np.save(source, voxels)
    size = VOXEL_SIZE[-voxels.ndim :]
    import_image([str(source)], str(place), axes=axes, voxel_size=size, unit=UNIT)
    source.unlink()
    return str(place)


def write_label(
    image: Path | str, labels: NDArray[Any], classes: Sequence[str], name: str = TRUTH
) -> None:
    """Import a label of an image."""
    source = Path(f"{image}.{name}.npy")
    np.save(source, labels)
    axes = "zyx"[-labels.ndim :]
    import_labels([str(source)], str(image), name=name, classes=tuple(classes), axes=axes)
    source.unlink()


def store_foreign(image: Path | str, values: NDArray[Any], name: str = TRUTH) -> None:
    """Replace the voxels of a label as another program would, with no check of type or shape."""
    level = Path(str(image), "labels", name, "0")
    shutil.rmtree(level)
    array = zarr.create_array(
        str(level), shape=values.shape, chunks=values.shape, dtype=values.dtype
    )
    array[...] = values


def write_specimen(
    folder: Path,
    name: str,
    part: str,
    voxels: NDArray[Any],
    labels: NDArray[Any],
    *,
    classes: Sequence[str],
) -> Specimen:
    """Import a stack with its truth."""
    place = folder / f"{name.replace(' ', '-')}.zarr"
    write_image(place, voxels)
    write_label(place, labels, classes)
    return Specimen(name, part, place, voxels, labels)


def write_catalog(folder: Path, volumes: Sequence[Volume], **fields: Any) -> str:
    """Write CATALOG.yaml; its path. JSON is YAML too."""
    place = folder / "catalog.yaml"
    place.write_text(json.dumps({"volumes": list(volumes), **fields}, indent=1))
    return str(place)
