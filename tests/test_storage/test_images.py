"""Images that are samples: files of a folder, planes of a stack."""

import pickle

import numpy as np
import pytest
import tifffile
from PIL import Image

from storage.convert import import_image
from storage.errors import StorageError
from storage.images import open_images


def grey(shape=(5, 7), dtype=np.uint8, seed=0):
    most = np.iinfo(dtype).max
    return np.random.default_rng(seed).integers(0, most, shape).astype(dtype)


def save(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)


def test_a_folder_in_natural_order(tmp_path):
    for name in ("s10.png", "s2.PNG", "s1.png", "notes.txt", ".hidden.png"):
        save(tmp_path / name, grey()) if name != "notes.txt" else (tmp_path / name).touch()
    save(tmp_path / "deeper" / "s3.png", grey())
    source = open_images(str(tmp_path))
    assert source.names == ("s1.png", "s2.PNG", "s10.png")
    assert pickle.loads(pickle.dumps(source)) == source  # noqa: S301 our own bytes


def test_names_choose_and_order_the_images(tmp_path):
    for number in range(3):
        save(tmp_path / "deeper" / f"{number}.png", grey(seed=number))
    source = open_images(str(tmp_path), ["deeper/2.png", "deeper/0.png"])
    assert source.names == ("deeper/2.png", "deeper/0.png")
    np.testing.assert_array_equal(source.read("deeper/2.png")[..., 0], grey(seed=2))


def test_missing_names_are_listed(tmp_path):
    save(tmp_path / "0.png", grey())
    wanted = ["0.png", *(f"{number}.png" for number in range(1, 8))]
    with pytest.raises(StorageError, match=r"no image '1\.png', .*'5\.png' and 2 more; it holds 1"):
        open_images(str(tmp_path), wanted)


@pytest.mark.parametrize("place", ["empty", "absent"])
def test_a_place_without_images(tmp_path, place):
    (tmp_path / "empty").mkdir()
    with pytest.raises(StorageError, match="does not exist or holds no images; give a folder"):
        open_images(str(tmp_path / place))


RGB = grey((5, 7, 3))
FILES = {
    # name: (how it is written, what is read)
    "grey.png": (lambda p: save(p, grey()), grey()[..., None]),
    "deep.png": (lambda p: save(p, grey(dtype=np.uint16)), grey(dtype=np.uint16)[..., None]),
    "colour.png": (lambda p: save(p, RGB), RGB),
    "alpha.png": (lambda p: save(p, np.dstack([RGB, grey()])), RGB),
    "bits.png": (
        lambda p: save(p, grey() > 127),
        (255 * (grey() > 127)).astype(np.uint8)[..., None],
    ),
    "grey.tif": (lambda p: tifffile.imwrite(p, grey()), grey()[..., None]),
    "swapped.tif": (
        lambda p: tifffile.imwrite(p, grey(dtype=np.uint16), byteorder=">"),
        grey(dtype=np.uint16)[..., None],
    ),
    "float.tif": (
        lambda p: tifffile.imwrite(p, grey().astype(np.float32) / 3),
        (grey().astype(np.float32) / 3)[..., None],
    ),
    "colour.tiff": (lambda p: tifffile.imwrite(p, RGB, photometric="rgb"), RGB),
    "planar.tif": (
        lambda p: tifffile.imwrite(
            p, RGB.transpose(2, 0, 1), photometric="rgb", planarconfig="separate"
        ),
        RGB,
    ),
    "channels.ome.tif": (
        lambda p: tifffile.imwrite(p, grey((4, 5, 7)), metadata={"axes": "CYX"}),
        grey((4, 5, 7)).transpose(1, 2, 0),
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_every_kind_of_file(tmp_path, name):
    write, expected = FILES[name]
    write(tmp_path / name)
    image = open_images(str(tmp_path)).read(name)
    np.testing.assert_array_equal(image, expected)
    assert image.dtype == expected.dtype
    assert image.dtype.isnative


def test_a_palette_becomes_colours(tmp_path):
    indexed = Image.new("P", (2, 2))
    indexed.putpalette([10, 20, 30, 200, 100, 50])
    indexed.putdata([0, 1, 1, 0])
    indexed.save(tmp_path / "indexed.png")
    image = open_images(str(tmp_path)).read("indexed.png")
    assert image.tolist() == [[[10, 20, 30], [200, 100, 50]], [[200, 100, 50], [10, 20, 30]]]


def test_jpeg_is_read_as_it_was_decoded_elsewhere(tmp_path):
    smooth = np.repeat(np.arange(0, 240, 15, dtype=np.uint8)[None], 16, axis=0)
    save(tmp_path / "grey.jpg", smooth, quality=95)
    save(tmp_path / "colour.jpeg", np.dstack([smooth] * 3), quality=95)
    source = open_images(str(tmp_path))
    assert source.read("grey.jpg").shape == (16, 16, 1)
    assert np.abs(source.read("grey.jpg")[..., 0].astype(int) - smooth).max() <= 4
    assert source.read("colour.jpeg").shape == (16, 16, 3)


BROKEN = {
    "text.png": (b"no image", "is not a PNG file"),
    "text.jpg": (b"no image", "cannot be decoded"),
    "text.tif": (b"no image", "cannot be decoded"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_named(tmp_path, name):
    data, match = BROKEN[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(StorageError, match=f"^{name} {match}"):
        open_images(str(tmp_path)).read(name)


@pytest.mark.parametrize("name", ["cut.png", "cut.jpg", "cut.tif"])
def test_a_truncated_file_is_named(tmp_path, name):
    whole = tmp_path / name
    large = grey((64, 64))
    tifffile.imwrite(whole, large) if name == "cut.tif" else save(whole, large)
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(StorageError, match=f"^{name} cannot be decoded"):
        open_images(str(tmp_path)).read(name)


def test_a_stack_in_a_file_is_no_image(tmp_path):
    tifffile.imwrite(tmp_path / "stack.tif", grey((3, 5, 7)), photometric="minisblack")
    with pytest.raises(StorageError, match=r"stack\.tif holds 1 series.*expected one plane"):
        open_images(str(tmp_path)).read("stack.tif")


@pytest.mark.parametrize(
    ("axes", "shape", "count"),
    [("zyx", (3, 5, 7), 3), ("tyx", (4, 5, 7), 4), ("yx", (5, 7), 1), ("zcyx", (2, 3, 5, 7), 2)],
)
def test_planes_of_a_stack(tmp_path, axes, shape, count):
    voxels = grey(shape)
    np.save(tmp_path / "voxels.npy", voxels)
    url = str(tmp_path / "stack.zarr")
    import_image([str(tmp_path / "voxels.npy")], url, axes=axes)
    source = open_images(url)
    assert source.names == tuple(map(str, range(count)))
    planes = voxels if voxels.ndim > 2 else voxels[None]
    channels_last = planes.transpose(0, 2, 3, 1) if "c" in axes else planes[..., None]
    for name in source.names:
        np.testing.assert_array_equal(source.read(name), channels_last[int(name)])
    assert open_images(url, ["0"]).names == ("0",)
    with pytest.raises(StorageError, match="holds no plane '9'"):
        open_images(url, ["9"])


def test_planes_along_two_axes_are_refused(tmp_path):
    np.save(tmp_path / "voxels.npy", grey((2, 3, 5, 7)))
    url = str(tmp_path / "stack.zarr")
    import_image([str(tmp_path / "voxels.npy")], url, axes="tzyx")
    with pytest.raises(StorageError, match="2 time points of 3 planes"):
        open_images(url)
