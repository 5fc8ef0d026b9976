import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage import verify
from storage.verify import Problem, check_objects
from storage.write_grid import create_array, write_cell


@pytest.fixture
def records(tmp_path):
    """Sixteen stored cells, two to a record."""
    options = {"dtype": "uint8", "chunks": (4, 4), "shards": (4, 4), "axes": "yx"}
    create_array(str(tmp_path), "0", shape=(16, 16), **options)
    rng = np.random.default_rng(0)
    stored = [
        write_cell(str(tmp_path), "0", (i, j), rng.integers(0, 255, (4, 4), dtype=np.uint8))
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
    assert problems(tmp_path, records) == [
        Problem(0, missing["key"], "missing"),
        Problem(
            3,
            short["key"],
            f"changed: {sizes[short['key']]} bytes recorded, {sizes[short['key']] - 3} stored",
        ),
        Problem(
            5,
            flipped["key"],
            "changed: {0} bytes recorded, {0} stored".format(sizes[flipped["key"]]),
        ),
        Problem(6, emptied["key"], f"changed: {sizes[emptied['key']]} bytes recorded, 0 stored"),
    ]


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
