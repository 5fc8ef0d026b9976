import errno
import hashlib
import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage import verify
from storage.blobs import Blobs
from storage.cells import open_cells
from storage.level_cells import level_cells
from storage.verify import check_objects, in_sample, list_objects
from storage.write_grid import WriteGrid, create_array


@pytest.fixture
def records(tmp_path):
    """Sixteen stored cells, two to a record."""
    options = {"dtype": "uint8", "chunks": (4, 4), "shards": (4, 4), "axes": "yx"}
    create_array(str(tmp_path), "0", shape=(16, 16), **options)
    rng = np.random.default_rng(0)
    stored = [
        open_cells(str(tmp_path), "0").write((i, j), rng.integers(0, 255, (4, 4), dtype=np.uint8))
        for i in range(4)
        for j in range(4)
    ]
    return [(item, stored[2 * item : 2 * item + 2]) for item in range(8)]


def problems(url, records, scheduler="synchronous"):
    return list(check_objects(str(url), records, scheduler=scheduler))


def test_nothing_to_find(tmp_path, records):
    assert problems(tmp_path, records) == []


def test_missing_truncated_and_flipped_objects_are_found(tmp_path, records):
    missing, short, flipped, emptied = (records[item][1][item % 2] for item in (0, 3, 5, 6))
    (tmp_path / missing["key"]).unlink()
    data = (tmp_path / short["key"]).read_bytes()
    (tmp_path / short["key"]).write_bytes(data[:-3])
    data = bytearray((tmp_path / flipped["key"]).read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / flipped["key"]).write_bytes(data)
    (tmp_path / emptied["key"]).write_bytes(b"")
    sizes = {stored["key"]: stored["size"] for _, objects in records for stored in objects}
    found = problems(tmp_path, records)
    assert [(p.kind, p.item, p.key) for p in found] == [
        ("missing", 0, missing["key"]),
        ("changed", 3, short["key"]),
        ("changed", 5, flipped["key"]),
        ("changed", 6, emptied["key"]),
    ]
    assert [str(p).removeprefix(p.key) for p in found] == [
        ": missing",
        f": changed: {sizes[short['key']]} bytes recorded, {sizes[short['key']] - 3} stored",
        ": changed: {0} bytes recorded, {0} stored".format(sizes[flipped["key"]]),
        f": changed: {sizes[emptied['key']]} bytes recorded, 0 stored",
    ]
    assert found[3].stored == hashlib.blake2b(b"", digest_size=16).hexdigest()


def test_a_folder_in_the_place_of_an_object_is_no_object(tmp_path, records):
    path = tmp_path / records[1][1][0]["key"]
    path.unlink()
    path.mkdir()
    assert [(p.kind, p.item) for p in problems(tmp_path, records)] == [("missing", 1)]


@pytest.mark.parametrize(("code", "is_fault"), [(errno.EIO, True), (errno.ETIMEDOUT, False)])
def test_a_broken_sector_is_a_fault_and_a_store_that_is_away_is_none(
    tmp_path, records, monkeypatch, code, is_fault
):
    def read(self, key):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Blobs, "read", read)
    if is_fault:
        found = problems(tmp_path, records[:1])
        assert [p.detail for p in found] == ["cannot be read (Input/output error)"] * 2
    else:
        with pytest.raises(OSError, match="timed out"):
            problems(tmp_path, records[:1])


def test_a_sample_is_about_its_share_and_the_same_for_a_seed():
    keys = [f"0/c/{i}/{j}" for i in range(50) for j in range(40)]
    drawn = {seed: [key for key in keys if in_sample(key, 0.1, seed)] for seed in (0, 1)}
    # Binomial: 200 of 2000 with a standard deviation of 13.
    assert all(140 < len(found) < 260 for found in drawn.values())
    assert drawn[0] != drawn[1]
    assert drawn[0] == [key for key in keys if in_sample(key, 0.1, 0)]
    assert set(drawn[0]) <= {key for key in keys if in_sample(key, 0.3, 0)}
    assert all(in_sample(key, 1.0, 0) for key in keys)


def test_a_listing_knows_what_belongs_to_the_region(tmp_path):
    """Of 4 × 4 cells the region touches rows 1 and 2 of columns 0 and 1."""
    (level,) = level_cells([("0", WriteGrid((16, 16), (4, 4)))], (4, 0), (10, 8))
    strays = ["0/c/0/0", "0/c/1/2", "0/c/01/1", "0/c/3", "0/c/2/0/0", "0/x", "note", "1/c/1/1"]
    blobs = Blobs(str(tmp_path))
    for key in ("0/c/1/0", "0/c/2/1", "0/zarr.json", *strays):
        blobs.write(key, b"12345")
    listing = list_objects(blobs.url, [level], ["0/zarr.json", "zarr.json"])
    assert listing.strays == sorted(strays)
    sizes = {key: listing.size([level], key) for key in ("0/c/1/0", "0/c/2/1", "0/c/1/1")}
    assert sizes == {"0/c/1/0": 5, "0/c/2/1": 5, "0/c/1/1": -1}
    assert (listing.size([level], "0/zarr.json"), listing.size([level], "zarr.json")) == (5, -1)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_flipped_bit_is_found(tmp_path, records, data):
    item = data.draw(st.integers(0, 7))
    stored = records[item][1][data.draw(st.integers(0, 1))]
    path = tmp_path / stored["key"]
    before = path.read_bytes()
    place = data.draw(st.integers(0, 8 * len(before) - 1))
    changed = bytearray(before)
    changed[place // 8] ^= 1 << place % 8
    path.write_bytes(changed)
    try:
        assert [(p.item, p.key) for p in problems(tmp_path, records)] == [(item, stored["key"])]
    finally:
        path.write_bytes(before)


@pytest.mark.parametrize("per_task", [1, 3, 100])
def test_tasks_of_any_size_and_scheduler_find_the_same(tmp_path, records, monkeypatch, per_task):
    monkeypatch.setattr(verify, "OBJECTS_PER_TASK", per_task)
    for item in (1, 2, 7):
        (tmp_path / records[item][1][0]["key"]).unlink()
    for scheduler in ("synchronous", "threads"):
        assert [p.item for p in problems(tmp_path, iter(records), scheduler)] == [1, 2, 7]
