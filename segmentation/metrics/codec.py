"""Arrays of statistics as compact text for records, and as one file for heavy ones."""

from __future__ import annotations

import base64
import io
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


def encode_array(array: NDArray[Any]) -> dict[str, Any]:
    """An array as a JSON object; the same array gives the same text on every machine."""
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    text = base64.b64encode(zlib.compress(little.tobytes(), 6)).decode("ascii")
    return {"dtype": little.dtype.str, "shape": list(array.shape), "zlib": text}


def decode_array(document: Mapping[str, Any]) -> NDArray[Any]:
    """The array that `encode_array` wrote."""
    data = zlib.decompress(base64.b64decode(document["zlib"]))
    array = np.frombuffer(data, document["dtype"]).reshape(document["shape"])
    return array.astype(array.dtype.newbyteorder("="))


def pack_arrays(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Named arrays as one compressed file; the same arrays give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(arrays):
            # ZipInfo's own date is fixed; the clock's would change the bytes.
            member = zipfile.ZipInfo(f"{name}.npy")
            member.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(member, "w") as file:
                np.lib.format.write_array(file, np.asarray(arrays[name]), allow_pickle=False)
    return buffer.getvalue()


def unpack_arrays(data: bytes) -> dict[str, NDArray[Any]]:
    """The arrays that `pack_arrays` wrote.

    Raises
    ------
    ValueError
        If the file is damaged.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            return dict(stored)
    except (OSError, ValueError, KeyError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise ValueError(f"a file of statistics is damaged ({error}); evaluate again") from error
