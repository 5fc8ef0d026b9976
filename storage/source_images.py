"""Readers of image files: one PNG or TIFF file per section."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from storage.errors import StorageError
from storage.raw_array import RawArray, Region
from storage.source_tiff import open_tiff
from storage.threads import in_threads

if TYPE_CHECKING:
    from pathlib import Path

TIFF = (".tif", ".tiff", ".btf")
PNG = (".png",)
PNG_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
PNG_PALETTE = 3


def open_sections(files: list[Path], *, stacked: bool) -> RawArray:
    """Image files of equal shape as one array with the files along a new first axis, z.

    Raises
    ------
    StorageError
        If a file cannot be read or differs from the first in shape or dtype.
    """
    axes, shape, dtype = _header(files[0])
    for file in files[1:]:
        other = _header(file)
        if other != (axes, shape, dtype):
            raise StorageError(
                f"{file} has the shape {other[1]} of {other[2]}, but {files[0].name} has "
                f"{shape} of {dtype}; expected images that are all alike"
            )
    if not stacked:
        return RawArray(axes, shape, dtype, lambda region: _decode(files[0], shape)[region])
    if set(axes) - set("yxs"):
        # Whether whole stacks in files follow each other in t or c is for the user to say.
        axes = "q" * len(axes)
    return RawArray(
        ("z" if "q" not in axes else "q") + axes,
        (len(files), *shape),
        dtype,
        lambda region: _read_sections(files[region[0]], region[1:], shape, dtype),
    )


def _read_sections(
    files: list[Path], region: Region, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> np.ndarray:
    """A region of every file; a few files are decoded at a time."""
    out = np.empty((len(files), *(s.stop - s.start for s in region)), dtype=dtype)

    def read(number: int) -> None:
        out[number] = _decode(files[number], shape)[region]

    for _ in in_threads(read, range(len(files))):
        pass
    return out


def _header(file: Path) -> tuple[str, tuple[int, ...], np.dtype[Any]]:
    """Axes, shape and dtype of an image file without decoding it."""
    if file.suffix.lower() in PNG:
        return _png_header(file)
    with open_tiff(file, None) as raw:
        return raw.axes or "", raw.shape, raw.dtype


def _png_header(file: Path) -> tuple[str, tuple[int, ...], np.dtype[Any]]:
    with file.open("rb") as stream:
        head = stream.read(26)
    if len(head) < 26 or head[:8] != b"\x89PNG\r\n\x1a\n":
        raise StorageError(f"{file} is not a PNG file")
    width, height, depth, kind = struct.unpack(">IIBB", head[16:26])
    dtype = np.dtype("uint16" if depth == 16 else "uint8")
    samples = PNG_SAMPLES.get(kind, 0)
    if samples == 1:
        return "yx", (height, width), dtype
    return "yxs", (height, width, samples), dtype


def _decode(file: Path, shape: tuple[int, ...]) -> np.ndarray:
    """All voxels of an image file."""
    if file.suffix.lower() not in PNG:
        with open_tiff(file, None) as raw:
            return raw.read(tuple(slice(0, size) for size in raw.shape))
    try:
        image = _decode_png(file)
    except (RuntimeError, SyntaxError, OSError) as error:
        raise StorageError(f"{file} cannot be decoded ({error}); replace it") from error
    if image.shape != shape:
        raise StorageError(
            f"{file} decodes to the shape {image.shape}, expected {shape}; "
            "save it without transparency"
        )
    return image


def _decode_png(file: Path) -> np.ndarray:
    """Grey and colour voxels; the indices of a palette; 0 and 1 where a voxel is one bit."""
    import imagecodecs
    from PIL.PngImagePlugin import PngImageFile

    data = file.read_bytes()
    depth, kind = data[24], data[25]
    if kind != PNG_PALETTE and depth >= 8:
        return np.asarray(imagecodecs.png_decode(data))
    with PngImageFile(file) as image:
        return np.asarray(image).astype(np.uint8)
