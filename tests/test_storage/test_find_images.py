"""Images below a folder or a prefix, found by folders laid out by hand."""

from __future__ import annotations

import json
import os

import pytest

from storage.blobs import Blobs
from storage.errors import StorageError
from storage.find_images import Listing, find_images, list_folder
from storage.stores import join_url

MULTISCALES = {"multiscales": [{"axes": [], "datasets": []}]}


def group(**ome):
    """zarr.json of a group; without OME attributes an empty one."""
    attributes = {"ome": {"version": "0.5", **ome}} if ome else {}
    return {"zarr_format": 3, "node_type": "group", "attributes": attributes}


ARRAY = {"zarr_format": 3, "node_type": "array", "attributes": {}}
OBJECTS = {
    # An image, with what belongs to it; nothing below it is looked at.
    "a.zarr/zarr.json": group(**MULTISCALES),
    "a.zarr/0/zarr.json": ARRAY,
    "a.zarr/labels/zarr.json": group(labels=["cells"]),
    "a.zarr/labels/cells/zarr.json": group(**MULTISCALES, **{"image-label": {}}),
    # Runs over it keep probabilities, which are OME-Zarr images too.
    "a.zarr.runs/cells-0a1b2c3d/run.json": {},
    "a.zarr.runs/cells-0a1b2c3d/probabilities/zarr.json": group(**MULTISCALES),
    # Runs kept elsewhere.
    "kept/cells-0a1b2c3d/run.json": {},
    "kept/cells-0a1b2c3d/probabilities/zarr.json": group(**MULTISCALES),
    # A plate: row, well, field.
    "plates/p.zarr/zarr.json": group(plate={"wells": []}),
    "plates/p.zarr/A/zarr.json": group(),
    "plates/p.zarr/A/1/zarr.json": group(well={"images": []}),
    "plates/p.zarr/A/1/0/zarr.json": group(**MULTISCALES),
    "plates/p.zarr/A/1/1/zarr.json": group(**MULTISCALES),
    # Zarr v2: an image, a label without its image, a series, an array.
    "old/b.zarr/.zgroup": {"zarr_format": 2},
    "old/b.zarr/.zattrs": MULTISCALES,
    "old/b.zarr/0/.zarray": {},
    "old/c.zarr/.zgroup": {"zarr_format": 2},
    "old/c.zarr/.zattrs": MULTISCALES | {"image-label": {}},
    "old/d.zarr/.zgroup": {"zarr_format": 2},
    "old/d.zarr/0/.zgroup": {"zarr_format": 2},
    "old/d.zarr/0/.zattrs": MULTISCALES,
    "old/e.zarr/.zarray": {},
    "old/e.zarr/.zattrs": MULTISCALES,
    # Masks kept beside an image that cannot be written, staged and not yet listed.
    "out.zarr/zarr.json": group(),
    "out.zarr/labels/cells-0a1b2c3d/zarr.json": group(**MULTISCALES),
    # A plain folder may be called anything.
    "labels/f.zarr/zarr.json": group(**MULTISCALES),
    "array.zarr/zarr.json": ARRAY,
    ".trash/g.zarr/zarr.json": group(**MULTISCALES),
    "notes/read.me": {},
}
FOUND = [
    "a.zarr",
    "labels/f.zarr",
    "old/b.zarr",
    "old/d.zarr/0",
    "plates/p.zarr/A/1/0",
    "plates/p.zarr/A/1/1",
]


def lay_out(url, objects=OBJECTS):
    for key, document in objects.items():
        Blobs(url).write(key, json.dumps(document).encode())
    return url


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)
    return lay_out(str(tmp_path / "data"))


def below(url):
    return [found.removeprefix(f"{url}/") for found in find_images(url)]


def test_images_below_a_folder(folder):
    assert below(folder) == FOUND
    assert below(f"file://{folder}/") == [f"{folder}/{name}" for name in FOUND]


def test_an_image_is_below_itself(folder):
    assert list(find_images(f"{folder}/a.zarr")) == [f"{folder}/a.zarr"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'"a"', b"{}", b"\xff", b'{"node_type":[]}'])
def test_a_group_that_cannot_be_read_is_for_others_to_open(folder, content):
    Blobs(folder).write("broken.zarr/zarr.json", content)
    # What says that it is a group of nothing is passed over, as far as it can be understood.
    assert ("broken.zarr" in below(folder)) == (content != b'{"node_type":[]}')


def test_a_link_round_and_round_ends(folder):
    os.symlink(folder, f"{folder}/old/again")
    os.symlink(f"{folder}/plates", f"{folder}/shown")
    assert below(folder) == [*FOUND, "shown/p.zarr/A/1/0", "shown/p.zarr/A/1/1"]


def test_a_folder_that_cannot_be_read_is_for_others_to_open(folder, monkeypatch):
    scandir = os.scandir

    def refusing(path):
        if str(path).endswith("/plates"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    assert below(folder) == [*FOUND[:4], "plates"]


def test_nothing_there_and_nothing_in_it(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    assert below(str(tmp_path / "empty")) == []
    for name in ("absent", "file"):
        with pytest.raises(StorageError, match=f"{name} does not exist or holds nothing; give a"):
            list(find_images(str(tmp_path / name)))


def test_what_is_right_below(folder):
    assert list_folder(f"{folder}/old/d.zarr") == Listing(("0",), (".zgroup",))
    assert list_folder(f"{folder}/nowhere") == Listing((), ())


def test_images_below_a_prefix_take_few_requests(bucket, object_server):
    url = lay_out(join_url(bucket, "data"))
    for number in range(30):
        Blobs(url).write(f"a.zarr/0/c/{number}", b"voxels")
    object_server.methods()
    assert below(url) == FOUND
    asked = object_server.asked
    listed = [request for request in asked if "list-type=2" in request.query]
    # Once each: data, a, array, kept and its run, labels, f, notes, old, b to e, d/0, out,
    # plates, p, A, 1, 0 and 1.
    assert len(listed) == 21
    assert all("delimiter=" in request.query for request in listed)
    # Metadata of a, array, f, b, c, d/0, out, p, A, 1, 0 and 1: what has .zarray needs none.
    assert len(asked) - len(listed) == 12
    assert not any("/c/" in request.path for request in asked)


def test_a_prefix_with_nothing_below_it(bucket):
    with pytest.raises(StorageError, match="plates does not exist or holds nothing"):
        list(find_images(join_url(bucket, "plates")))
