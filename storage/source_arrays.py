"""Readers of plain arrays in files: NPY, NPZ and HDF5."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from storage.errors import StorageError
from storage.raw_array import RawArray

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def open_npy(path: Path) -> RawArray:
    """An NPY file, memory mapped.

    Raises
    ------
    StorageError
        If it holds objects or is no NPY file.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise StorageError(f"{path} is not an NPY file of numbers ({error})") from error
    return RawArray(None, array.shape, array.dtype, lambda region: np.asarray(array[region]))


@contextmanager
def open_npz(path: Path, name: str | None) -> Iterator[RawArray]:
    """An array of an NPZ file, unpacked to a temporary file so that it can be memory mapped.

    Raises
    ------
    StorageError
        If the file is no NPZ, or it holds several arrays and none or another one is named.
    """
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise StorageError(f"{path} is not an NPZ file ({error})") from error
    with archive, tempfile.TemporaryDirectory(prefix="maskmill-") as folder:
        names = [item.removesuffix(".npy") for item in archive.namelist()]
        member = f"{_choose(names, name, path, 'arrays')}.npy"
        unpacked = Path(folder, "array.npy")
        with archive.open(member) as packed, unpacked.open("wb") as file:
            shutil.copyfileobj(packed, file, length=2**20)
        yield open_npy(unpacked)


@contextmanager
def open_hdf5(path: Path, name: str | None) -> Iterator[RawArray]:
    """A dataset of an HDF5 file.

    Raises
    ------
    StorageError
        If the file is no HDF5, or it holds several datasets and none or another one is named.
    """
    import h5py

    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise StorageError(f"{path} is not a readable HDF5 file ({error})") from error
    with file:
        names: list[str] = []
        file.visititems(
            lambda key, item: names.append(key) if isinstance(item, h5py.Dataset) else None
        )
        dataset = file[_choose(names, name.strip("/") if name else None, path, "datasets")]
        yield RawArray(
            None, dataset.shape or (), dataset.dtype, lambda region: np.asarray(dataset[region])
        )


def _choose(names: Sequence[str], wanted: str | None, path: Path, noun: str) -> str:
    if wanted is None and len(names) == 1:
        return names[0]
    listed = ", ".join(names) or "none"
    if wanted is None:
        raise StorageError(
            f"{path} holds {len(names)} {noun} ({listed}); choose one with --dataset"
        )
    if wanted not in names:
        raise StorageError(f"{path} has no {wanted!r} among its {noun} ({listed})")
    return wanted
