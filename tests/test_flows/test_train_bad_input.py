"""Everything a training is refused for: one message, before anything starts or is written."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import yaml
import zarr

from flows.jobs import TrainJob
from flows.training_data import prepare_data
from storage.errors import StorageError
from tests.test_flows.images import CLASSES, make_image, make_label, refused, unchanged, voxels_like

SHAPE = (4, 40, 36)


def stored(image, name, values, folder="labels"):
    """Replace the voxels of a label, whatever type they have: other programs write such labels."""
    level = f"{image}/{folder}/{name}/0" if name else f"{image}/0"
    shutil.rmtree(level)
    array = zarr.create_array(level, shape=values.shape, chunks=values.shape, dtype=values.dtype)
    array[...] = values


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """Images of several kinds with good labels and bad ones."""
    folder = tmp_path_factory.mktemp("shelf")
    for number, name in enumerate(("a", "b", "c")):
        voxels = voxels_like(SHAPE, seed=number)
        image = make_image(folder, voxels, name=name)
        make_label(image, voxels % 3)
    shutil.copytree(folder / "a.zarr", folder / "copy.zarr")
    make_label(make_image(folder, voxels_like(SHAPE) // 3 + 9, name="dark"), voxels_like(SHAPE) % 3)
    for name, voxels, axes in (
        ("colour", voxels_like((2, *SHAPE), seed=8), "czyx"),
        ("film", voxels_like((2, *SHAPE), seed=9), "tzyx"),
        ("plane", voxels_like(SHAPE[1:], seed=10), "yx"),
        ("flat", np.full(SHAPE, 7, "uint8"), "zyx"),
    ):
        image = make_image(folder, voxels, name=name, axes=axes)
        make_label(image, (voxels[0] if name == "colour" else voxels) % 3)
    broken = make_image(folder, voxels_like(SHAPE, seed=11).astype("float32"), name="broken")
    make_label(broken, voxels_like(SHAPE) % 3)
    nan = voxels_like(SHAPE, seed=11).astype("float32")
    nan[1, 2, 3] = np.nan
    stored(broken, None, nan)
    add_faults(str(folder / "a.zarr"))
    return folder


def add_faults(image):
    """Labels that no classes can be learned from."""
    good = voxels_like(SHAPE) % 3
    for name, values in (
        ("white", (good > 0).astype("uint8") * 255),
        ("counted", good + 1),
        ("negative", good.astype("int16") - 1),
        ("fractional", good / np.float32(2)),
        ("float", good.astype("float32")),
        ("ids", np.arange(good.size, dtype="uint32").reshape(SHAPE)),
    ):
        make_label(image, good, name=name)
        stored(image, name, values)
    make_label(image, np.where(good == 2, 1, good), name="poor")
    make_label(image, good * (np.arange(4) < 2)[:, None, None].astype("uint8"), name="half")


def volume(image="a.zarr", label="truth", **fields):
    return {"image": image, "label": label, **fields}


TRAIN = volume(region="z=0:2", group="g", split="train")
VALIDATION = volume(region="z=2:4", group="g", split="validation")
FREE = [volume("a.zarr"), volume("b.zarr"), volume("c.zarr")]


def both(**fields):
    return [TRAIN | fields, VALIDATION | fields]


def write_catalog(folder, volumes):
    path = folder / "catalog.yaml"
    path.write_text(yaml.safe_dump({"volumes": volumes}))
    return str(path)


LABELS = [
    (
        both(label="white"),
        {},
        r"label 'white' of a.zarr: labels hold the values 255 \(\d+ voxels\); ",
    ),
    (both(label="white"), {}, r"This is a mask of black and white: divide it by 255"),
    (both(label="counted"), {}, r"labels hold the values 3 .* They seem to be counted from 1 to 3"),
    (
        both(label="negative"),
        {},
        r"labels hold the values -1 .* with a positive value, and give it",
    ),
    (both(label="fractional"), {}, r"labels are float32 with fractional values such as 0.5; expec"),
    (both(label="float"), {}, r"labels are float32, although all their values are whole numbers"),
    (both(label="ids"), {}, r"different values or more, up to \d+: these are ids of objects"),
    (
        both(label="poor"),
        {},
        r"the class synapse has no voxel in the train part; it occurs in no v",
    ),
    (
        both(label="half"),
        {},
        r"the class membrane has no voxel in the validation part; choose volu",
    ),
]

PARTS = [
    ([TRAIN], {}, "the catalog has no volume with split: validation; name at least one"),
    ([VALIDATION], {}, "the catalog has no volume with split: train; name at least one"),
    (
        [volume()],
        {},
        r"1 groups without a split cannot make train and validation, .* cut the volum",
    ),
    (
        FREE,
        {"folds": 4},
        "3 groups cannot make 4 folds, as a group is never divided; use at most 3",
    ),
    ([TRAIN, *FREE[1:]], {"folds": 3}, "some items are fixed to train or validation, which folds"),
    (
        [TRAIN, VALIDATION, volume("copy.zarr", region="z=2:4", split="test")],
        {},
        r"a.zarr \(validation\) and copy.zarr \(test\) hold the same image: what is learned would",
    ),
    (
        [volume(split="train"), volume("dark.zarr", split="validation")],
        {},
        r"dark.zarr \(validation\) look alike in a section \(correlation 1.000\): what is learned",
    ),
    (
        [TRAIN, VALIDATION | {"region": "z=1:4"}],
        {},
        r"share voxels of .*a.zarr \(train and validation\); give regions that do not overlap",
    ),
    ([volume("a.zarr"), volume("copy.zarr")], {}, "1 groups without a split cannot make train and"),
    (
        [volume("a.zarr"), volume("copy.zarr"), *FREE[1:]],
        {"folds": 4},
        "3 groups cannot make 4 folds",
    ),
    (FREE, {"shares": (0.9, 0.2, 0.1)}, "expected three numbers that add up to 1, such as 0.7,"),
    (
        [volume("a.zarr"), volume("b.zarr", "half"), volume("c.zarr", "none")],
        {"folds": 3},
        r"the class membrane has no voxel in the \w+ part of fold \d; it occurs in 2 of the groups "
        r"\(a.zarr, b.zarr\), and groups are never divided: add groups that hold it, or use fewer",
    ),
]

FITS = [
    (
        both(),
        {"crop": (41, 36)},
        r"--crop 41,36 is larger than the region of a.zarr, which has 40,36",
    ),
    (both(region="z=0:2,y=0:8"), {}, "share voxels"),
    (
        both(),
        {"axes": "zyx", "crop": (3, 8, 8)},
        "larger than the region of a.zarr, which has 2,40,",
    ),
    (both(), {"crop": (8, 8, 8)}, r"--crop \(8, 8, 8\) does not give one extent for each of yx"),
    (both(), {"crop": (8, 0)}, r"--crop \(8, 0\) does not give one extent for each of yx"),
    ([TRAIN, VALIDATION, volume("colour.zarr", split="test")], {}, r"have \[1, 2\] channels; exp"),
    ([TRAIN, volume("film.zarr", split="validation")], {}, "has the axes tzyx without channels; a"),
    ([TRAIN, volume("plane.zarr", split="validation")], {"axes": "zyx"}, "axes yx without channel"),
    (
        [volume(images_along="z")],
        {"axes": "zyx"},
        "so that its planes have nothing to do with each",
    ),
    (
        both(),
        {"only_class": "axon"},
        "--only-class axon: the labels have no such class to learn; e",
    ),
    (both(), {"only_class": "axon"}, "expected one of membrane, synapse"),
    (both(), {"only_class": "background"}, "expected one of membrane, synapse"),
    (both(), {"ignore_label": 1}, r"have the classes \[0, 2\] that count; expected 0, 1, 2"),
    (both(), {"intensity_percentiles": (99, 1)}, "--intensity-percentiles 99,1: expected two numb"),
    (both(), {"intensity_percentiles": (1,)}, "--intensity-percentiles 1: expected two numbers"),
    (both(image="flat.zarr"), {}, "flat.zarr: channel 0 has no contrast: intensities 7.0 to 7.0"),
    (both(image="broken.zarr"), {}, r"broken.zarr level 0 holds nan at \(z=1, y=2, x=3\)"),
]


@pytest.fixture(scope="module")
def ready(shelf):
    """A label without a class on one image, and with it in half of another."""
    voxels = voxels_like(SHAPE, seed=2)
    make_label(str(shelf / "c.zarr"), np.where(voxels % 3 == 1, 0, voxels % 3), name="none")
    make_label(str(shelf / "b.zarr"), voxels_like(SHAPE, seed=1) % 3, name="half")
    return shelf


@pytest.mark.parametrize(("volumes", "fields", "message"), [*LABELS, *PARTS, *FITS])
def test_what_a_training_is_refused_for(ready, volumes, fields, message):
    path = write_catalog(ready, volumes)
    with unchanged(ready), pytest.raises((ValueError, StorageError), match=message) as raised:
        prepare_data(TrainJob(catalog=path, out=str(ready / "bundle"), **fields))
    assert "\n" not in str(raised.value)


def test_the_good_twins_are_accepted(ready):
    """What was refused above for one fault is accepted without it."""
    for volumes, fields in (
        (both(), {"crop": (40, 36)}),
        (both(), {"axes": "zyx", "crop": (2, 8, 8)}),
        (both(), {"only_class": "membrane"}),
        (FREE, {"folds": 3}),
        ([volume("a.zarr"), volume("copy.zarr"), *FREE[1:]], {"folds": 3}),
        (
            [TRAIN, VALIDATION, volume("copy.zarr", region="z=2:4", split="test")],
            {"allow_overlap": 1},
        ),
        ([TRAIN, VALIDATION | {"region": "z=1:4"}], {"allow_overlap": True}),
        ([volume(images_along="z", split=None)], {}),
        ([volume(split="train"), volume("copy.zarr", split="train"), *FREE[1:]], {}),
    ):
        path = write_catalog(ready, volumes)
        data = prepare_data(TrainJob(catalog=path, out=str(ready / "bundle"), **fields))
        assert [c.name for c in data.classes] in ([*CLASSES], ["background", "membrane"])


@pytest.mark.parametrize(
    ("volumes", "options", "message"),
    [
        (both(label="white"), (), "mask of black and white: divide it by 255"),
        (FREE, ("--folds", 4), "3 groups cannot make 4 folds"),
        (both(), ("--crop", "41,36"), "--crop 41,36 is larger than the region"),
        (both(), ("--only-class", "axon"), "expected one of membrane, synapse"),
        (both(image="broken.zarr"), (), "holds nan at"),
    ],
)
def test_the_command_refuses_it_too(ready, volumes, options, message):
    path = write_catalog(ready, volumes)
    refused(ready, "train", path, "--out", ready / "bundle", *options, match=message)
