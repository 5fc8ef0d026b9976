"""Stacks in files: TIFF, PNG, NPY, NPZ and HDF5 as one array that is read region by region."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from storage.errors import StorageError
from storage.ome import AXIS_ORDER
from storage.source_arrays import open_hdf5, open_npy, open_npz
from storage.source_images import PNG, TIFF, open_sections
from storage.source_tiff import open_tiff
from storage.stores import is_local

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np

    from storage.raw_array import RawArray

NUMPY = (".npy", ".npz")
HDF5 = (".h5", ".hdf5", ".hdf", ".he5")
SUPPORTED = ", ".join((*TIFF, *PNG, *NUMPY, *HDF5))
DEFAULT_AXES = {2: "yx", 3: "zyx", 4: "czyx", 5: "tczyx"}


@dataclass(frozen=True, slots=True)
class Stack:
    """An array in files with its axes in the order t, c, z, y, x.

    Attributes
    ----------
    raw : RawArray
        The files.
    file_axes : str
        Axis letters in the order of the file.
    """

    raw: RawArray
    file_axes: str

    @property
    def axes(self) -> str:
        """Axis letters in the order t, c, z, y, x."""
        return "".join(axis for axis in AXIS_ORDER if axis in self.file_axes)

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels per axis of `axes`."""
        return tuple(self.raw.shape[self.file_axes.index(axis)] for axis in self.axes)

    def read(self, start: Sequence[int], stop: Sequence[int]) -> np.ndarray:
        """Voxels of the box [start, stop), axes as in `axes`."""
        bounds = dict(zip(self.axes, zip(start, stop, strict=True), strict=True))
        block = self.raw.read(tuple(slice(*bounds[axis]) for axis in self.file_axes))
        return block.transpose([self.file_axes.index(axis) for axis in self.axes])


@contextmanager
def open_stack(
    sources: Sequence[str],
    *,
    axes: str | None = None,
    likely_axes: str | None = None,
    dataset: str | None = None,
) -> Iterator[Stack]:
    """Open a stack in files; nothing but headers is read yet.

    Parameters
    ----------
    sources : sequence of str
        One TIFF, PNG, NPY, NPZ or HDF5 file, or a folder or list of PNG or TIFF files, which
        are taken in natural order (``s2`` before ``s10``).
    axes : str, optional
        Axis letters in the order of the data; overrides what the files tell.
    likely_axes : str, optional
        Axes to assume where the files tell none and the number fits.
    dataset : str, optional
        Dataset of an HDF5 file, array of an NPZ file, or number of a series in a TIFF.

    Raises
    ------
    StorageError
        If a file is absent, unreadable, of another kind, of another shape than the rest, or its
        axes cannot be told; the message says which.
    """
    remote = [source for source in sources if not is_local(source)]
    if remote:
        raise StorageError(
            f"{remote[0]} is in an object store; a stack is imported from files: copy it here first"
        )
    with _open_raw([Path(source).expanduser() for source in sources], dataset) as raw:
        names = ", ".join(sources[:2]) + (", …" if len(sources) > 2 else "")
        _check_voxels(raw, names)
        yield Stack(raw, resolve_axes(raw, axes, likely_axes, names))


def resolve_axes(raw: RawArray, axes: str | None, likely_axes: str | None, names: str) -> str:
    """Axis letters of the data: those asked for, those in the file, or the usual ones.

    Raises
    ------
    StorageError
        If they do not fit the shape or remain unclear.
    """
    found = axes.lower() if axes is not None else _found_axes(raw, likely_axes)
    shown = f"{names} has the shape {raw.shape}"
    if found is None or "q" in found:
        raise StorageError(
            f"{shown} and its axes are unknown; name them with --axes, such as --axes czyx"
        )
    unknown = sorted(set(found) - set(AXIS_ORDER))
    if unknown or len(set(found)) != len(found) or not {"y", "x"} <= set(found):
        raise StorageError(
            f"{shown} and the axes {found!r}; expected two to five different letters of t, c, z, "
            "y, x with y and x among them; name them with --axes"
        )
    if len(found) != len(raw.shape):
        raise StorageError(
            f"{shown}: {len(raw.shape)} axes, but {found!r} names {len(found)}; "
            "name every axis of the data in its order with --axes"
        )
    return found


def natural_key(path: Path) -> list[tuple[int, int, str]]:
    """Sort key in which ``s2.png`` comes before ``s10.png``."""
    parts = re.split(r"(\d+)", str(path))
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts if part]


def _found_axes(raw: RawArray, likely_axes: str | None) -> str | None:
    ndim = len(raw.shape)
    likely = likely_axes if likely_axes is not None and len(likely_axes) == ndim else None
    if raw.axes is None:
        return likely or _usual_axes(raw.shape)
    if "q" in raw.axes and likely:
        return likely
    found = raw.axes.replace("s", "c")
    for letter in "zt":
        if found.count("q") == 1 and letter not in found:
            found = found.replace("q", letter)
    return found


def _usual_axes(shape: tuple[int, ...]) -> str | None:
    """Axes of an array without metadata; three or four values at the end are a colour."""
    if len(shape) in (3, 4) and shape[-1] in (3, 4) and min(shape[-3:-1]) > 4:
        return "zyxc"[-len(shape) :]
    return DEFAULT_AXES.get(len(shape))


def _check_voxels(raw: RawArray, names: str) -> None:
    if raw.dtype.kind not in "biuf" or raw.dtype.itemsize > 8:
        raise StorageError(
            f"{names} holds {raw.dtype} voxels; expected integers, floats of up to 64 bits or bool"
        )
    if 0 in raw.shape:
        raise StorageError(f"{names} has the shape {raw.shape}: it holds no voxels")


@contextmanager
def _open_raw(paths: list[Path], dataset: str | None) -> Iterator[RawArray]:
    files = _files(paths)
    suffix = files[0].suffix.lower()
    if len(files) > 1 or paths[0].is_dir() or suffix in PNG:
        yield open_sections(files, stacked=len(files) > 1 or paths[0].is_dir())
    elif suffix in TIFF:
        with open_tiff(files[0], dataset) as raw:
            yield raw
    elif suffix in HDF5:
        with open_hdf5(files[0], dataset) as raw:
            yield raw
    elif suffix == ".npz":
        with open_npz(files[0], dataset) as raw:
            yield raw
    else:
        yield open_npy(files[0])


def _files(paths: list[Path]) -> list[Path]:
    """The files meant, in natural order; a folder stands for the images in it."""
    if not paths:
        raise StorageError("no source was given; give a file, a folder or several image files")
    missing = [path for path in paths if not path.exists()]
    if missing:
        raise StorageError(f"{missing[0]} does not exist; expected a file or a folder of images")
    files: list[Path] = []
    for path in paths:
        files += _images_in(path) if path.is_dir() else [path]
    suffixes = {file.suffix.lower() for file in files}
    one_kind = suffixes <= set(TIFF) or suffixes <= set(PNG)
    if len(files) > 1 and not one_kind:
        raise StorageError(
            f"several sources of the kinds {', '.join(sorted(suffixes))}; expected one file, or "
            "single images that are all PNG or all TIFF"
        )
    if not suffixes <= {*TIFF, *PNG, *NUMPY, *HDF5}:
        raise StorageError(f"{files[0]} is of an unknown kind; expected one of {SUPPORTED}")
    return sorted(files, key=natural_key)


def _images_in(folder: Path) -> list[Path]:
    if any((folder / name).exists() for name in ("zarr.json", ".zgroup", ".zarray")):
        raise StorageError(f"{folder} is a Zarr already; open it as it is")
    images = [
        path
        for path in folder.iterdir()
        if path.suffix.lower() in (*TIFF, *PNG) and not path.name.startswith(".")
    ]
    if not images:
        raise StorageError(f"{folder} holds no PNG or TIFF images; give a folder of images")
    return images
