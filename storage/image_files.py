"""Single images in files, decoded from their bytes: PNG, TIFF, JPEG."""

from __future__ import annotations

from io import BytesIO
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from storage.errors import StorageError
from storage.source_images import PNG, PNG_PALETTE, TIFF

JPEG = (".jpg", ".jpeg")
SUFFIXES = (*PNG, *TIFF, *JPEG)
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
ALPHA_CHANNELS = (2, 4)


def decode_image(data: bytes, name: str) -> np.ndarray:
    """One plane from the bytes of an image file.

    Parameters
    ----------
    data : bytes
        The whole file.
    name : str
        Of the file; its ending says what it is, and messages name it.

    Returns
    -------
    numpy.ndarray
        Shape (y, x, channels), native byte order; a palette becomes colours, transparency is
        left out, 0 and 1 of one-bit images become 0 and 255.

    Raises
    ------
    StorageError
        If it cannot be decoded, or holds more than one plane.
    """
    suffix = PurePosixPath(name).suffix.lower()
    decode = _png if suffix in PNG else _tiff if suffix in TIFF else _jpeg
    try:
        image = decode(data)
    except StorageError as error:
        raise StorageError(f"{name} {error}") from error
    # Decoders of damaged files raise whatever met them first.
    except Exception as error:
        raise StorageError(f"{name} cannot be decoded ({error}); replace it") from error
    if image.dtype.kind not in "uif" or 0 in image.shape:
        raise StorageError(f"{name} holds {image.dtype} of shape {image.shape}; expected numbers")
    return np.ascontiguousarray(image, dtype=image.dtype.newbyteorder("="))


def _png(data: bytes) -> np.ndarray:
    import imagecodecs
    from PIL.PngImagePlugin import PngImageFile

    if len(data) < 26 or data[:8] != PNG_SIGNATURE:
        raise StorageError("is not a PNG file; replace it")
    depth, kind = data[24], data[25]
    if kind != PNG_PALETTE and depth >= 8:
        return _without_alpha(np.asarray(imagecodecs.png_decode(data)))
    with PngImageFile(BytesIO(data)) as image:
        return _without_alpha(np.asarray(image.convert("RGB" if kind == PNG_PALETTE else "L")))


def _jpeg(data: bytes) -> np.ndarray:
    from PIL.JpegImagePlugin import JpegImageFile

    with JpegImageFile(BytesIO(data)) as image:
        shown: Any = image if image.mode in ("L", "RGB") else image.convert("RGB")
        return _without_alpha(np.asarray(shown))


def _tiff(data: bytes) -> np.ndarray:
    import tifffile

    with tifffile.TiffFile(BytesIO(data)) as tiff:
        series = tiff.series[0]
        axes, array, number = series.axes.upper(), series.asarray(), len(tiff.series)
    planes = [n for axis, n in zip(axes, array.shape, strict=True) if axis not in "YXSC"]
    if number > 1 or any(size > 1 for size in planes):
        raise StorageError(
            f"holds {number} series, the first of shape {array.shape} with the axes {axes}; "
            "expected one plane: make an OME-Zarr of a stack with `maskmill import`"
        )
    array = array.reshape([n for axis, n in zip(axes, array.shape, strict=True) if axis in "YXSC"])
    left = "".join(axis for axis in axes if axis in "YXSC").replace("S", "C")
    if left.count("C") > 1 or not {"Y", "X"} <= set(left):
        raise StorageError(f"has the axes {axes}; expected y, x and channels")
    order = [left.index(axis) for axis in "YXC" if axis in left]
    image = array.astype(np.uint8) * 255 if array.dtype.kind == "b" else array
    image = image.transpose(order)
    # Channels of a microscope are no transparency, however many there are.
    return _without_alpha(image) if "S" in axes or image.ndim == 2 else image


def _without_alpha(image: np.ndarray) -> np.ndarray:
    """Channels last; of grey or colour with transparency the grey or the colour."""
    if image.ndim == 2:
        return image[..., np.newaxis]
    return image[..., :-1] if image.shape[-1] in ALPHA_CHANNELS else image
