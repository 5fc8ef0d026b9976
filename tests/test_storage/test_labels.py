import json
import threading
import time

import pytest
import zarr

from storage import labels
from storage.blobs import Blobs
from storage.errors import StorageError
from storage.label_names import check_name, is_version_of, label_url
from storage.labels import (
    group_document,
    label_layout,
    listed,
    publish,
    publish_lock,
    stage,
)
from storage.ome import ImageMetadata, Level, image_attributes, make_axes
from storage.ome_labels import label_classes, parse_label_classes
from storage.volume import open_image, open_label, published_labels
from storage.write_grid import choose_chunks, create_array

CLASSES = label_classes({0: "background", 1: "cell"})


@pytest.fixture
def image(tmp_path):
    """Two channels, two levels, chunks of one section."""
    url = tmp_path / "fly.zarr"
    shapes = ((2, 6, 40, 50), (2, 6, 20, 25))
    for path, shape in zip("01", shapes, strict=True):
        chunk = (1, 1, 16, 16)
        create_array(
            str(url), path, shape=shape, dtype="uint16", chunks=chunk, shards=chunk, axes="czyx"
        )
    levels = (
        Level("0", (1.0, 40.0, 4.0, 4.0), (0.0,) * 4),
        Level("1", (1.0, 40.0, 8.0, 8.0), (0.0, 0.0, 2.0, 2.0)),
    )
    metadata = ImageMetadata("0.5", "fly", make_axes("czyx", "nanometer"), levels)
    (url / "zarr.json").write_bytes(group_document(image_attributes(metadata)))
    return open_image(str(url))


def staged(image, directory, name="cells", **changes):
    options = {"classes": CLASSES, "dtype": "uint8", "itemsize": 1, "provenance": {"run": 1}}
    return stage(image, image.url, directory, name=name, **{**options, **changes})


def published(image, directory, name, owner="test"):
    return publish(image.url, directory, name, lock_url=f"{image.url}.runs", owner=owner)


# --------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    "name", ["cells", "Cells-2", "0", "a.b_c-d", "mito.v2", "x" * 64, "cells-0123abcd"]
)
def test_good_name(name):
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a/b",  # a folder inside another
        "../truth",
        "a..b",
        ".hidden",
        "-flag",
        "_a",
        "a b",
        "a\n",
        "zellkörper",
        "a\\b",
        "a:b",
        "x" * 65,
    ],
)
def test_bad_name(name):
    with pytest.raises(StorageError, match=r"label name '.*' is not usable; use up to 64 letters"):
        check_name(name)


@pytest.mark.parametrize(
    ("directory", "expected"),
    [
        ("cells", True),
        ("cells-0123abcd", True),
        ("cells-0123abcd-2", True),
        ("cells-0123abcd-13", True),
        ("cells-0123ABCD", False),  # keys are lower case
        ("cells-0123abc", False),
        ("cells-big", False),  # another name
        ("cells-big-0123abcd", False),
        ("cells-0123abcd-x", False),
        ("my-cells-0123abcd", False),
        ("cellsX0123abcd", False),
    ],
)
def test_versions_of_a_name(directory, expected):
    assert is_version_of(directory, "cells") == expected


def test_a_dot_in_a_name_is_a_dot():
    assert is_version_of("a.b-0123abcd", "a.b")
    assert not is_version_of("axb-0123abcd", "a.b")


# ------------------------------------------------------------------------------------- staging


def test_layout_is_the_images_without_channels(image):
    layout = label_layout(image, itemsize=2)
    assert layout.axes == "zyx"
    assert layout.shapes == ((6, 40, 50), (6, 20, 25))
    expected = [choose_chunks(shape, "zyx", 2, planar=True) for shape in layout.shapes]
    assert list(zip(layout.chunks, layout.cells, strict=True)) == expected
    assert layout.chunks[0][0] == 1  # the image's chunks are sections, so are the label's


def test_a_staged_version_is_invisible(image):
    staged(image, "cells-0123abcd")
    assert listed(image.url) == published_labels(image.url) == ()
    with pytest.raises(StorageError, match=r"'cells' is not in .*labels there: none"):
        open_label(image.url, "cells")
    label = open_label(image.url, "cells-0123abcd")  # by its folder
    assert label.metadata.name == "cells"
    assert label.metadata.axis_names == "zyx"
    assert [level.scale for level in label.metadata.levels] == [(40.0, 4.0, 4.0), (40.0, 8.0, 8.0)]
    assert label.metadata.levels[1].translation == (0.0, 2.0, 2.0)
    assert label.attributes["maskmill"] == {"run": 1}
    assert label.attributes["ome"]["image-label"]["source"] == {"image": "../../"}
    assert parse_label_classes(label.attributes) == CLASSES
    layout = label_layout(image, itemsize=1)
    for volume, shape, chunk, cell in zip(
        label.volumes, layout.shapes, layout.chunks, layout.cells, strict=True
    ):
        assert (volume.shape, volume.chunks, volume.shards) == (shape, chunk, cell)
        assert volume.dtype == "uint8"


def test_staging_again_changes_nothing(image):
    first = staged(image, "cells-0123abcd")
    group = Blobs(label_url(image.url, "cells-0123abcd"))
    before = list(group.versions())
    assert staged(image, "cells-0123abcd", provenance={"run": 2}) == first
    assert list(group.versions()) == before


def test_a_version_torn_while_staging_is_staged_again(image):
    """The group's metadata comes last: without it the version is made anew."""
    staged(image, "cells-0123abcd")
    group = Blobs(label_url(image.url, "cells-0123abcd"))
    group.delete("zarr.json")
    group.delete("1/zarr.json")
    staged(image, "cells-0123abcd")
    assert len(open_label(image.url, "cells-0123abcd").volumes) == 2


# ---------------------------------------------------------------------------------- publishing


def test_publish_replaces_versions_of_its_name_and_keeps_others(image):
    for directory, name in (
        ("cells-00000001", "cells"),
        ("cells-big-00000001", "cells-big"),
        ("truth", "truth"),
        ("cells-00000002", "cells"),
    ):
        staged(image, directory, name)
    assert published(image, "cells-00000001", "cells") == []
    assert published(image, "cells-big-00000001", "cells-big") == []
    assert published(image, "truth", "truth") == []
    assert published(image, "cells-00000002", "cells") == ["cells-00000001"]
    assert listed(image.url) == ("cells-big-00000001", "truth", "cells-00000002")
    assert open_label(image.url, "cells").url.endswith("cells-00000002")
    # The old version is there still, for a rollback, which is a publication too.
    assert published(image, "cells-00000001", "cells") == ["cells-00000002"]
    assert open_label(image.url, "cells").url.endswith("cells-00000001")


def test_publish_twice_lists_once(image):
    staged(image, "cells-00000001")
    published(image, "cells-00000001", "cells")
    assert published(image, "cells-00000001", "cells") == []
    assert listed(image.url) == ("cells-00000001",)


def test_publish_leaves_the_image_alone_and_the_lock_open(image):
    before = Blobs(image.url).read("zarr.json")
    staged(image, "cells-00000001")
    published(image, "cells-00000001", "cells")
    assert Blobs(image.url).read("zarr.json") == before
    assert list(Blobs(f"{image.url}.runs").list()) == []


def test_publish_beside_an_image_that_cannot_be_written(image, tmp_path):
    """A container of its own becomes a Zarr group, and its label points back."""
    out = str(tmp_path / "out.zarr")
    options = {"classes": None, "dtype": "uint32", "itemsize": 4, "provenance": {}}
    stage(image, out, "cells-00000001", name="cells", source=image.url, **options)
    publish(out, "cells-00000001", "cells", lock_url=f"{out}.runs", owner="test")
    assert isinstance(zarr.open(out, mode="r"), zarr.Group)
    label = open_label(out, "cells")
    assert label.attributes["ome"]["image-label"]["source"] == {"image": image.url}
    assert parse_label_classes(label.attributes) == ()


def test_publishers_at_once_lose_nothing(image):
    names = [f"n{i}" for i in range(8)]
    for name in names:
        staged(image, f"{name}-00000001", name)
    barrier = threading.Barrier(len(names))

    def run(name):
        barrier.wait()
        published(image, f"{name}-00000001", name, owner=name)

    run_all(run, names)
    assert sorted(listed(image.url)) == [f"{name}-00000001" for name in names]


def run_all(function, arguments):
    threads = [threading.Thread(target=function, args=(argument,)) for argument in arguments]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


# ---------------------------------------------------------------------------------------- lock


def locked_by(folder, owner, *, seconds_ago):
    content = {"owner": owner, "taken": time.time() - seconds_ago}
    assert folder.create("publish.lock", json.dumps(content).encode())


def test_a_fresh_lock_is_respected(tmp_path):
    folder = Blobs(str(tmp_path))
    locked_by(folder, "host-7", seconds_ago=50)
    with (
        pytest.raises(
            StorageError, match=r"locked by host-7; if it is gone, remove .*publish\.lock"
        ),
        publish_lock(folder, "me", wait_seconds=0),
    ):
        pass
    assert folder.exists("publish.lock")


def test_a_stale_lock_is_taken_over(tmp_path):
    folder = Blobs(str(tmp_path))
    locked_by(folder, "host-7", seconds_ago=61)
    with publish_lock(folder, "me", wait_seconds=0):
        assert json.loads(folder.read("publish.lock"))["owner"] == "me"
    assert not folder.exists("publish.lock")


def test_the_lock_opens_after_an_error(tmp_path):
    folder = Blobs(str(tmp_path))
    with pytest.raises(RuntimeError, match="stop"), publish_lock(folder, "me"):
        raise RuntimeError("stop")
    with publish_lock(folder, "you", wait_seconds=0):
        pass


def test_a_stale_lock_has_one_successor(tmp_path, monkeypatch):
    """Two find it stale; the slower one must not remove the lock the faster one took."""
    folder = Blobs(str(tmp_path))
    locked_by(folder, "host-7", seconds_ago=61)
    both_have_read = threading.Barrier(2)
    real, first_read = labels._read_lock, threading.local()
    inside, most_inside, delay = [], [], {"slow": 0.3, "fast": 0.0}

    def read(folder, key):
        holder = real(folder, key)
        if not hasattr(first_read, "done"):
            first_read.done = True
            both_have_read.wait()
            time.sleep(delay[threading.current_thread().name])
        return holder

    def run():
        with publish_lock(folder, threading.current_thread().name):
            inside.append(1)
            most_inside.append(len(inside))
            time.sleep(0.6)
            inside.pop()

    monkeypatch.setattr(labels, "_read_lock", read)
    threads = [threading.Thread(target=run, name=name) for name in delay]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most_inside == [1, 1]


def test_other_attributes_of_the_labels_group_stay(tmp_path):
    group = Blobs(str(tmp_path / "image.zarr" / "labels"))
    group.write("zarr.json", group_document({"mine": 1, **labels.labels_attributes(["old"])}))
    publish(str(tmp_path / "image.zarr"), "new", "new", lock_url=str(tmp_path / "l"), owner="me")
    attributes = json.loads(group.read("zarr.json"))["attributes"]
    assert attributes["mine"] == 1
    assert attributes["ome"]["labels"] == ["old", "new"]
