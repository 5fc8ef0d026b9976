import json

import pytest
import yaozarrs
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import StorageError
from storage.ome import (
    Axis,
    ImageMetadata,
    Level,
    check_axes,
    image_attributes,
    make_axes,
    parse_image,
)
from storage.ome_labels import (
    default_color,
    label_attributes,
    label_classes,
    label_metadata,
    labels_attributes,
    parse_label_classes,
    parse_labels_list,
)

CZYX = ImageMetadata(
    "0.5",
    "fly",
    make_axes("czyx", "micrometer"),
    (
        Level("0", (1.0, 0.045, 0.0046, 0.0046), (0.0,) * 4),
        Level("1", (1.0, 0.045, 0.0092, 0.0092), (0.0, 0.0, 0.0023, 0.0023)),
    ),
)

# The example of the 0.4 specification, shortened.
VERSION_04 = {
    "multiscales": [
        {
            "version": "0.4",
            "name": "example",
            "axes": [
                {"name": "t", "type": "time", "unit": "millisecond"},
                {"name": "y", "type": "space", "unit": "micrometer"},
                {"name": "x", "type": "space", "unit": "micrometer"},
            ],
            "datasets": [
                {
                    "path": "0",
                    "coordinateTransformations": [
                        {"type": "scale", "scale": [1.0, 0.5, 0.5]},
                        {"type": "translation", "translation": [0, 1, 2]},
                    ],
                }
            ],
            "coordinateTransformations": [{"type": "scale", "scale": [0.1, 2.0, 2.0]}],
        }
    ]
}


def multiscale_with(**changes):
    return {"ome": {"version": "0.5", "multiscales": [{**multiscale(), **changes}]}}


def multiscale():
    return image_attributes(CZYX)["ome"]["multiscales"][0]


def test_image_round_trip():
    attributes = image_attributes(CZYX, downscaling="mean", extra={"maskmill": {"a": 1}})
    assert parse_image(json.loads(json.dumps(attributes)), "x.zarr") == CZYX
    assert attributes["maskmill"] == {"a": 1}
    assert attributes["ome"]["multiscales"][0]["type"] == "mean"
    assert CZYX.axis_names == "czyx"


@given(
    names=st.sampled_from(["yx", "zyx", "cyx", "tyx", "czyx", "tzyx", "tcyx", "tczyx"]),
    unit=st.sampled_from([None, "micrometer"]),
    count=st.integers(1, 4),
    size=st.floats(1e-6, 1e3),
)
def test_any_axes_round_trip_and_validate(names, unit, count, size):
    levels = tuple(
        Level(str(n), (size * 2.0**n,) * len(names), (0.5 * size * (2.0**n - 1),) * len(names))
        for n in range(count)
    )
    metadata = ImageMetadata("0.5", "any", make_axes(names, unit), levels)
    attributes = image_attributes(metadata, downscaling="mean")
    assert parse_image(attributes, "any") == metadata
    yaozarrs.v05.Image.model_validate(attributes["ome"])


def test_04_with_shared_transforms():
    metadata = parse_image(VERSION_04, "old.zarr")
    assert metadata.version == "0.4"
    assert metadata.axes[0] == Axis("t", "time", "millisecond")
    # The shared scale applies after the level's transforms: 2 · (0.5 · i + (0, 1, 2)).
    assert metadata.levels == (Level("0", (0.1, 1.0, 1.0), (0.0, 2.0, 4.0)),)


def test_identity_transform_is_accepted():
    datasets = [{"path": "0", "coordinateTransformations": [{"type": "identity"}]}]
    assert parse_image(multiscale_with(datasets=datasets), "x").levels[0].scale == (1.0,) * 4


def test_label_metadata_drops_channels():
    metadata = label_metadata(CZYX, "truth")
    assert (metadata.name, metadata.axis_names) == ("truth", "zyx")
    assert metadata.levels[1] == Level("1", (0.045, 0.0092, 0.0092), (0.0, 0.0023, 0.0023))


def test_label_classes_round_trip():
    classes = label_classes({2: "glia", 0: "background", 1: "membrane"})
    attributes = label_attributes(label_metadata(CZYX, "truth"), classes)
    image_label = attributes["ome"]["image-label"]
    assert parse_label_classes(attributes) == classes
    assert [item.value for item in classes] == [0, 1, 2]
    assert "version" not in image_label
    assert image_label["source"] == {"image": "../../"}
    assert image_label["properties"][1] == {"label-value": 1, "class": "membrane"}
    assert image_label["colors"][0] == {"label-value": 0, "rgba": [0, 0, 0, 0]}
    yaozarrs.v05.LabelImage.model_validate(attributes["ome"])


def test_instances_have_no_class_and_validate():
    attributes = label_attributes(label_metadata(CZYX, "cells"), None, extra={"maskmill": {}})
    assert parse_label_classes(attributes) == ()
    assert attributes["maskmill"] == {}
    assert len(attributes["ome"]["image-label"]["colors"]) == 1
    yaozarrs.v05.LabelImage.model_validate(attributes["ome"])


def test_classes_of_a_04_label_without_colours():
    attributes = {"image-label": {"properties": [{"label-value": 3, "class": "synapse"}]}}
    (found,) = parse_label_classes(attributes)
    assert (found.value, found.name, found.color) == (3, "synapse", default_color(3))


@pytest.mark.parametrize("rgba", [[1, 2, 3], [1, 2, 3, 999], [1, 2, 3, "4"], "red", None, {}])
def test_a_colour_that_is_none_is_replaced(rgba):
    """It decorates: a label does not become unusable by it."""
    colors = [{"label-value": 3, "rgba": rgba}]
    named = [{"label-value": 3, "class": "synapse"}]
    (found,) = parse_label_classes({"image-label": {"colors": colors, "properties": named}})
    assert (found.value, found.name, found.color) == (3, "synapse", default_color(3))


@pytest.mark.parametrize("path", ["../a", "a/../../b", "/a", "a//b", "a/.", "", "a\\b", "s3://b/c"])
def test_paths_stay_below_their_group(path):
    with pytest.raises(StorageError, match="expected one below it"):
        parse_labels_list({"labels": ["truth", path]})
    level = {"path": path, "coordinateTransformations": [{"type": "scale", "scale": [1, 1, 1, 1]}]}
    with pytest.raises(StorageError, match="expected one below it"):
        parse_image(multiscale_with(datasets=[level]), "x.zarr")


def test_paths_below_a_group_may_be_nested():
    assert parse_labels_list({"labels": ["cells/nuclei", "a..b", "a.b-c_d"]}) == (
        "cells/nuclei",
        "a..b",
        "a.b-c_d",
    )


@pytest.mark.parametrize("name", ["", " ", "a\nb", "\x1b[2J", "x" * 101])
def test_names_of_classes_that_cannot_be_shown(name):
    with pytest.raises(StorageError, match=r"class name .* is not usable; use 1 to 100 letters"):
        label_classes({0: "background", 1: name})


def test_names_of_classes_may_hold_anything_that_can_be_printed():
    names = {0: "background", 1: "p<0.05 & more", 2: "Übergang – 膜"}
    assert [one.name for one in label_classes(names)] == list(names.values())


def test_default_colours_differ():
    assert len({default_color(value) for value in range(20)}) == 20


def test_labels_list():
    assert parse_labels_list(labels_attributes(["a", "b-1"])) == ("a", "b-1")
    assert parse_labels_list({"labels": ["a"]}) == ("a",)
    assert parse_labels_list({}) == ()


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({}, r"x\.zarr is a Zarr group without OME metadata .*maskmill import"),
        ({"ome": {"version": "0.5"}}, "without OME metadata"),
        (
            {"ome": {"version": "0.5", "bioformats2raw.layout": 3}},
            r"bioformats2raw container .* x\.zarr/0",
        ),
        ({"bioformats2raw.layout": 3}, r"bioformats2raw container .* x\.zarr/0"),
        ({"plate": {"wells": [{"path": "B/3"}]}}, r"is a plate.* x\.zarr/B/3/0"),
        ({"ome": {"well": {"images": [{"path": "7"}]}}}, r"is a well.* use x\.zarr/7"),
        ({"ome": {"labels": ["truth"]}}, r"list of labels \(truth\).* use x\.zarr/NAME"),
        (
            {"ome": {"version": "0.6", "multiscales": [multiscale()]}},
            "is OME-Zarr 0.6; expected 0.4 or 0.5",
        ),
        (multiscale_with(axes=[{"name": n} for n in "qzyx"]), "unknown axes q among"),
        (multiscale_with(axes=[{"name": n} for n in "cxyz"]), "expected the order t, c, z, y, x"),
        (multiscale_with(axes=[{"name": n} for n in "czy"]), "expected y and x among them"),
        (multiscale_with(axes=["z", "y", "x"]), "malformed OME metadata .TypeError"),
        (multiscale_with(datasets=[]), "lists no resolution level"),
        (
            multiscale_with(axes=[{"name": n} for n in "zyx"]),
            "scale of 4 numbers for 3 axes",
        ),
        (
            multiscale_with(
                datasets=[
                    {
                        "path": "0",
                        "coordinateTransformations": [{"type": "affine", "affine": []}],
                    }
                ]
            ),
            "expected a scale and perhaps a translation",
        ),
    ],
)
def test_bad_metadata(attributes, message):
    with pytest.raises(StorageError, match=message):
        parse_image(attributes, "x.zarr")


def test_check_axes_accepts_2_to_5():
    for names in ("yx", "zyx", "tczyx"):
        check_axes(names, "here")
