import errno
import os
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from obstore.store import MemoryStore

from storage import blobs as blobs_module
from storage.blobs import Blobs, fetch_folder


@pytest.fixture(params=["local", "remote"])
def blobs(request, tmp_path, monkeypatch):
    """A folder, and an object store: obstore's own, in memory."""
    if request.param == "local":
        return Blobs(str(tmp_path / "run"))
    store = MemoryStore()
    monkeypatch.setattr(blobs_module, "open_remote", lambda url: store)
    return Blobs("s3://bucket/run")


def test_write_read_replace_delete(blobs):
    assert not blobs.exists("a/b.json")
    with pytest.raises(FileNotFoundError):
        blobs.read("a/b.json")
    blobs.write("a/b.json", b"one")
    assert (blobs.read("a/b.json"), blobs.exists("a/b.json")) == (b"one", True)
    blobs.write("a/b.json", b"")
    assert blobs.read("a/b.json") == b""
    blobs.delete("a/b.json")
    blobs.delete("a/b.json")  # twice is no error
    assert not blobs.exists("a/b.json")


def test_create_only_if_absent(blobs):
    assert blobs.create("lock", b"mine")
    assert not blobs.create("lock", b"yours")
    assert blobs.read("lock") == b"mine"
    blobs.delete("lock")
    assert blobs.create("lock", b"yours")


def test_keys_sizes_and_order(blobs):
    keys = ["b.json", "a/2", "a/10", "a/sub/x", "a.json", "c/d"]
    for size, key in enumerate(keys):
        blobs.write(key, bytes(size))
    assert list(blobs.list()) == [(key, keys.index(key)) for key in sorted(keys)]
    assert [key for key, _ in blobs.list("a")] == ["a/10", "a/2", "a/sub/x"]
    assert list(blobs.list("none")) == []


def test_a_version_changes_with_its_object(blobs):
    blobs.write("a", b"1")
    blobs.write("b", b"1")
    before = {key: version for key, _, version in blobs.versions()}
    blobs.write("a", b"2")
    after = {key: version for key, _, version in blobs.versions()}
    assert before["a"] != after["a"]
    assert before["b"] == after["b"]


def test_delete_all(blobs):
    blobs.delete_all()  # nothing there is no error
    for key in ("a", "b/c", "b/d/e"):
        blobs.write(key, b"x")
    blobs.delete_all()
    assert list(blobs.list()) == []


def test_exactly_one_creator_wins(blobs):
    barrier = threading.Barrier(16)
    won = []

    def run(number):
        barrier.wait()
        if blobs.create("lock", str(number).encode()):
            won.append(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert blobs.read("lock") == str(won[0]).encode()


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(["a", "b/c", "b/d", "b/e/f"]), st.binary(max_size=40)))
def test_what_is_written_is_what_is_listed_and_read(blobs, contents):
    blobs.delete_all()
    for key, data in contents.items():
        blobs.write(key, data)
    assert {key: blobs.read(key) for key, _ in blobs.list()} == contents
    assert dict(blobs.list()) == {key: len(data) for key, data in contents.items()}


def test_child():
    assert Blobs("s3://bucket/run").child("records", "infer").url == "s3://bucket/run/records/infer"


def test_a_child_of_an_object_store_is_the_same_folder(tmp_path):
    Blobs(str(tmp_path)).child("a").write("b", b"1")
    assert Blobs(str(tmp_path)).read("a/b") == b"1"


@pytest.mark.parametrize("write", [Blobs.write, Blobs.create])
def test_a_failing_write_leaves_the_old_object_and_nothing_else(tmp_path, monkeypatch, write):
    blobs = Blobs(str(tmp_path))
    blobs.write("old", b"old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for key in ("old", "new"):
        with pytest.raises(OSError, match="No space left"):
            write(blobs, key, b"torn")
    assert blobs.read("old") == b"old"
    assert [path.name for path in tmp_path.rglob("*")] == ["old"]


def test_half_written_objects_are_not_listed(tmp_path, monkeypatch):
    """A process killed before the rename leaves a partial file; a reader never meets it."""
    blobs = Blobs(str(tmp_path))
    monkeypatch.setattr(Path, "replace", lambda partial, path: None)
    blobs.write("zarr.json", b"half")
    assert len(list(tmp_path.iterdir())) == 1
    assert list(blobs.list()) == []
    assert not blobs.exists("zarr.json")


def test_bytes_and_name_are_synced(tmp_path, monkeypatch):
    """A rename alone can leave an empty file after a power cut."""
    synced, real = [], os.fsync

    def fsync(descriptor):
        synced.append(Path(f"/proc/self/fd/{descriptor}").resolve())
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    Blobs(str(tmp_path)).write("folder/key", b"1")
    assert [path.suffix for path in synced] == [".partial", ""]
    assert synced[1] == tmp_path / "folder"


def test_readers_see_the_old_object_or_the_new_one(tmp_path):
    blobs = Blobs(str(tmp_path))
    contents = [bytes([value]) * 200_000 for value in (1, 2)]
    blobs.write("key", contents[0])
    stop, seen = threading.Event(), set()

    def read():
        while not stop.is_set():
            seen.add(blobs.read("key"))

    reader = threading.Thread(target=read)
    reader.start()
    for turn in range(60):
        blobs.write("key", contents[turn % 2])
    stop.set()
    reader.join()
    assert seen <= set(contents)


def test_a_lost_acknowledgement_is_no_second_creator(monkeypatch):
    """The retry of a put that had arrived meets its own object."""
    store = MemoryStore()
    monkeypatch.setattr(blobs_module, "open_remote", lambda url: store)
    blobs = Blobs("s3://bucket/run")
    store.put("lock", b"mine")
    assert blobs.create("lock", b"mine")
    assert not blobs.create("lock", b"yours")


def test_fetch_folder(tmp_path, monkeypatch):
    (tmp_path / "bundle").mkdir()
    assert fetch_folder(str(tmp_path / "bundle")) == tmp_path / "bundle"
    with pytest.raises(FileNotFoundError, match="none is not a folder; give the folder"):
        fetch_folder(str(tmp_path / "none"))
    store = MemoryStore()
    monkeypatch.setattr(blobs_module, "open_remote", lambda url: store)
    with pytest.raises(FileNotFoundError, match="holds no objects; give the URL of a bundle"):
        fetch_folder("s3://bucket/bundle")
    store.put("card.json", b"{}")
    store.put("sub/weights", b"123")
    monkeypatch.setattr(blobs_module.tempfile, "mkdtemp", lambda prefix: str(tmp_path / "copy"))
    folder = fetch_folder("s3://bucket/bundle")
    assert (folder / "card.json").read_bytes() == b"{}"
    assert (folder / "sub" / "weights").read_bytes() == b"123"
