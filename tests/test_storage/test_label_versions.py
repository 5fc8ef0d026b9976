import json
import os
import shutil
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import zarr

from storage.blobs import Blobs
from storage.convert import import_image, import_labels
from storage.errors import StorageError
from storage.inventory import Usage, folders, store_time, usage, written
from storage.label_versions import label_folders, name_of_version, remove_folder, remove_version
from storage.labels import listed, publish
from storage.volume import open_label


@pytest.fixture(params=["local", "s3"])
def folder(request, tmp_path):
    if request.param == "local":
        return Blobs(str(tmp_path / "run"))
    return Blobs(f"{request.getfixturevalue('bucket')}/run")


# -------------------------------------------------------------------------------- inventory


def test_folders_and_sizes(folder):
    assert folders(folder.url) == []
    assert usage(folder.url) == Usage(0, 0, 0.0)
    for key, data in (("b/c/d", b"12"), ("a/x", b"345"), ("top", b"6")):
        folder.write(key, data)
    assert folders(folder.url) == ["a", "b"]
    assert folders(f"{folder.url}/b") == ["c"]
    found = usage(folder.url)
    assert (found.objects, found.bytes) == (3, 6)
    assert usage(f"{folder.url}/a").bytes == 3
    assert found.newest == max(written(folder, key) for key in ("b/c/d", "a/x", "top"))


def test_times_are_the_stores(folder, monkeypatch):
    folder.write("early", b"1")
    monkeypatch.setattr(time, "time", lambda: 12.0)
    now = store_time(folder)
    assert [key for key, _ in folder.list()] == ["early"]
    # An object store counts whole seconds.
    assert 0 <= now - written(folder, "early") + 1 < 60
    assert written(folder, "none") is None


def test_an_hour_is_an_hour(tmp_path):
    folder = Blobs(str(tmp_path))
    folder.write("old", b"1")
    now = store_time(folder)
    os.utime(tmp_path / "old", (now - 3600, now - 3600))
    assert store_time(folder) - written(folder, "old") == pytest.approx(3600, abs=30)


# --------------------------------------------------------------------------------- versions


@pytest.mark.parametrize(
    ("directory", "name"),
    [
        ("cells-1f0c9a7e", "cells"),
        ("cells-1f0c9a7e-12", "cells"),
        ("cells-big-1f0c9a7e", "cells-big"),
        ("cells-00000001-00000002", "cells-00000001"),
        ("cells", None),
        ("cells-1F0C9A7E", None),
        ("cells-1f0c9a7", None),
        ("-1f0c9a7e", None),
    ],
)
def test_the_name_of_a_version(directory, name):
    assert name_of_version(directory) == name


@pytest.fixture
def image(tmp_path):
    """An image with the labels cells and other, with copies of all metadata; its URL."""
    voxels = np.arange(1, 5 * 64 * 64 + 1, dtype=np.uint16).reshape(5, 64, 64) % 200 + 1
    np.save(tmp_path / "v.npy", voxels)
    url = import_image([str(tmp_path / "v.npy")], str(tmp_path / "i.zarr"), axes="zyx").url
    for name in ("cells-00000001", "other"):
        import_labels([str(tmp_path / "v.npy")], url, name=name, axes="zyx", instances=True)
    shutil.copytree(f"{url}/labels/cells-00000001", f"{url}/labels/cells-00000002")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(url)
        zarr.consolidate_metadata(url, path="labels")
    return url


def remove(image, directory):
    remove_version(image, directory, lock_url=f"{image}.runs", owner="test")


def test_what_is_published_is_not_removed(image):
    with pytest.raises(StorageError, match="cells-00000001 is published; publish another"):
        remove(image, "cells-00000001")
    assert open_label(image, "cells-00000001").volumes[0][0, 0, 0] == 2
    assert list(Blobs(f"{image}.runs").list()) == []


def test_a_removed_version_is_gone_from_everywhere(image):
    publish(image, "cells-00000002", "cells", lock_url=f"{image}.runs", owner="test")
    remove(image, "cells-00000001")
    assert label_folders(image) == ["cells-00000002", "other"]
    for group in (image, f"{image}/labels"):
        document = json.loads(Path(group, "zarr.json").read_text())
        paths = document["consolidated_metadata"]["metadata"]
        assert not [path for path in paths if "cells-00000001" in path]
        assert len([path for path in paths if "cells-00000002" in path]) == 2
    opened = zarr.open_group(image, mode="r", use_consolidated=True)
    assert opened["labels/cells-00000002/0"].shape == (5, 64, 64)
    assert opened["labels/other/0"].shape == (5, 64, 64)
    assert listed(image) == ("other", "cells-00000002")


def test_a_removal_that_was_killed_is_gone_on_with(image, monkeypatch):
    publish(image, "cells-00000002", "cells", lock_url=f"{image}.runs", owner="test")
    with monkeypatch.context() as patch:
        patch.setattr(Blobs, "delete_all", lambda _self: None)
        remove(image, "cells-00000001")
    assert label_folders(image) == ["cells-00000001", "cells-00000002", "other"]
    # Nobody can open what is half gone: a chunk that is missing would read as background.
    with pytest.raises(StorageError, match="cells-00000001 is not a Zarr"):
        open_label(image, f"{image}/labels/cells-00000001")
    assert not list(Path(image, "labels", "cells-00000001").rglob("zarr.json"))
    remove(image, "cells-00000001")
    assert label_folders(image) == ["cells-00000002", "other"]


def test_only_an_empty_folder_is_removed(tmp_path, bucket):
    (tmp_path / "a" / "b").mkdir(parents=True)
    remove_folder(str(tmp_path / "a"))
    assert (tmp_path / "a" / "b").is_dir()
    remove_folder(str(tmp_path / "a" / "b"))
    remove_folder(str(tmp_path / "a" / "none"))
    assert folders(str(tmp_path / "a")) == []
    remove_folder(f"{bucket}/a")
