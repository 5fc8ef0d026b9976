"""Catalogs: what is in them, and how they are refused."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from flows.catalog import Catalog, Entry, channel_count, read_catalog
from flows.catalog_items import catalog_classes, overlapping, planes
from flows.errors import RequestError
from storage.errors import StorageError
from tests.strategies import regions
from tests.test_flows.images import CLASSES, VOXEL_SIZE, make_image, make_label, voxels_like

VOXELS = voxels_like((4, 40, 36))


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """Images of several kinds, each with truth."""
    folder = tmp_path_factory.mktemp("shelf")
    for name, voxels, options in (
        ("fly1", VOXELS, {"voxel_size": VOXEL_SIZE}),
        ("fly2", VOXELS, {}),
        ("plane", VOXELS[0], {}),
        ("colour", voxels_like((2, 4, 40, 36)), {"axes": "czyx"}),
        ("film", voxels_like((2, 4, 40, 36)), {"axes": "tzyx"}),
    ):
        image = make_image(folder, voxels, name=name, **options)
        truth = voxels[0] if name == "colour" else voxels
        make_label(image, truth % 3)
    make_label(str(folder / "fly1.zarr"), VOXELS % 3, name="cells", instances=True, classes=None)
    make_label(str(folder / "fly1.zarr"), VOXELS % 2, name="other", classes=("a", "b"))
    gaps = VOXELS % 2 * 2
    make_label(str(folder / "fly1.zarr"), gaps, name="gaps", classes=None)
    return folder


def volume(image="fly1.zarr", label="truth", split="train", **fields):
    return {"image": image, "label": label, "split": split, **fields}


TRAIN = volume(region="z=0:2", group="a")
VALIDATION = volume(region="z=2:4", group="a", split="validation")


def write_catalog(folder, *volumes, **fields):
    path = folder / "catalog.yaml"
    path.write_text(yaml.safe_dump({"volumes": list(volumes), **fields}))
    return str(path)


def test_entries_of_a_catalog(shelf):
    path = write_catalog(shelf, TRAIN, VALIDATION, volume("fly2.zarr", split="test"))
    catalog = read_catalog(path)
    first, second, third = catalog.entries
    assert Path(first.image.url) == shelf / "fly1.zarr"
    assert first.label.metadata.name == "truth"
    assert (first.image_name, first.label_name) == ("fly1.zarr", "truth")
    assert (first.region.start, first.region.stop) == ((0, 0, 0), (2, 40, 36))
    assert (first.group, first.split) == ("a", "train")
    assert (second.region.start[0], second.split) == (2, "validation")
    assert third.region.shape == VOXELS.shape
    assert third.group == third.name == "fly2.zarr"
    assert [c.name for c in catalog_classes(catalog)] == list(CLASSES)


def test_paths_are_relative_to_the_file(shelf, tmp_path):
    path = write_catalog(tmp_path, volume(str(shelf / "fly1.zarr")))
    (entry,) = read_catalog(path).entries
    assert Path(entry.image.url) == shelf / "fly1.zarr"


def test_an_image_is_one_group_however_its_path_is_written(shelf):
    paths = ("fly1.zarr", "./fly1.zarr", str(shelf / "fly1.zarr"), f"../{shelf.name}/fly1.zarr")
    for path in paths:
        (entry,) = read_catalog(write_catalog(shelf, volume(path))).entries
        assert (entry.group, entry.image_name) == ("fly1.zarr", path)


def test_channels_of_an_image(shelf):
    path = write_catalog(shelf, volume(), volume("colour.zarr"))
    gray, colour = read_catalog(path).entries
    assert (channel_count(gray), gray.channel_axis) == (1, None)
    assert (channel_count(colour), colour.channel_axis) == (2, 0)


def test_every_plane_is_an_image_of_its_own(shelf):
    stack = volume("fly2.zarr", images_along="z", region="z=1:3,y=0:8", group="flies")
    first, second, whole = planes(read_catalog(write_catalog(shelf, stack, VALIDATION)).entries)
    assert (first.region.start, first.region.stop) == ((1, 0, 0), (2, 8, 36))
    assert (second.region.start, second.region.stop) == ((2, 0, 0), (3, 8, 36))
    assert (first.group, second.group) == ("flies/1", "flies/2")
    assert (first.name, second.name) == ("fly2.zarr/1", "fly2.zarr/2")
    assert {first.split, second.split} == {"train"}
    assert (whole.region.shape, whole.group) == ((2, 40, 36), "a")


def test_classes_of_the_catalog_stand_before_those_of_labels(shelf):
    path = write_catalog(shelf, volume(label="cells"), classes=["back", "front"])
    assert [(c.value, c.name) for c in catalog_classes(read_catalog(path))] == [
        (0, "back"),
        (1, "front"),
    ]


def test_the_ignored_value_is_no_class(shelf):
    catalog = read_catalog(write_catalog(shelf, volume()))
    assert [c.name for c in catalog_classes(catalog, ignore_label=2)] == ["background", "membrane"]
    with pytest.raises(RequestError, match=r"have the classes \[0, 2\] that count; expected 0, 1"):
        catalog_classes(catalog, ignore_label=1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("volumes: [", "catalog.yaml is not YAML: while parsing"),
        ("- image: a.zarr", "has no volumes; expected 'volumes:' and a list"),
        ("volumes: {}", "has no volumes; expected 'volumes:' and a list"),
        ("volumes: [fly1.zarr]", "volume 1 of the catalog has the fields 'fly1.zarr'; expected im"),
        ("volumes: [1]\nclass: [a, b]", "has the field 'class'; expected volumes and classes"),
    ],
)
def test_files_that_are_no_catalog(tmp_path, text, message):
    (tmp_path / "catalog.yaml").write_text(text)
    with pytest.raises(RequestError, match=message):
        read_catalog(str(tmp_path / "catalog.yaml"))


@pytest.mark.parametrize("classes", [["one"], ["same", "same"], ["", "b"], "membrane", {0: "a"}])
def test_classes_that_are_no_list_of_names(shelf, classes):
    with pytest.raises(RequestError, match="expected a list of at least two different names"):
        read_catalog(write_catalog(shelf, volume(), classes=classes))


def test_a_catalog_that_is_not_there(tmp_path):
    with pytest.raises(RequestError, match=r"none.yaml cannot be read: No such file or directory"):
        read_catalog(str(tmp_path / "none.yaml"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"image": "none.zarr"}, "none.zarr does not exist"),
        ({"label": "none"}, "label 'none' is not in .*; labels there: truth, cells, other"),
        ({"split": "training"}, "has the split 'training'; expected one of train, validation, tes"),
        ({"colour": "red"}, "has the fields .'colour', 'group', .* expected image, label and pe"),
        ({"region": "z=3:9"}, "region z=3:9 leaves the volume; that axis ends at 4"),
        ({"region": 7}, "region part '7' is not AXIS=START:STOP"),
        ({"images_along": "y"}, "volume 1 of the catalog has images_along: y; expected z, or not"),
        (
            {"image": "plane.zarr", "images_along": "z", "region": None},
            "has images_along: z and the axes yx; only zyx can be cut into planes",
        ),
    ],
)
def test_volumes_that_are_refused(shelf, fields, message):
    with pytest.raises((RequestError, StorageError, ValueError), match=message):
        read_catalog(write_catalog(shelf, TRAIN | fields))


def test_a_label_of_another_shape(shelf, tmp_path):
    image = Path(make_image(tmp_path, VOXELS[:2], name="short"))
    (image / "labels").symlink_to(shelf / "fly1.zarr" / "labels")
    message = r"volume 1 of the catalog: label 'truth' has the shape \(4, 40, 36\) and the image"
    with pytest.raises(RequestError, match=message):
        read_catalog(write_catalog(tmp_path, volume("short.zarr")))


def test_voxels_in_two_volumes_would_be_learned_and_then_scored(shelf):
    overlap = volume(region="z=1:3", split="test")
    message = r"share voxels of .*fly1.zarr \(train and test\); give regions that do not overl"
    path = write_catalog(shelf, TRAIN, VALIDATION, overlap)
    with pytest.raises(RequestError, match=message):
        read_catalog(path)
    entries = read_catalog(path, allow_overlap=True).entries
    assert list(overlapping(entries)) == [(0, 2), (1, 2)]
    with pytest.raises(RequestError, match=r"fly1.zarr; give regions that do not overlap, or, for"):
        read_catalog(write_catalog(shelf, volume(split=None), VALIDATION))


@given(st.lists(regions((6, 5, 4)), max_size=6))
def test_overlaps_are_found_in_any_order(boxes):
    image = SimpleNamespace(url="a.zarr")
    entries = [Entry(image, image, box, "a", None, "a.zarr", "truth") for box in boxes]
    pairs = itertools.combinations(range(len(boxes)), 2)
    expected = [(a, b) for a, b in pairs if boxes[a].intersection(boxes[b]) is not None]
    assert sorted(overlapping(entries)) == expected


@pytest.mark.parametrize("background", [True, False])
def test_a_label_with_one_plane_per_class(shelf, tmp_path, background):
    """Such labels come from elsewhere; ours are never made with channels."""
    image = make_image(tmp_path, VOXELS, name="hot")
    make_label(image, VOXELS % 3)
    classes = range(3) if background else range(1, 3)
    planes = np.stack([value == VOXELS % 3 for value in classes]).astype("uint8")
    hot = Path(make_image(tmp_path, planes, name="planes", axes="czyx"))
    shutil.copytree(hot, Path(image) / "labels" / "hot")
    message = f"label 'hot': labels have {len(planes)} channels: one plane per class; expected one"
    with pytest.raises(RequestError, match=message) as raised:
        read_catalog(write_catalog(tmp_path, volume("hot.zarr", "hot")))
    share = 1 - (VOXELS % 3 == 0).mean()
    cap = f"cannot exceed {2 * share / (1 + share):.3f}"
    assert str(raised.value).endswith(cap) is not background


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("cells", "a label of the catalog names no classes; import it with --classes, or name"),
        ("other", "the labels of the catalog name different classes; import them alike"),
        ("gaps", "the labels of the catalog name different classes"),
    ],
)
def test_labels_that_do_not_agree(shelf, label, message):
    catalog = read_catalog(write_catalog(shelf, TRAIN, volume("fly1.zarr", label, region="z=2:4")))
    with pytest.raises(RequestError, match=message):
        catalog_classes(catalog)


def test_classes_with_a_gap(shelf):
    catalog = read_catalog(write_catalog(shelf, volume(label="gaps")))
    with pytest.raises(RequestError, match=r"have the classes \[0, 2\] that count; expected 0, 1"):
        catalog_classes(catalog)


def test_a_catalog_of_one_class(shelf):
    catalog = Catalog(read_catalog(write_catalog(shelf, volume())).entries, ("all", "none"))
    with pytest.raises(RequestError, match=r"have the classes \[0\] that count; expected 0, 1, 2"):
        catalog_classes(catalog, ignore_label=1)
