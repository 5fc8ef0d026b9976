"""Catalogs: what is in them, and every way in which they are refused before training."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from flows.catalog import catalog_classes, checked_entries, read_catalog
from flows.errors import RequestError
from flows.jobs import TrainJob
from storage.errors import StorageError
from tests.test_flows.images import (
    CLASSES,
    VOXEL_SIZE,
    make_image,
    make_label,
    maskmill,
    unchanged,
    voxels_like,
)

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


def write_catalog(folder, *volumes):
    path = folder / "catalog.yaml"
    path.write_text(yaml.safe_dump({"volumes": list(volumes)}))
    return str(path)


def test_entries_of_a_catalog(shelf):
    path = write_catalog(shelf, TRAIN, VALIDATION, volume("fly2.zarr", split="test"))
    first, second, third = read_catalog(path)
    assert Path(first.image.url) == shelf / "fly1.zarr"
    assert first.label.metadata.name == "truth"
    assert (first.region.start, first.region.stop) == ((0, 0, 0), (2, 40, 36))
    assert (first.group, first.split) == ("a", "train")
    assert (second.region.start[0], second.split) == (2, "validation")
    assert third.region.shape == VOXELS.shape
    assert third.group == third.image.url
    assert [c.name for c in catalog_classes((first, second, third))] == list(CLASSES)


def test_paths_are_relative_to_the_file(shelf, tmp_path):
    image = Path(shelf / "fly1.zarr").relative_to(tmp_path.anchor)
    up = Path(*[".."] * (len(tmp_path.parts) - 1), image)
    for text in (str(up), str(shelf / "fly1.zarr"), (shelf / "fly1.zarr").as_uri()):
        (entry,) = read_catalog(write_catalog(tmp_path, volume(text)))
        assert Path(entry.image.url).resolve() == shelf / "fly1.zarr"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("volumes: [", "is not YAML"),
        ("volumes: []", "has no volumes; expected 'volumes:' and a list"),
        ("stacks: [a]", "has no volumes; expected 'volumes:' and a list"),
        ("just text", "has no volumes"),
        ("volumes: [fly1.zarr]", "volume 1 of the catalog has the fields 'fly1.zarr'; expected im"),
        ("volumes: [{image: a, 1: b}]", r"has the fields \['1', 'image'\]; expected image, label"),
    ],
)
def test_files_that_are_no_catalog(tmp_path, text, message):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(RequestError, match=message):
        read_catalog(str(tmp_path / "a.yaml"))


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
    message = r"share voxels of .*fly1.zarr \(train and test\); give regions that do not overlap"
    with pytest.raises(RequestError, match=message):
        read_catalog(write_catalog(shelf, TRAIN, overlap))


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("cells", "a label of the catalog names no classes; import it with --classes"),
        ("other", "the labels of the catalog name different classes; import them alike"),
        ("gaps", "the labels of the catalog name different classes"),
    ],
)
def test_labels_that_do_not_agree(shelf, label, message):
    entries = read_catalog(write_catalog(shelf, TRAIN, volume("fly1.zarr", label, region="z=2:4")))
    with pytest.raises(RequestError, match=message):
        catalog_classes(entries)


def test_classes_with_a_gap(shelf):
    entries = read_catalog(write_catalog(shelf, volume(label="gaps")))
    with pytest.raises(RequestError, match=r"have the classes \[0, 2\]; expected 0, 1, 2"):
        catalog_classes(entries)


@pytest.mark.parametrize(
    ("volumes", "fields", "message"),
    [
        ([TRAIN], {}, "no volume with split: validation; name at least one"),
        ([VALIDATION], {}, "no volume with split: train; name at least one"),
        (
            [TRAIN, volume("colour.zarr", split="validation")],
            {},
            r"have \[1, 2\] channels; expected",
        ),
        ([TRAIN, volume("film.zarr", split="validation")], {}, "has the axes tzyx without channel"),
        ([TRAIN, volume("plane.zarr", split="validation")], {"axes": "zyx"}, "axes yx without ch"),
        ([TRAIN, VALIDATION], {"crop": (8, 8, 8)}, r"--crop \(8, 8, 8\) does not give one extent"),
    ],
)
def test_the_command_refuses_a_catalog_before_anything_starts(shelf, volumes, fields, message):
    path = write_catalog(shelf, *volumes)
    job = TrainJob(catalog=path, out=str(shelf / "bundle"), **fields)
    with pytest.raises(RequestError, match=message) as raised:
        checked_entries(job)
    options = [f"--{k}={','.join(map(str, v)) if k == 'crop' else v}" for k, v in fields.items()]
    with unchanged(shelf):
        answer = maskmill("train", path, "--out", shelf / "bundle", *options)
    assert (answer.code, answer.err) == (2, f"maskmill: {raised.value}\n")
