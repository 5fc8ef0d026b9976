import itertools
import json
import threading
import tracemalloc
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage import record_writer
from storage.blobs import Blobs
from storage.manifest import Damage, RunManifest, stage_names
from storage.record_writer import RecordWriter
from storage.records import RecordFault, line_checksum

JOB = "f00d"
MANY = 10**6  # planned items of which a few make one object: an fsync takes its time
QUICK = settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])


def write(
    blobs, items, *, attempt="20260101T000000-a", planned=20, job=JOB, stage="infer", **record
):
    with RecordWriter(blobs, job, stage, planned, attempt) as writer:
        for item in items:
            writer.append(item, {"attempt": attempt, **record})
            writer.wait()


def done(blobs, planned=20, stage="infer"):
    return np.flatnonzero(RunManifest(blobs, JOB).completed(stage, planned)).tolist()


@pytest.fixture
def blobs(tmp_path):
    return Blobs(str(tmp_path / "run"))


def test_nothing_yet(blobs):
    manifest_ = RunManifest(blobs, JOB)
    assert manifest_.completed("infer", 3).tolist() == [False] * 3
    assert list(manifest_.records("infer", 3)) == []
    assert manifest_.count("infer") == 0
    assert stage_names(blobs) == []


def test_records_come_back_whole(blobs):
    objects = [{"key": "0/c/0/0", "size": 12, "checksum": "ab"}]
    write(blobs, [4, 2], objects=objects)
    found = list(RunManifest(blobs, JOB).records("infer", 5))
    assert found == [
        {"item": item, "attempt": "20260101T000000-a", "objects": objects} for item in (4, 2)
    ]
    assert RunManifest(blobs, JOB).completed("infer", 5).tolist() == [
        False,
        False,
        True,
        False,
        True,
    ]
    assert RunManifest(blobs, JOB).count("infer") == 5


@QUICK
@given(
    st.lists(st.lists(st.integers(0, 9)), max_size=5),
    st.permutations(["20260101T000000-a", "20260101T000001-a", "20260102T000000-0", "x", "y"]),
)
def test_of_two_records_the_later_attempts_counts(blobs, attempts, names):
    """Attempts are found in the order of their names, whatever order they were written in."""
    blobs.delete_all()
    expected = {}
    for name, items in sorted(zip(names, attempts, strict=False)):
        expected.update(dict.fromkeys(items, name))
    for name, items in zip(names, attempts, strict=False):
        write(blobs, items, attempt=name, planned=MANY)
    manifest_ = RunManifest(blobs, JOB)
    found = {record["item"]: record["attempt"] for record in manifest_.records("infer", 10)}
    assert found == expected
    assert done(blobs, 10) == sorted(expected)
    assert manifest_.damage == Damage(duplicated=sum(map(len, attempts)) - len(expected))


@QUICK
@given(st.data())
def test_a_torn_object_keeps_its_whole_lines(blobs, data):
    """Cut at any byte: every record in front of the cut counts, the one cut through does not."""
    blobs.delete_all()
    with RecordWriter(blobs, JOB, "infer", MANY, "a") as writer:
        for item in range(6):
            writer.append(item, {"objects": [{"key": f"0/c/{item}", "size": item}]})
    ((key, size),) = blobs.list()
    whole = blobs.read(key)
    cut = data.draw(st.integers(0, size))
    blobs.write(key, whole[:cut])
    lines = whole[:cut].split(b"\n")[1:]
    ends = list(itertools.accumulate(len(line) + 1 for line in whole.split(b"\n")))
    expected = [item for item in range(6) if ends[item + 1] - 1 <= cut]
    assert done(blobs) == expected
    manifest_ = RunManifest(blobs, JOB)
    manifest_.completed("infer", 20)
    whole_lines = [line for line in lines if line]
    # A header cut through, a header alone, or a line cut through.
    torn = cut < ends[0] - 1 or not whole_lines or len(whole_lines) > len(expected)
    assert manifest_.damage == Damage(torn=int(torn))


@QUICK
@given(st.data())
def test_a_changed_byte_costs_its_record(blobs, data):
    blobs.delete_all()
    write(blobs, range(3), planned=MANY)
    ((key, _),) = blobs.list()
    header, *lines = blobs.read(key).rstrip(b"\n").split(b"\n")
    number = data.draw(st.integers(0, 2))
    line = bytearray(lines[number])
    place = data.draw(st.integers(0, len(line) - 1))
    line[place] = data.draw(st.integers(33, 126).filter(lambda byte: byte != line[place]))
    lines[number] = bytes(line)
    blobs.write(key, b"\n".join([header, *lines, b""]))
    assert done(blobs) == [item for item in range(3) if item != number]


@pytest.mark.parametrize(
    "header",
    [
        {"schema": 1, "job": "beef", "stage": "infer"},  # another job's
        {"schema": 2, "job": JOB, "stage": "infer"},  # a later program's
        {"schema": 1, "job": JOB, "stage": "pyramid-1"},  # moved to another stage
        {"job": JOB},
        [JOB],
        "no header",
    ],
)
def test_a_foreign_object_does_not_count(blobs, header):
    write(blobs, range(3))
    keys = [key for key, _ in blobs.list()]
    _, *lines = blobs.read(keys[1]).split(b"\n")
    blobs.write(keys[1], b"\n".join([json.dumps(header).encode(), *lines]))
    manifest_ = RunManifest(blobs, JOB)
    assert manifest_.completed("infer", 3).tolist() == [True, False, True]
    assert manifest_.damage == Damage(foreign=1)


def test_records_of_another_job_and_stage_and_items_outside_the_plan(blobs):
    write(blobs, [0, 1])
    write(blobs, [2, 3], job="beef", attempt="b")
    write(blobs, [4, 5], stage="pyramid-1")
    write(blobs, [19, 20], attempt="c")
    assert done(blobs) == [0, 1, 19]
    assert done(blobs, stage="pyramid-1") == [4, 5]
    assert stage_names(blobs) == ["infer", "pyramid-1"]


def test_a_record_under_another_attempts_name_is_stale(blobs):
    """An older attempt's object in the place of a later one's, whole or line by line."""
    write(blobs, [0], attempt="20260101T000000-a", mark="old")
    write(blobs, [0], attempt="20260102T000000-b", mark="new")
    older, later = (key for key, _ in blobs.list())
    manifest_ = RunManifest(blobs, JOB)
    assert [r["mark"] for r in manifest_.records("infer", 20)] == ["new"]
    right = blobs.read(later)
    blobs.write(later, blobs.read(older))
    assert [r["mark"] for r in manifest_.records("infer", 20)] == ["old"]
    assert manifest_.damage == Damage(stale=1)
    assert list(manifest_.faults("infer", 20)) == [RecordFault("stale", later)]
    header, _, line = right.partition(b"\n")
    blobs.write(later, header + b"\n" + blobs.read(older).split(b"\n")[1] + b"\n" + line)
    assert list(manifest_.faults("infer", 20)) == [RecordFault("stale", later, 1)]
    assert [r["mark"] for r in manifest_.records("infer", 20)] == ["new"]


def test_faults_name_the_line_and_are_taken_away_alone(blobs):
    with RecordWriter(blobs, JOB, "infer", MANY, "a") as writer:
        for item in (0, 1, 25, 2):
            writer.append(item, {"objects": []})
    ((key, _),) = blobs.list()
    lines = blobs.read(key).split(b"\n")
    lines[2] = lines[2][:-1]
    blobs.write(key, b"\n".join(lines))
    manifest_ = RunManifest(blobs, JOB)
    found = list(manifest_.faults("infer", 20))
    assert found == [RecordFault("torn", key, 2), RecordFault("foreign", key, 3)]
    manifest_.remove(key, frozenset(fault.line for fault in found))
    assert blobs.read(key) == b"\n".join([*lines[:2], lines[4], b""])
    assert done(blobs) == [0, 2]
    manifest_.remove(key, frozenset({1, 2}))
    assert list(blobs.list()) == []


@pytest.mark.parametrize("record", [[1], 7, {"no": "item"}, {"item": "3"}, {"item": True}, None])
def test_a_line_that_is_no_record_is_foreign(blobs, record):
    write(blobs, [0])
    ((key, _),) = blobs.list()
    body = json.dumps(record).encode()
    blobs.write(key, blobs.read(key) + line_checksum(body) + b" " + body + b"\n")
    manifest_ = RunManifest(blobs, JOB)
    assert list(manifest_.faults("infer", 20)) == [RecordFault("foreign", key, 2)]
    assert done(blobs) == [0]


def test_damage_is_counted_anew_every_time(blobs):
    write(blobs, [0, 0])
    manifest_ = RunManifest(blobs, JOB)
    for _ in range(2):
        manifest_.completed("infer", 20)
        assert manifest_.damage == Damage(duplicated=1)


def test_a_small_run_records_every_shard_at_once(blobs):
    """Killed at any moment, it loses what is being written at most."""
    writer = RecordWriter(blobs, JOB, "infer", 5000, "a")
    for item in range(3):
        writer.append(item, {})
        writer.wait()
        assert done(blobs, 5000) == list(range(item + 1))


def test_records_are_flushed_at_the_end_even_of_a_failing_block(blobs):
    def fail():
        with RecordWriter(blobs, JOB, "infer", MANY, "a") as writer:
            writer.append(7, {})
            assert done(blobs) == []
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert done(blobs) == [7]


def test_a_record_waits_twenty_seconds_at_most(blobs, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(record_writer.time, "monotonic", lambda: now[0])
    writer = RecordWriter(blobs, JOB, "infer", MANY, "a")
    writer.flush()  # starts the clock
    writer.append(0, {})
    now[0] = 19.0
    writer.append(1, {})
    writer.wait()
    assert done(blobs) == []
    now[0] = 20.5
    writer.append(2, {})
    writer.wait()
    assert done(blobs) == [0, 1, 2]
    now[0] = 40.0
    writer.append(3, {})
    writer.wait()
    assert done(blobs) == [0, 1, 2]


@dataclass
class SlowFolder:
    """Takes an object when it is told to, or refuses it; nothing was there before."""

    go: threading.Event = field(default_factory=threading.Event)
    full: bool = False
    objects: list[bytes] = field(default_factory=list)

    def write(self, _key, data):
        assert self.go.wait(30)
        if self.full:
            raise OSError(28, "No space left on device")
        self.objects.append(data)

    def list(self, _prefix):
        return iter(())


def items_of(data):
    """Items of the records in an object."""
    return [json.loads(line[17:])["item"] for line in data.splitlines()[1:]]


def test_what_comes_in_while_an_object_is_written_goes_into_the_next():
    folder = SlowFolder()
    with RecordWriter(folder, JOB, "infer", 5000, "a") as writer:
        for item in range(100):
            writer.append(item, {})
        folder.go.set()
    sizes = [len(items_of(data)) for data in folder.objects]
    assert sorted(itertools.chain.from_iterable(map(items_of, folder.objects))) == [*range(100)]
    assert len(sizes) <= 3
    assert sum(sizes) == 100


def test_a_driver_that_is_quicker_than_the_disk_waits_for_it():
    folder = SlowFolder()
    writer = RecordWriter(folder, JOB, "infer", 5000, "a")
    driver = threading.Thread(target=lambda: [writer.append(item, {}) for item in range(600)])
    driver.start()
    driver.join(0.5)
    assert driver.is_alive()
    folder.go.set()
    driver.join(30)
    writer.flush()
    assert sorted(itertools.chain.from_iterable(map(items_of, folder.objects))) == [*range(600)]


def test_an_object_that_cannot_be_written_is_told_and_its_records_are_kept():
    folder = SlowFolder(full=True)
    folder.go.set()
    writer = RecordWriter(folder, JOB, "infer", 5000, "a")
    writer.append(0, {})
    with pytest.raises(OSError, match="No space left"):
        writer.wait()
    folder.full = False
    writer.append(1, {})
    writer.flush()
    assert sorted(itertools.chain.from_iterable(map(items_of, folder.objects))) == [0, 1]


def test_a_full_disk_ends_the_stage():
    folder = SlowFolder(full=True)
    folder.go.set()

    def stage():
        with RecordWriter(folder, JOB, "infer", 5000, "a") as writer:
            writer.append(0, {})

    with pytest.raises(OSError, match="No space left"):
        stage()


@dataclass
class CountedFolder:
    """Counts objects and keeps none."""

    sizes: list[int] = field(default_factory=list)

    def write(self, key, data):
        self.sizes.append(len(data))

    def list(self, _prefix):
        """Nothing was there before."""
        return iter(())


@given(
    st.integers(1, 3000),
    st.lists(st.floats(0, 50), min_size=1, max_size=10),
)
def test_objects_are_limited_however_slow_the_shards(planned, pauses):
    """The limits in small: 20 full groups and 10 early ones, whatever the clock does."""
    now = itertools.accumulate(itertools.cycle(pauses))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(record_writer, "MAX_FULL_GROUPS", 20)
        patch.setattr(record_writer, "MAX_EARLY_GROUPS", 10)
        patch.setattr(record_writer.time, "monotonic", lambda: next(now))
        folder = CountedFolder()
        with RecordWriter(folder, JOB, "infer", planned, "a") as writer:
            writer.flush()  # starts the clock
            for item in range(planned):
                writer.append(item, {})
    assert len(folder.sizes) <= 20 + 10 + 1


def test_the_limits_keep_a_million_shards_in_ten_thousand_objects():
    assert record_writer.MAX_FULL_GROUPS + record_writer.MAX_EARLY_GROUPS + 1 <= 10_000


def test_appending_holds_one_group_and_reading_one_object(tmp_path, monkeypatch):
    """Memory does not grow with the number of records (but for 8 bytes an item)."""
    monkeypatch.setattr(record_writer, "MAX_FULL_GROUPS", 40)
    monkeypatch.setattr(record_writer, "FLUSH_SECONDS", 1e9)
    blobs = Blobs(str(tmp_path))
    total, record = 8_000, {"objects": [{"key": "0/c/0/0/0", "size": 1, "checksum": "0" * 32}]}
    tracemalloc.start()
    with RecordWriter(blobs, JOB, "infer", total, "a") as writer:
        for item in range(total):
            writer.append(item, record)
    count = sum(1 for _ in RunManifest(blobs, JOB).records("infer", total))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    stored = sum(size for _, size in blobs.list())
    assert count == total
    assert 20 <= len(list(blobs.list())) <= 40
    assert stored > 900_000
    assert peak < 400_000


@pytest.mark.slow
def test_a_million_shards(tmp_path):
    """Real records on a disk, with the program's own limits."""
    blobs, total = Blobs(str(tmp_path)), 10**6
    with RecordWriter(blobs, JOB, "infer", total, "a") as writer:
        for item in range(total):
            writer.append(item, {"objects": []})
    assert len(list(blobs.list())) < 10_000
    assert RunManifest(blobs, JOB).completed("infer", total).all()
