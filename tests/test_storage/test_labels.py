import json
import shutil
import subprocess
import sys
import threading
import warnings

import pytest
import zarr

from storage import labels
from storage.blobs import Blobs
from storage.errors import StorageError
from storage.label_names import check_name, is_version_of, label_url
from storage.labels import group_document, label_layout, listed, publish, stage
from storage.lease import LeaseBusyError, LeaseLostError, hold
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


def publish_one(url, name):
    """What a process of its own does."""
    publish(url, f"{name}-00000001", name, lock_url=f"{url}.runs", owner=name)


def test_publishing_processes_at_once_lose_nothing(image):
    names = ["a", "b", "c"]
    for name in names:
        staged(image, f"{name}-00000001", name)
    code = (
        "import sys; from storage.labels import publish; url, name = sys.argv[1:]; "
        "publish(url, f'{name}-00000001', name, lock_url=f'{url}.runs', owner=name)"
    )
    command = [sys.executable, "-c", code, image.url]
    processes = [subprocess.Popen([*command, name]) for name in names]
    assert [process.wait(60) for process in processes] == [0] * len(names)
    assert sorted(listed(image.url)) == [f"{name}-00000001" for name in names]


def test_publishers_of_an_object_store_lose_nothing(bucket):
    url, names = f"{bucket}/fly.zarr", [f"n{i}" for i in range(6)]
    run_all(lambda name: publish_one(url, name), names)
    assert sorted(listed(url)) == [f"{name}-00000001" for name in names]
    assert list(Blobs(f"{url}.runs").list()) == []


def run_all(function, arguments):
    threads = [threading.Thread(target=function, args=(argument,)) for argument in arguments]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


# ---------------------------------------------------------------------------------------- lock


def test_publishing_waits_for_its_lock_and_names_the_holder(image, monkeypatch):
    staged(image, "cells-00000001")
    monkeypatch.setattr(labels, "LOCK_WAIT_SECONDS", 0.1)
    with (
        hold(Blobs(f"{image.url}.runs"), "publish.lock", "another run"),
        pytest.raises(LeaseBusyError, match=r"publish\.lock is held by another run"),
    ):
        published(image, "cells-00000001", "cells")
    assert listed(image.url) == ()
    published(image, "cells-00000001", "cells")


def test_a_publisher_that_lost_its_lock_changes_nothing(image, monkeypatch):
    staged(image, "cells-00000001")
    real = labels.listed

    def taken_over(url):
        Blobs(f"{image.url}.runs").write("publish.lock", b'{"owner": "a faster one"}')
        return real(url)

    monkeypatch.setattr(labels, "listed", taken_over)
    with pytest.raises(LeaseLostError, match="taken over by a faster one"):
        published(image, "cells-00000001", "cells")
    assert real(image.url) == ()


def test_other_attributes_of_the_labels_group_stay(tmp_path):
    group = Blobs(str(tmp_path / "image.zarr" / "labels"))
    group.write("zarr.json", group_document({"mine": 1, **labels.labels_attributes(["old"])}))
    publish(str(tmp_path / "image.zarr"), "new", "new", lock_url=str(tmp_path / "l"), owner="me")
    attributes = json.loads(group.read("zarr.json"))["attributes"]
    assert attributes["mine"] == 1
    assert attributes["ome"]["labels"] == ["old", "new"]


# -------------------------------------------------------------------- consolidated metadata


def consolidate(url, path=None):
    """Let zarr itself write the copies."""
    with warnings.catch_warnings():
        # Zarr warns that other implementations may not know them.
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(url, path=path)


def copies(url):
    """What the document of a group says of everything below it; None without copies."""
    found = json.loads(Blobs(url).read("zarr.json")).get("consolidated_metadata")
    return found and found["metadata"]


def consolidated_anew(url, tmp_path):
    """The copies that zarr makes of a store as it is now."""
    fresh = tmp_path / "fresh.zarr"
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.copytree(url, fresh)
    consolidate(str(fresh))
    return copies(str(fresh))


def seen_through_copies(url):
    """Labels and their level shapes, as a reader finds them that looks at the copies only."""
    group = zarr.open_group(url, mode="r", use_consolidated=True)["labels"]
    names = group.attrs["ome"]["labels"]
    return {name: [array.shape for _, array in sorted(group[name].arrays())] for name in names}


def test_consolidated_metadata_follows_a_publication(image, tmp_path):
    staged(image, "truth", "truth")
    published(image, "truth", "truth")
    staged(image, "cells-00000001")
    consolidate(image.url)
    expected = [(6, 40, 50), (6, 20, 25)]
    assert seen_through_copies(image.url) == {"truth": expected}
    published(image, "cells-00000001", "cells")
    assert seen_through_copies(image.url) == {"truth": expected, "cells-00000001": expected}
    staged(image, "cells-00000002")
    published(image, "cells-00000002", "cells")
    assert seen_through_copies(image.url) == {"truth": expected, "cells-00000002": expected}
    # Zarr, asked to make them all anew, makes the same.
    assert copies(image.url) == consolidated_anew(image.url, tmp_path)
    assert zarr.open_group(image.url)["labels"].attrs["ome"]["labels"][-1] == "cells-00000002"


def test_consolidated_metadata_of_the_labels_alone(image):
    staged(image, "truth", "truth")
    published(image, "truth", "truth")
    consolidate(image.url, "labels")
    staged(image, "cells-00000001")
    before = Blobs(image.url).read("zarr.json")
    published(image, "cells-00000001", "cells")
    assert Blobs(image.url).read("zarr.json") == before
    assert sorted(copies(f"{image.url}/labels")) == [
        *("cells-00000001", "cells-00000001/0", "cells-00000001/1"),
        *("truth", "truth/0", "truth/1"),
    ]
    group = zarr.open_group(f"{image.url}/labels", mode="r", use_consolidated=True)
    assert group["cells-00000001/1"].shape == (6, 20, 25)


def test_metadata_without_copies_stays_without(image):
    staged(image, "cells-00000001")
    published(image, "cells-00000001", "cells")
    assert copies(image.url) is copies(f"{image.url}/labels") is None


def test_copies_of_another_kind_are_left_alone(image):
    root = Blobs(image.url)
    document = json.loads(root.read("zarr.json"))
    document["consolidated_metadata"] = {"kind": "elsewhere", "metadata": {}}
    root.write("zarr.json", json.dumps(document).encode())
    before = root.read("zarr.json")
    staged(image, "cells-00000001")
    published(image, "cells-00000001", "cells")
    assert root.read("zarr.json") == before
