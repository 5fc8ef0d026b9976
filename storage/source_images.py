"""Readers of image files: one TIFF of many pages, or one PNG or TIFF file per section."""

from __future__ import annotations

import math
import struct
from contextlib import closing, contextmanager
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from storage.errors import StorageError
from storage.raw_array import RawArray, Region
from storage.units import convert_length, length_unit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

TIFF = (".tif", ".tiff", ".btf")
PNG = (".png",)
# A larger page is read by its tiles or strips, so that no slab needs the whole of it.
MAX_PAGE_BYTES = 2**26
PNG_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
PNG_PALETTE = 3


@contextmanager
def open_tiff(path: Path, series_number: str | None) -> Iterator[RawArray]:
    """A series of a TIFF: OME-TIFF, ImageJ, tifffile's own, or plain pages.

    Raises
    ------
    StorageError
        If it is no TIFF, parts of it are missing, or it holds several series and none is named.
    """
    import tifffile
    import zarr

    try:
        tiff = tifffile.TiffFile(path)
    except (tifffile.TiffFileError, OSError) as error:
        raise StorageError(f"{path} is not a readable TIFF ({error})") from error
    with tiff:
        number = _choose_series(tiff, series_number, path)
        series = tiff.series[number]
        page = series.keyframe
        mode = "page" if page.nbytes <= MAX_PAGE_BYTES else "strile"
        sizes, unit = _tiff_voxel_size(tiff, number)
        with closing(series.aszarr(level=0, chunkmode=mode)) as store:
            array = zarr.open_array(store, mode="r")
            leading = array.ndim - len(page.shape)
            yield RawArray(
                _tiff_axes(series.axes),
                tuple(array.shape),
                np.dtype(series.dtype),
                lambda region: _read_pages(array, region, leading),
                sizes,
                unit,
            )


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
    """A region of every file, one file decoded at a time."""
    out = np.empty((len(files), *(s.stop - s.start for s in region)), dtype=dtype)
    for section, file in zip(out, files, strict=True):
        section[...] = _decode(file, shape)[region]
    return out


def _tiff_axes(axes: str) -> str:
    """Letters of tifffile as `RawArray` has them; sequences of unknown kind are ``q``."""
    return axes.lower().replace("i", "q")


def _choose_series(tiff: Any, wanted: str | None, path: Path) -> int:
    shapes = [series.shape for series in tiff.series]
    if wanted is not None:
        if not wanted.isdigit() or int(wanted) >= len(shapes):
            raise StorageError(
                f"{path} has no series {wanted!r}; expected a number from 0 to {len(shapes) - 1}"
            )
        number = int(wanted)
    elif len(shapes) == 1:
        number = 0
    else:
        listed = ", ".join(f"{i}: {shape}" for i, shape in enumerate(shapes))
        raise StorageError(
            f"{path} holds {len(shapes)} image series ({listed}); choose one with --dataset"
        )
    series = tiff.series[number]
    if series.kind == "ome" and any(series[i] is None for i in range(len(series))):
        raise StorageError(
            f"{path} is part of an OME-TIFF of several files, and some are not beside it; "
            "put them there"
        )
    return number


def _read_pages(array: Any, region: Region, leading: int) -> np.ndarray:
    """A region page by page, so that only one decoded page is in memory beside it."""
    ranges = [range(s.start, s.stop) for s in region[:leading]]
    out = np.empty([s.stop - s.start for s in region], dtype=array.dtype)
    for index in product(*ranges):
        place = tuple(i - r.start for i, r in zip(index, ranges, strict=True))
        out[place] = array[(*index, *region[leading:])]
    return out


def _tiff_voxel_size(tiff: Any, number: int) -> tuple[dict[str, float], str | None]:
    """Voxel size by axis with its unit, from OME, ImageJ or tifffile's metadata.

    Resolution tags of other files are left alone: most hold a printer's dots per inch.
    """
    if tiff.is_ome:
        import tifffile

        images = tifffile.xml2dict(tiff.ome_metadata)["OME"]["Image"]
        image = images[number] if isinstance(images, list) else images
        return _physical_sizes(image["Pixels"])
    if tiff.is_imagej:
        return _spacing(tiff, tiff.imagej_metadata or {})
    if tiff.is_shaped:
        metadata = tiff.shaped_metadata[0]
        return (
            _physical_sizes(metadata) if "PhysicalSizeX" in metadata else _spacing(tiff, metadata)
        )
    return {}, None


def _physical_sizes(pixels: Mapping[str, Any]) -> tuple[dict[str, float], str | None]:
    """OME attributes such as ``PhysicalSizeX`` and ``PhysicalSizeXUnit`` (µm if absent)."""
    found: dict[str, tuple[float, str]] = {}
    for axis in "zyx":
        key = f"PhysicalSize{axis.upper()}"
        unit = length_unit(str(pixels.get(f"{key}Unit", "µm")))
        if key in pixels and unit is not None and _is_size(pixels[key]):
            found[axis] = (float(pixels[key]), unit)
    if not found:
        return {}, None
    target = list(found.values())[-1][1]
    return {a: convert_length(size, unit, target) for a, (size, unit) in found.items()}, target


def _spacing(tiff: Any, metadata: Mapping[str, Any]) -> tuple[dict[str, float], str | None]:
    """Spacing of ImageJ: ``spacing`` in z, resolution tags in y and x, one unit."""
    unit = length_unit(str(metadata.get("unit", "")))
    if unit is None:
        return {}, None
    sizes = {"z": float(metadata["spacing"])} if _is_size(metadata.get("spacing")) else {}
    for axis in "yx":
        tag = tiff.pages.first.tags.get(f"{axis.upper()}Resolution")
        if tag is not None and min(tag.value) > 0:
            sizes[axis] = tag.value[1] / tag.value[0]
    return sizes, unit


def _is_size(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and value > 0


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
