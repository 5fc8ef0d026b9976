"""Reads from shards in files, against NumPy and against Zarr."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from zarr.codecs import BloscCodec, BytesCodec, ZstdCodec

from storage.cells import encode_cell, open_cells
from storage.reads import read_voxels
from storage.shard_codec import RUN_BYTES, codec_of
from storage.shard_layout import read_index
from storage.write_grid import create_array

SHAPE, CHUNKS, SHARDS = (20, 40, 50), (4, 8, 16), (8, 16, 32)
VOXELS = np.random.default_rng(5).integers(0, 2**12, SHAPE).astype(np.uint16)


@pytest.fixture(scope="module")
def array(tmp_path_factory):
    """Eighteen shards of eight chunks."""
    url = str(tmp_path_factory.mktemp("reads") / "image.zarr")
    create_array(url, "0", shape=SHAPE, dtype="uint16", chunks=CHUNKS, shards=SHARDS, axes="zyx")
    for index in np.ndindex(3, 3, 2):
        box = tuple(slice(i * s, (i + 1) * s) for i, s in zip(index, SHARDS, strict=True))
        open_cells(url, "0").write(index, VOXELS[box])
    made = zarr.open_array(f"{url}/0", mode="r")
    assert codec_of(made) is not None
    return made


@st.composite
def boxes(draw):
    """Boxes, empty ones and ones beyond the end too."""
    bounds = [sorted(draw(st.tuples(*[st.integers(0, n + 3)] * 2))) for n in SHAPE]
    return tuple(slice(*bound) for bound in bounds)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(boxes())
def test_any_box_has_its_voxels(array, box):
    found = read_voxels(array, box)
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, VOXELS[box])


@pytest.mark.parametrize(
    "slices", [3, (slice(2, 9), 4), (..., slice(1, 3)), slice(0, 2), (slice(0, 20, 3),), ()]
)
def test_other_selections_are_zarr_s(array, slices):
    np.testing.assert_array_equal(read_voxels(array, slices), VOXELS[slices])


@settings(max_examples=25)
@given(
    st.sampled_from(["uint8", "int16", "uint32", "int64", "float32", "float64"]),
    st.lists(st.tuples(st.integers(1, 4), st.integers(1, 5)), min_size=1, max_size=4),
    st.data(),
)
def test_a_cell_is_what_zarr_writes(dtype, sizes, data):
    """Chunks and shards of any proportion, blocks of any size that fits."""
    chunks = tuple(chunk for chunk, _ in sizes)
    shards = tuple(chunk * count for chunk, count in sizes)
    shape = tuple(data.draw(st.integers(1, shard)) for shard in shards)
    block = np.random.default_rng(len(sizes)).integers(0, 3, shape).astype(dtype)
    store: dict[str, object] = {}
    made = zarr.create_array(
        zarr.storage.MemoryStore(store),
        shape=shards,
        dtype=dtype,
        chunks=chunks,
        shards=shards,
        compressors=BloscCodec(
            cname="zstd",
            clevel=2,
            shuffle="bitshuffle" if np.dtype(dtype).itemsize == 1 else "shuffle",
            typesize=np.dtype(dtype).itemsize,
        ),
        fill_value=0,
        config={"write_empty_chunks": True},
    )
    made[tuple(map(slice, shape))] = block
    theirs = store["/".join(["c", *("0" for _ in shards)])].to_bytes()
    assert encode_cell(block, dtype, chunks, shards) == theirs


def test_more_chunks_than_one_thread_takes(tmp_path):
    """Three runs of chunks, encoded and read side by side."""
    side = int((3 * RUN_BYTES) ** 0.5) // 64 * 64 + 64
    url = str(tmp_path)
    create_array(
        url, "0", shape=(side, side), dtype="uint8", chunks=(64, 64), shards=(side, side), axes="yx"
    )
    block = np.random.default_rng(0).integers(0, 9, (side, side)).astype(np.uint8)
    open_cells(url, "0").write((0, 0), block)
    array = zarr.open_array(f"{url}/0", mode="r")
    np.testing.assert_array_equal(read_voxels(array, (slice(1, None), slice(None))), block[1:])
    np.testing.assert_array_equal(array[...], block)


def test_what_is_not_stored_has_the_fill_value(tmp_path):
    array = made_by_zarr(tmp_path, fill_value=7)
    array[0:4, 0:4] = np.arange(16).reshape(4, 4)  # one chunk of the first shard of two
    expected = np.full((16, 8), 7, np.uint16)
    expected[0:4, 0:4] = np.arange(16).reshape(4, 4)
    np.testing.assert_array_equal(read_voxels(array, (slice(0, 16), slice(0, 8))), expected)


@pytest.mark.parametrize(
    "options",
    [
        {"compressors": ZstdCodec()},
        {"compressors": None},
        {"serializer": BytesCodec(endian="big")},
        {"shards": None},
        {"zarr_format": 2, "shards": None, "compressors": None},
        {"filters": [zarr.codecs.TransposeCodec(order=(1, 0))]},
    ],
)
def test_arrays_of_others_are_read_by_zarr(tmp_path, options):
    array = made_by_zarr(tmp_path, **options)
    assert codec_of(array) is None
    data = np.arange(128, dtype=np.uint16).reshape(16, 8)
    array[...] = data
    np.testing.assert_array_equal(read_voxels(array, (slice(3, 9), slice(1, 8))), data[3:9, 1:8])


def made_by_zarr(folder, **options):
    usual = {
        "shape": (16, 8),
        "chunks": (4, 4),
        "shards": (8, 8),
        "dtype": "uint16",
        "compressors": BloscCodec(cname="lz4", typesize=2),
        "fill_value": 0,
    }
    return zarr.create_array(str(folder / "array"), **(usual | options))


def damaged_shards():
    """A shard of one compressed chunk after another, each spoilt in one way."""
    whole = encode_cell(np.arange(64, dtype=np.uint16).reshape(8, 8), "uint16", (4, 4), (8, 8))
    at, length = (int(n) for n in read_index(whole[-68:])[0])
    told = int.from_bytes(whole[at + 4 : at + 8], "little")
    yield "cut", whole[:-40]
    yield "empty", b""
    yield "short", whole[-20:]
    yield "index", whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:]
    yield "voxels", whole[: at + 4] + (told * 2).to_bytes(4, "little") + whole[at + 8 :]
    yield "frame", whole[: at + 12] + (length + 9).to_bytes(4, "little") + whole[at + 16 :]
    yield "beyond", whole[length:]  # the index is good, and its chunks end after the file


@pytest.mark.parametrize(("kind", "data"), list(damaged_shards()))
def test_damage_is_an_error(tmp_path, kind, data):
    url = str(tmp_path)
    create_array(url, "0", shape=(8, 8), dtype="uint16", chunks=(4, 4), shards=(8, 8), axes="yx")
    shard = tmp_path / "0/c/0/0"
    shard.parent.mkdir(parents=True)
    shard.write_bytes(data)
    with pytest.raises((ValueError, RuntimeError)):
        read_voxels(zarr.open_array(f"{url}/0", mode="r"), (slice(0, 8), slice(0, 8)))
