"""Reader of one TIFF of many pages: mapped into memory, or decoded page by page."""

from __future__ import annotations

import math
from contextlib import ExitStack, closing, contextmanager
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from storage.errors import StorageError
from storage.raw_array import RawArray, Region
from storage.threads import in_threads
from storage.units import convert_length, length_unit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

# A larger page is read by its tiles or strips, so that no slab needs the whole of it.
MAX_PAGE_BYTES = 2**26


@contextmanager
def open_tiff(path: Path, series_number: str | None) -> Iterator[RawArray]:
    """A series of a TIFF: OME-TIFF, ImageJ, tifffile's own, or plain pages.

    Raises
    ------
    StorageError
        If it is no TIFF, parts of it are missing, or it holds several series and none is named.
    """
    import tifffile

    try:
        tiff = tifffile.TiffFile(path)
    except (tifffile.TiffFileError, OSError) as error:
        raise StorageError(f"{path} is not a readable TIFF ({error})") from error
    with tiff:
        number = _choose_series(tiff, series_number, path)
        series = tiff.series[number]
        sizes, unit = _tiff_voxel_size(tiff, number)
        with ExitStack() as held:
            yield RawArray(
                _tiff_axes(series.axes),
                tuple(series.shape),
                np.dtype(series.dtype),
                _tiff_reader(tiff, series, path, held),
                sizes,
                unit,
            )


def _tiff_reader(
    tiff: Any, series: Any, path: Path, held: ExitStack
) -> Callable[[Region], np.ndarray]:
    """How the voxels of a series are read; `held` closes what that needs."""
    page = series.keyframe
    leading = tuple(series.shape[: len(series.shape) - len(page.shape)])
    voxels = _mapped(tiff, series, path)
    if voxels is not None:
        return lambda region: _copied(voxels, region, len(leading))
    if page.nbytes <= MAX_PAGE_BYTES and len(series) == math.prod(leading):
        tiff.filehandle.set_lock(True)
        return lambda region: _decoded(series, region, leading)
    import zarr

    mode = "page" if page.nbytes <= MAX_PAGE_BYTES else "strile"
    store = held.enter_context(closing(series.aszarr(level=0, chunkmode=mode)))
    array = zarr.open_array(store, mode="r")
    return lambda region: _copied(array, region, len(leading))


def _mapped(tiff: Any, series: Any, path: Path) -> np.ndarray | None:
    """The voxels in the file itself, where they lie there as they are and in one piece."""
    offset = series.dataoffset
    if offset is None or offset + series.nbytes > path.stat().st_size:
        return None
    dtype = np.dtype(series.dtype).newbyteorder(tiff.byteorder)
    return np.memmap(path, dtype, "r", offset, series.shape)


def _copied(array: Any, region: Region, leading: int) -> np.ndarray:
    """A region page by page, so that only one decoded page is in memory beside it."""
    ranges = [range(s.start, s.stop) for s in region[:leading]]
    out = np.empty([s.stop - s.start for s in region], array.dtype.newbyteorder("="))
    for index in product(*ranges):
        place = tuple(i - r.start for i, r in zip(index, ranges, strict=True))
        out[place] = array[(*index, *region[leading:])]
    return out


def _decoded(series: Any, region: Region, leading: tuple[int, ...]) -> np.ndarray:
    """A region of whole pages, of which a few are decoded at a time."""
    ranges = [range(s.start, s.stop) for s in region[: len(leading)]]
    out = np.empty([s.stop - s.start for s in region], np.dtype(series.dtype))
    rows = out.reshape(-1, *out.shape[len(leading) :])
    numbers = [int(np.ravel_multi_index(i, leading)) for i in product(*ranges)] if leading else [0]
    # The pages are looked up before the first is decoded: only reading their voxels is locked.
    pages = [series[number] for number in numbers]

    def decode(number: int) -> None:
        page = pages[number]
        if page is None:
            rows[number] = 0
        else:
            voxels = page.asarray(maxworkers=1).reshape(series.keyframe.shape)
            rows[number] = voxels[region[len(leading) :]]

    for _ in in_threads(decode, range(len(pages))):
        pass
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
