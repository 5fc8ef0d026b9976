"""Images that are samples of their own: files of a folder, or planes of an OME-Zarr stack."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from storage.blobs import Blobs
from storage.errors import StorageError
from storage.image_files import SUFFIXES, decode_image
from storage.sources import natural_key
from storage.stores import normalize_url
from storage.volume import NotZarrError, Volume, open_image

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class ImageSource:
    """Where images are, and what they are called. Plain data: it travels between processes.

    Attributes
    ----------
    url : str
        Folder of image files, or OME-Zarr image.
    names : tuple of str
        A file's path below the folder, such as ``0001.png``; or the number of a plane, ``"0"``.
    volume : Volume or None
        The stack, if planes are the images.
    axis : str
        Axis along which the planes lie, ``z`` or ``t``; empty for files.
    """

    url: str
    names: tuple[str, ...]
    volume: Volume | None = None
    axis: str = ""

    def read(self, name: str) -> np.ndarray:
        """One image: uint8, uint16 or float, shape (y, x, channels); transparency is left out.

        Raises
        ------
        StorageError
            If there is no such image, or it cannot be decoded as one plane.
        """
        if self.volume is not None:
            return _read_plane(self.volume, self.axis, int(name))
        try:
            data = Blobs(self.url).read(name)
        except FileNotFoundError as error:
            raise StorageError(f"{self.url} holds no image {name!r}; check its name") from error
        return decode_image(data, name)


def open_images(url: str, names: Sequence[str] | None = None) -> ImageSource:
    """Open a folder of images, or an OME-Zarr stack; no image is read.

    Parameters
    ----------
    url : str
        Folder of PNG, TIFF or JPEG files (not those of its subfolders), or OME-Zarr image whose
        planes along z, or along t, are the images.
    names : sequence of str, optional
        The images meant, in this order; files may lie in subfolders. All of them by default, in
        natural order (``s2`` before ``s10``).

    Raises
    ------
    StorageError
        If there are no images, or some of the names are not there; they are listed.
    """
    url = normalize_url(url)
    try:
        source = _planes(url)
    except NotZarrError:
        source = _files(url, names)
    if names is None:
        return source
    there = set(source.names)
    missing = [name for name in dict.fromkeys(names) if name not in there]
    if missing:
        more = f" and {len(missing) - MOST_NAMED} more" if len(missing) > MOST_NAMED else ""
        kind = "plane" if source.volume else "image"
        raise StorageError(
            f"{url} holds no {kind} {', '.join(map(repr, missing[:MOST_NAMED]))}{more}; "
            f"it holds {len(source.names)}, such as {source.names[0]!r}"
        )
    return ImageSource(url, tuple(names), source.volume, source.axis)


def _files(url: str, names: Sequence[str] | None) -> ImageSource:
    found = [key for key, _ in Blobs(url).list() if _is_image(key)]
    shown = found if names is not None else [key for key in found if "/" not in key]
    if not shown:
        raise StorageError(
            f"{url} does not exist or holds no images; give a folder of {', '.join(SUFFIXES)} "
            "files, a table that names them, or an OME-Zarr stack"
        )
    return ImageSource(url, tuple(sorted(shown, key=lambda key: natural_key(Path(key)))))


def _is_image(key: str) -> bool:
    path = PurePosixPath(key)
    hidden = any(part.startswith(".") for part in path.parts)
    return path.suffix.lower() in SUFFIXES and not hidden


def _planes(url: str) -> ImageSource:
    volume = open_image(url).volumes[0]
    sizes = dict(zip(volume.axes, volume.shape, strict=True))
    long = [axis for axis in "tz" if sizes.get(axis, 1) > 1]
    if len(long) > 1:
        raise StorageError(
            f"{url} has {sizes['t']} time points of {sizes['z']} planes; expected a stack with "
            "planes along z or t alone: import the planes meant as one"
        )
    axis = long[0] if long else next((axis for axis in "zt" if axis in sizes), "")
    return ImageSource(url, tuple(map(str, range(sizes.get(axis, 1)))), volume, axis)


def _read_plane(volume: Volume, axis: str, index: int) -> np.ndarray:
    """One plane, channels last."""
    place = {axis: slice(index, index + 1)}
    plane = volume[tuple(place.get(letter, slice(None)) for letter in volume.axes)]
    letters = volume.axes
    for letter in "tz":
        if letter in letters:
            plane = plane.squeeze(letters.index(letter))
            letters = letters.replace(letter, "")
    plane = np.moveaxis(plane, 0, -1) if letters[0] == "c" else plane[..., np.newaxis]
    return np.ascontiguousarray(plane)
