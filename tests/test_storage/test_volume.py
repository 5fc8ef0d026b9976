import json
import pickle

import numpy as np
import pytest
import zarr

from storage.cells import open_cells
from storage.errors import StorageError
from storage.labels import group_document
from storage.ome import ImageMetadata, Level, image_attributes, make_axes
from storage.ome_labels import label_attributes, label_metadata, labels_attributes
from storage.volume import open_image, open_label, published_labels
from storage.write_grid import create_array

METADATA = ImageMetadata(
    "0.5",
    "fly",
    make_axes("czyx", "micrometer"),
    (Level("0", (1.0, 2.0, 0.5, 0.25), (0.0,) * 4),),
)


def write_group(url, attributes):
    url.mkdir(parents=True, exist_ok=True)
    (url / "zarr.json").write_bytes(group_document(attributes))


def write_array(url, path, shape, axes, dtype="uint16"):
    size = (16,) * len(shape)
    create_array(str(url), path, shape=shape, dtype=dtype, chunks=size, shards=size, axes=axes)
    block = np.arange(np.prod(shape), dtype=dtype).reshape(shape)
    open_cells(str(url), path).write((0,) * len(shape), block)
    return block


def make_label(image, directory, name):
    metadata = label_metadata(METADATA, name)
    write_array(image / "labels" / directory, "0", (3, 5, 7), "zyx", "uint8")
    write_group(image / "labels" / directory, label_attributes(metadata, None))


@pytest.fixture
def image(tmp_path):
    url = tmp_path / "fly.zarr"
    write_array(url, "0", (2, 3, 5, 7), "czyx")
    write_group(url, image_attributes(METADATA, extra={"maskmill": 1}))
    return url


def test_open_image_and_read(image):
    opened = open_image(str(image))
    (volume,) = opened.volumes
    expected = np.arange(210).reshape(2, 3, 5, 7)
    assert opened.attributes["maskmill"] == 1
    assert (volume.axes, volume.shape, volume.dtype) == ("czyx", (2, 3, 5, 7), "uint16")
    assert (volume.voxel_size, volume.unit) == ((1.0, 2.0, 0.5, 0.25), "micrometer")
    assert (volume.chunks, volume.shards) == ((16,) * 4, (16,) * 4)
    np.testing.assert_array_equal(volume[:], expected)
    np.testing.assert_array_equal(volume[1, 0:2, ..., 3], expected[1, 0:2, ..., 3])
    assert volume[:, :, 1:3].flags.c_contiguous


def test_volume_travels_between_processes(image):
    volume = open_image(str(image)).volumes[0]
    copy = pickle.loads(pickle.dumps(volume))  # noqa: S301  # our own bytes
    assert copy == volume
    np.testing.assert_array_equal(copy[:], volume[:])


def test_file_url(image):
    assert open_image(f"file://{image}").url == str(image)


def test_array_made_anew_is_opened_anew(tmp_path):
    for shape in ((4, 4), (6, 6)):
        write_array(tmp_path / "a.zarr", "0", shape, "yx")
        metadata = ImageMetadata(
            "0.5", "", make_axes("yx", None), (Level("0", (1.0,) * 2, (0.0,) * 2),)
        )
        write_group(tmp_path / "a.zarr", image_attributes(metadata))
        assert open_image(str(tmp_path / "a.zarr")).volumes[0][:].shape == shape


@pytest.mark.parametrize("separator", ["/", "."])
@pytest.mark.parametrize("dtype", ["<u2", ">u2", "|u1"])
def test_04_with_either_separator(tmp_path, separator, dtype):
    url = tmp_path / "old.zarr"
    voxels = np.arange(6 * 7).reshape(6, 7).astype(dtype)
    group = zarr.create_group(str(url), zarr_format=2)
    array = group.create_array(
        "0",
        shape=(6, 7),
        chunks=(4, 4),
        dtype=dtype,
        chunk_key_encoding={"name": "v2", "separator": separator},
    )
    array[:] = voxels
    multiscale = {
        "version": "0.4",
        "axes": [{"name": "y", "type": "space"}, {"name": "x", "type": "space"}],
        "datasets": [
            {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [2, 3]}]}
        ],
    }
    group.attrs["multiscales"] = [multiscale]
    assert (url / "0" / "1" / "0").exists() == (separator == "/")
    opened = open_image(str(url))
    (volume,) = opened.volumes
    assert opened.metadata.version == "0.4"
    assert (volume.shards, volume.voxel_size, volume.unit) == (None, (2.0, 3.0), None)
    assert volume.dtype == np.dtype(dtype).name
    assert volume[:].dtype.isnative
    np.testing.assert_array_equal(volume[:], voxels)
    # Its labels are listed at the top of the attributes.
    labels = group.create_group("labels")
    labels.attrs["labels"] = ["cells"]
    assert published_labels(str(url)) == ("cells",)


def test_open_label_by_name_folder_and_version(image):
    for directory, name in (("truth", "truth"), ("cells-0123abcd", "cells"), ("cells-9", "x")):
        make_label(image, directory, name)
    write_group(image / "labels", labels_attributes(["truth", "cells-0123abcd"]))
    assert open_label(str(image), "truth").url.endswith("labels/truth")
    assert open_label(str(image), "cells").url.endswith("labels/cells-0123abcd")
    assert open_label(str(image), "cells-0123abcd").metadata.name == "cells"
    assert open_label(str(image), "cells-9").volumes[0].shape == (3, 5, 7)  # staged
    with pytest.raises(StorageError, match=r"'x' is not in .*there: truth, cells-0123abcd"):
        open_label(str(image), "x")
    with pytest.raises(StorageError, match=r"label name '\.\./truth' is not usable"):
        open_label(str(image), "../truth")


def test_image_without_labels(image):
    assert published_labels(str(image)) == ()
    with pytest.raises(StorageError, match=r"'truth' is not in .*labels there: none"):
        open_label(str(image), "truth")


def test_absent_and_not_a_zarr(tmp_path):
    (tmp_path / "stack.tif").write_bytes(b"II*")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match=r"none\.zarr does not exist"):
        open_image(str(tmp_path / "none.zarr"))
    for name in ("stack.tif", "folder"):
        with pytest.raises(StorageError, match=rf"{name} is not a Zarr.*maskmill import"):
            open_image(str(tmp_path / name))


def test_zarr_that_is_no_image(image, tmp_path):
    write_group(tmp_path / "plain.zarr", {})
    with pytest.raises(StorageError, match="Zarr group without OME metadata"):
        open_image(str(tmp_path / "plain.zarr"))
    with pytest.raises(StorageError, match=r"is a Zarr array.*such as .*fly\.zarr$"):
        open_image(str(image / "0"))
    (tmp_path / "plain.zarr" / "zarr.json").write_text("{")
    with pytest.raises(StorageError, match="is not a readable Zarr"):
        open_image(str(tmp_path / "plain.zarr"))


def test_level_that_does_not_fit(image):
    metadata = ImageMetadata(
        "0.5", "fly", METADATA.axes, (*METADATA.levels, Level("1", (1.0,) * 4, (0.0,) * 4))
    )
    write_group(image, image_attributes(metadata))
    with pytest.raises(StorageError, match="lists the level '1', but no array"):
        open_image(str(image))
    write_array(image, "1", (3, 5, 7), "zyx")
    with pytest.raises(StorageError, match=r"shape \(3, 5, 7\) for the 4 axes czyx"):
        open_image(str(image))


def test_voxels_must_be_numbers(image):
    document = json.loads((image / "0" / "zarr.json").read_text())
    document["data_type"], document["fill_value"] = "complex64", [0.0, 0.0]
    (image / "0" / "zarr.json").write_text(json.dumps(document))
    with pytest.raises(StorageError, match="holds complex64 voxels; expected numbers"):
        open_image(str(image))
