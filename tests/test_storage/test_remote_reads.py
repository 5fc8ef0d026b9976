import asyncio

import google_crc32c
import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from zarr.core.buffer import default_buffer_prototype

from storage.blobs import Blobs
from storage.cells import open_cells
from storage.convert import import_image
from storage.errors import StorageError
from storage.reads import read_voxels
from storage.remote_reads import chunk_ranges
from storage.remote_store import NEAR_BYTES, RemoteStore, joined
from storage.requests import Lap
from storage.volume import open_image
from storage.write_grid import create_array

SHAPE, CHUNKS, SHARDS = (20, 40, 50), (4, 8, 16), (8, 16, 32)
VOXELS = np.random.default_rng(5).integers(0, 2**12, SHAPE).astype(np.uint16)


def make(url):
    """A sharded array of three by three by two shards, of eight chunks each."""
    create_array(url, "0", shape=SHAPE, dtype="uint16", chunks=CHUNKS, shards=SHARDS, axes="zyx")
    for index in np.ndindex(3, 3, 2):
        box = tuple(slice(i * s, (i + 1) * s) for i, s in zip(index, SHARDS, strict=True))
        open_cells(url, "0").write(index, VOXELS[box])
    return opened(url)


def opened(url):
    return zarr.open_array(RemoteStore.at(f"{url}/0", read_only=True), mode="r", zarr_format=3)


@pytest.fixture
def array(bucket, object_server):
    made = make(f"{bucket}/image.zarr")
    object_server.asked.clear()
    return made


@st.composite
def boxes(draw):
    """Boxes, empty ones and ones beyond the end too."""
    bounds = [sorted(draw(st.tuples(*[st.integers(0, n + 3)] * 2))) for n in SHAPE]
    return tuple(slice(*bound) for bound in bounds)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(boxes(), st.sampled_from([-1, 2000, 2**30]))
def test_any_box_has_its_voxels(array, box, spare):
    """By ranges, partly whole, and all whole."""
    np.testing.assert_array_equal(read_voxels(array, box, spare_bytes=spare), VOXELS[box])


@pytest.mark.parametrize(
    "slices", [3, (slice(2, 9), 4), (..., slice(1, 3)), slice(0, 2), (slice(0, 20, 3),), ()]
)
def test_other_selections_are_zarr_s(array, slices):
    np.testing.assert_array_equal(read_voxels(array, slices), VOXELS[slices])


# Box, requests of Zarr alone, with ranges, and with whole shards where little is spared.
COSTS = [
    ((slice(0, 4), slice(0, 8), slice(0, 16)), 2, 2, 1),  # one chunk: index and chunk
    ((slice(0, 8), slice(0, 16), slice(0, 32)), 1, 1, 1),  # one shard
    ((slice(0, 8), slice(0, 16), slice(0, 16)), 5, 2, 1),  # half a shard
    # Where eight shards meet: 2 chunks of four of them and 1 of the others, and 8 indexes.
    ((slice(2, 10), slice(12, 20), slice(20, 40)), 20, 16, 8),
]


@pytest.mark.parametrize(("box", "alone", "ranges", "whole"), COSTS)
def test_requests(array, object_server, box, alone, ranges, whole):
    lap = Lap()
    for read, expected in (
        (lambda: array[box], alone),
        (lambda: read_voxels(array, box, spare_bytes=-1), ranges),
        (lambda: read_voxels(array, box), whole),
    ):
        np.testing.assert_array_equal(read(), VOXELS[box])
        assert len(object_server.methods()) == expected
        assert lap()["get"] == expected


def test_a_whole_shard_is_not_asked_for_when_much_of_it_is_spared(array, object_server):
    """One chunk of eight: the other seven are 7 × 4 × 8 × 16 × 2 bytes."""
    spared = 7 * 4 * 8 * 16 * 2
    box = (slice(0, 4), slice(0, 8), slice(0, 16))
    for spare, ranged in ((spared, False), (spared - 1, True)):
        read_voxels(array, box, spare_bytes=spare)
        assert any(asked.range for asked in object_server.asked) is ranged
        object_server.asked.clear()


def test_distant_ranges_are_not_joined():
    assert joined([]) == []
    assert joined([(0, 5)]) == [(0, 5)]
    near, far = NEAR_BYTES + 9, NEAR_BYTES + 6
    assert joined([(0, 5), (5, 9), (near, near + 1)]) == [(0, near + 1)]
    assert joined([(0, 5), (far, far + 1)]) == [(0, 5), (far, far + 1)]


def test_the_client_joins_what_is_counted_as_joined(bucket, object_server):
    """Counted are the requests and bytes that the server sees."""
    size = 3 * NEAR_BYTES
    Blobs(bucket).write("object", bytes(size))
    store = RemoteStore.at(bucket, read_only=True)
    ranges = [(0, 10), (NEAR_BYTES + 10, NEAR_BYTES + 20), (size - 5, size)]
    object_server.asked.clear()
    lap = Lap()
    asyncio.run(store.get_ranges("object", ranges, default_buffer_prototype()))
    assert sorted(asked.range for asked in object_server.asked) == [
        f"bytes=0-{NEAR_BYTES + 19}",
        f"bytes={size - 5}-{size - 1}",
    ]
    assert lap() == {"get": 2, "bytes_read": NEAR_BYTES + 20 + 5}


def test_missing_shards_and_chunks_read_as_background(bucket):
    """An array of another writer: some shards are not there, and of one some chunks."""
    store = RemoteStore.at(f"{bucket}/sparse/0", read_only=False)
    array = zarr.create_array(store, shape=(16, 16), chunks=(4, 4), shards=(8, 8), dtype="u1")
    array[0:4, 4:8] = 7
    expected = np.zeros((16, 16), np.uint8)
    expected[0:4, 4:8] = 7
    for spare in (-1, 2**20):
        np.testing.assert_array_equal(
            read_voxels(array, (slice(0, 16), slice(0, 12)), spare_bytes=spare), expected[:, :12]
        )


@pytest.mark.parametrize("spare", [-1, 2**20])
@pytest.mark.parametrize("place", ["index", "chunk", "torn"])
def test_damage_is_told(bucket, array, spare, place):
    """A flipped bit in the index or in a chunk, and a shard that lacks its end."""
    blobs = Blobs(f"{bucket}/image.zarr/0")
    data = bytearray(blobs.read("c/0/0/0"))
    if place == "torn":
        data = data[: len(data) // 2]
    else:
        data[-10 if place == "index" else 20] ^= 16
    blobs.write("c/0/0/0", bytes(data))
    with pytest.raises((ValueError, RuntimeError)):
        read_voxels(array, (slice(0, 4), slice(0, 16), slice(0, 32)), spare_bytes=spare)


def test_a_damaged_index_leads_nowhere():
    body = np.array([[0, 10], [2**64 - 1, 2**64 - 1], [30, 5]], "<u8").tobytes()
    good = body + google_crc32c.value(body).to_bytes(4, "little")
    assert chunk_ranges(good, [2, 1, 0]) == [(0, 10), (30, 35)]
    assert chunk_ranges(good, [1]) == []
    assert chunk_ranges(good[:-1] + bytes([good[-1] ^ 1]), [0]) == []


def test_volumes_read_through_it(tmp_path, bucket, object_server):
    voxels = np.random.default_rng(2).integers(0, 255, (5, 300, 260), np.uint8)
    np.save(tmp_path / "v.npy", voxels)
    local = import_image([str(tmp_path / "v.npy")], str(tmp_path / "image.zarr"), axes="zyx")
    remote = import_image([str(tmp_path / "v.npy")], f"{bucket}/image.zarr", axes="zyx")
    assert stored(Blobs(local.url)) == stored(Blobs(remote.url))
    box = (slice(1, 3), slice(40, 290), slice(10, 20))
    for volume, other in zip(open_image(remote.url).volumes, local.volumes, strict=True):
        assert volume.shape == other.shape
        np.testing.assert_array_equal(volume[box], other[box])
    # A box over two shards of few bytes: two requests.
    object_server.asked.clear()
    np.testing.assert_array_equal(open_image(remote.url).volumes[0][box], voxels[box])
    assert sorted(a.path for a in object_server.asked if "/c/" in a.path) == [
        f"/{bucket[5:]}/image.zarr/0/c/0/{number}/0" for number in range(2)
    ]


def stored(blobs):
    return {key: blobs.read(key) for key, _ in blobs.list()}


def test_a_damaged_chunk_in_a_volume(tmp_path, bucket):
    np.save(tmp_path / "v.npy", np.arange(64 * 64, dtype=np.uint16).reshape(1, 64, 64))
    image = import_image([str(tmp_path / "v.npy")], f"{bucket}/image.zarr", axes="zyx")
    Blobs(image.url).write("0/c/0/0/0", b"nonsense")
    with pytest.raises(StorageError, match=r"has a damaged chunk .*; restore it, or make"):
        open_image(image.url).volumes[0][0:1, 0:64, 0:64]
