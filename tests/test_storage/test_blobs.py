import asyncio
import errno
import itertools
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from zarr.core.buffer import default_buffer_prototype

from storage import inventory, remote_folder, store_probe
from storage.blobs import Blobs
from storage.errors import StorageError
from storage.folders import fetch_folder, upload_folder
from storage.requests import Lap
from storage.stores import open_store


@pytest.fixture(params=["local", "s3"])
def blobs(request, tmp_path):
    """A folder, and a prefix of an S3 bucket."""
    if request.param == "local":
        return Blobs(str(tmp_path / "run"))
    return Blobs(request.getfixturevalue("bucket") + "/some/run")


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


def test_many_objects_come_in_the_order_in_which_they_are_asked_for(blobs):
    keys = [f"a/{number}" for number in range(40)]
    for key in keys:
        blobs.write(key, key.encode())
    asked = [*keys[::-1], keys[3]]
    assert list(blobs.read_each(iter(asked))) == [(key, key.encode()) for key in asked]
    assert list(blobs.read_each([])) == []
    with pytest.raises(FileNotFoundError):
        list(blobs.read_each([keys[0], "none"]))
    # Who stops early leaves nothing behind.
    assert next(iter(blobs.read_each(keys))) == (keys[0], keys[0].encode())


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


@pytest.mark.parametrize("folder", ["b", "b/d", "nothing/here"])
def test_only_what_lies_in_a_folder_is_listed(blobs, folder):
    """Names that only begin alike are no folder: b-side is not in b."""
    keys = ["a", "b/c", "b/d/e", "b-side/x", "b.json"]
    for key in keys:
        blobs.write(key, b"x")
    inside = sorted(key for key in keys if key.startswith(f"{folder}/"))
    assert [key for key, _ in blobs.list(folder)] == inside
    assert [key for key, _ in blobs.child(folder).list()] == [
        key.removeprefix(f"{folder}/") for key in inside
    ]


def test_names_that_need_quoting(blobs):
    keys = ["a b.json", "ä/µ", "100%", "x+y=z", "quo'te"]
    for key in keys:
        blobs.write(key, key.encode())
    assert [key for key, _ in blobs.list()] == sorted(keys)
    assert [blobs.read(key) for key in keys] == [key.encode() for key in keys]


def test_a_file_is_put_whole(blobs, tmp_path):
    source = tmp_path / "source"
    source.write_bytes(b"bytes of the file")
    blobs.upload("a/b", source)
    assert blobs.read("a/b") == b"bytes of the file"
    assert list(blobs.list()) == [("a/b", 17)]


def test_checking_leaves_nothing(blobs):
    blobs.write("there", b"1")
    before = list(blobs.versions())
    blobs.check_writable()
    assert list(blobs.versions()) == before
    assert blobs.child("not", "yet", "there").check_writable() is None
    assert list(blobs.versions()) == before


def test_leftovers_of_killed_writers(tmp_path, bucket):
    blobs = Blobs(str(tmp_path))
    blobs.write("records/a.jsonl", b"whole")
    left = [tmp_path / name for name in (".a.1f.partial", "records/.b.2e.partial")]
    for path in left:
        path.write_bytes(b"half")
    assert blobs.remove_partials() == 2
    assert not any(path.exists() for path in left)
    assert blobs.read("records/a.jsonl") == b"whole"
    assert Blobs(bucket).remove_partials() == 0


def test_a_lost_acknowledgement_is_no_second_creator(bucket, object_server):
    """Every put arrives and is answered by a failure once: its repetition meets its own object."""
    blobs, seen = Blobs(bucket), set()

    def lose(asked):
        first = asked.path not in seen
        seen.add(asked.path)
        return "lost 500 Internal Error" if asked.method == "PUT" and first else None

    with object_server.answering(lose):
        assert blobs.create("lock", b"mine")
        assert object_server.methods() == ["PUT", "PUT", "GET"]
        assert not blobs.create("lock", b"yours")
        blobs.write("record", b"mine")
    assert (blobs.read("lock"), blobs.read("record")) == (b"mine", b"mine")


def test_a_rival_that_is_gone_again_does_not_win(bucket, object_server):
    """Refused, and then nothing is there to compare with: the object is tried for again."""
    answers = iter(["412 Precondition Failed", None])
    with object_server.answering(lambda asked: next(answers) if asked.only_if_absent else None):
        assert Blobs(bucket).create("lock", b"mine")
    assert Blobs(bucket).read("lock") == b"mine"


def test_throttling_is_waited_for(bucket, object_server):
    blobs, number = Blobs(bucket), iter(range(1000))
    with object_server.answering(lambda asked: None if next(number) % 3 else "503 Slow Down"):
        for key in "abc":
            blobs.write(key, key.encode())
        assert [blobs.read(key) for key in "abc"] == [b"a", b"b", b"c"]
        assert [key for key, _ in blobs.list()] == ["a", "b", "c"]


def test_a_listing_that_ends_early_is_asked_for_again(bucket, object_server):
    """The first page, then one in the middle; nothing is told twice. Zarr's door does the same."""
    blobs = Blobs(f"{bucket}/many")
    keys = [f"{number:05d}" for number in range(1100)]
    put_all(object_server, bucket, [f"many/{key}" for key in keys])
    lists, cut = itertools.count(), {0, 2}
    with object_server.answering(lambda asked: "cut" if next(lists) in cut else None):
        assert [key for key, _ in blobs.list()] == keys
    lists, cut = itertools.count(), {0}
    with object_server.answering(lambda asked: "cut" if next(lists) in cut else None):
        assert asyncio.run(zarr_listing(f"{bucket}/many")) == keys
    with (
        object_server.answering(lambda asked: "cut"),
        pytest.raises(ConnectionError, match="no usable answer"),
    ):
        list(blobs.list())


def every_second():
    """Tears every second answer, the first one too."""
    turns = itertools.count()
    return lambda asked: "torn" if next(turns) % 2 == 0 and asked.method != "HEAD" else None


@pytest.mark.parametrize(
    ("request_one", "expected"),
    [
        (lambda blobs: blobs.read("there"), b"content" * 100),
        (lambda blobs: blobs.exists("absent"), False),
        (lambda blobs: [key for key, _ in blobs.list()], ["there"]),
        (lambda blobs: blobs.create("there", b"other"), False),
        (lambda blobs: asyncio.run(zarr_bytes(blobs.url, "there")), b"content" * 100),
        (lambda blobs: asyncio.run(zarr_bytes(blobs.url, "absent")), None),
        (lambda blobs: asyncio.run(zarr_listing(blobs.url)), ["there"]),
        (lambda blobs: inventory.folders(blobs.url.rpartition("/")[0]), ["folder"]),
        (lambda blobs: inventory.usage(blobs.url).objects, 1),
        (lambda blobs: store_probe.check_store(blobs.url), None),
    ],
)
def test_an_answer_that_ends_early_is_asked_for_again(bucket, object_server, request_one, expected):
    blobs = Blobs(f"{bucket}/folder")
    blobs.write("there", b"content" * 100)
    with object_server.answering(every_second()):
        assert request_one(blobs) == expected
    assert blobs.read("there") == b"content" * 100


def test_an_absent_object_of_which_only_half_an_answer_comes(bucket, object_server):
    """The client itself repeats the answer about an object that is there, not this one."""
    with object_server.answering(every_second()), pytest.raises(FileNotFoundError):
        Blobs(f"{bucket}/folder").read("absent")
    with (
        object_server.answering(lambda asked: "torn"),
        pytest.raises(ConnectionError, match="no usable answer"),
    ):
        Blobs(f"{bucket}/folder").read("absent")
    assert len(object_server.methods()) < 30


async def zarr_bytes(url, key):
    found = await open_store(url).get(key, default_buffer_prototype())
    return None if found is None else found.to_bytes()


async def zarr_listing(url):
    return sorted([key async for key in open_store(url).list_dir("")])


def test_listing_and_removing_by_the_thousand(bucket, object_server):
    blobs = Blobs(f"{bucket}/many")
    keys = [f"{number:05d}" for number in range(1100)]
    put_all(object_server, bucket, [f"many/{key}" for key in keys])
    lap = Lap()
    assert [key for key, _ in blobs.list()] == keys
    assert object_server.methods() == ["GET"] * 2
    assert lap() == {"list": 2}
    blobs.delete_all()
    assert sorted(object_server.methods()) == ["GET"] * 2 + ["POST"] * 2
    assert lap() == {"list": 2, "delete": 2}
    assert list(blobs.list()) == []


def put_all(server, bucket, keys):
    """Put empty objects past the server's front: thousands of requests would take seconds."""
    from moto.s3.models import s3_backends

    backend = s3_backends["123456789012"]["aws"]
    for key in keys:
        backend.put_object(bucket.removeprefix("s3://"), key, b"")
    server.asked.clear()


def test_large_objects_go_in_parts(bucket, object_server, tmp_path, monkeypatch):
    monkeypatch.setattr(remote_folder, "MULTIPART_BYTES", 2**20)
    monkeypatch.setattr(remote_folder, "PART_BYTES", 5 * 2**20)
    blobs, lap = Blobs(bucket), Lap()
    large = np.random.default_rng(1).bytes(12 * 2**20)
    blobs.write("large", large)
    # Begun, three parts of 5, 5 and 2 MiB, completed.
    assert sorted(object_server.methods()) == ["POST", "POST", "PUT", "PUT", "PUT"]
    assert lap() == {"put": 5, "bytes_written": 12 * 2**20}
    assert blobs.read("large") == large
    (tmp_path / "file").write_bytes(large)
    blobs.upload("file", tmp_path / "file")
    assert blobs.read("file") == large
    # What decides between writers is never put in parts, whatever its size.
    object_server.asked.clear()
    assert blobs.create("marker", large[: 2**21])
    assert object_server.methods() == ["PUT"]


def test_requests_are_counted(bucket, object_server):
    blobs, lap = Blobs(bucket), Lap()
    blobs.write("a", b"12345")
    blobs.read("a")
    blobs.exists("a")
    blobs.exists("b")
    blobs.create("a", b"1")
    blobs.delete("a")
    list(blobs.list())
    asked = object_server.methods()
    assert asked == ["PUT", "GET", "HEAD", "HEAD", "PUT", "GET", "POST", "GET"]
    counted = {"put": 2, "get": 2, "head": 2, "delete": 1, "list": 1}
    assert lap() == counted | {"bytes_read": 10, "bytes_written": 6}


def test_local_folders_make_no_requests(tmp_path):
    lap = Lap()
    Blobs(str(tmp_path)).write("a", b"1")
    assert lap() == {}


def test_a_whole_bucket_is_never_removed(bucket, object_server, monkeypatch):
    for url in (bucket, f"{bucket}/"):
        with pytest.raises(StorageError, match="is a whole bucket; name a prefix in it"):
            Blobs(url).delete_all()
    assert object_server.methods() == []
    monkeypatch.setattr(shutil, "rmtree", lambda *_args, **_options: pytest.fail("removed"))
    with pytest.raises(StorageError, match="is the root of the file system; name a folder in it"):
        Blobs("/").delete_all()


def test_fetch_folder(tmp_path, bucket):
    (tmp_path / "bundle").mkdir()
    assert fetch_folder(str(tmp_path / "bundle"), ["card.json"]) == tmp_path / "bundle"
    with pytest.raises(FileNotFoundError, match="none is not a folder; give the folder"):
        fetch_folder(str(tmp_path / "none"), [])
    url = f"{bucket}/bundle"
    with pytest.raises(FileNotFoundError, match=r"/bundle holds no card\.json; give the URL of a"):
        fetch_folder(url, ["card.json"])
    for key, data in {"card.json": b"{}", "sub/weights": b"123", "other": b"x"}.items():
        Blobs(url).write(key, data)
    folder = fetch_folder(url, ["card.json"])
    assert [path.name for path in folder.iterdir()] == ["card.json"]
    assert folder.name == "bundle"
    assert folder.parent.stat().st_mode & 0o777 == 0o700
    whole = fetch_folder(url, ["card.json"], everything=True)
    assert (whole / "sub" / "weights").read_bytes() == b"123"


def test_a_folder_is_fetched_once_until_it_changes(bucket, object_server):
    url = f"{bucket}/bundle"
    Blobs(url).write("card.json", b"1")
    first = fetch_folder(url, ["card.json"])
    object_server.asked.clear()
    assert fetch_folder(url, ["card.json"]) == first
    assert object_server.methods() == ["GET"]  # the listing alone
    Blobs(url).write("card.json", b"2")
    assert fetch_folder(url, ["card.json"]) != first
    assert (fetch_folder(url, ["card.json"]) / "card.json").read_bytes() == b"2"


def test_a_fetched_folder_is_gone_when_the_process_ends(bucket):
    Blobs(bucket).write("bundle/card.json", b"1")
    code = (
        "from storage.folders import fetch_folder\n"
        f"print(fetch_folder('{bucket}/bundle', ['card.json']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    folder = Path(done.stdout.strip())
    assert folder.name == "bundle"
    assert not folder.exists()
    assert not folder.parent.exists()


def test_a_folder_is_put_with_one_file_last(tmp_path, bucket, object_server):
    for name in ("card.json", "model.keras", "training/epochs.json"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
    upload_folder(tmp_path, f"{bucket}/bundle", "card.json")
    put = [asked.path.rsplit("bundle/")[1] for asked in object_server.asked]
    assert put == ["model.keras", "training/epochs.json", "card.json"]
    assert Blobs(bucket).read("bundle/training/epochs.json") == b"training/epochs.json"
