import h5py
import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from storage.errors import StorageError
from storage.sources import open_stack

RNG = np.random.default_rng(5)
VOXELS = RNG.integers(0, 255, (6, 21, 30), dtype=np.uint8)
COLOR = RNG.integers(0, 255, (6, 21, 30, 3), dtype=np.uint8)


def read_all(path, **options):
    paths = path if isinstance(path, list) else [path]
    with open_stack([str(p) for p in paths], **options) as stack:
        whole = stack.read((0,) * len(stack.shape), stack.shape)
        # A box in the middle is the same voxels.
        start = tuple(n // 3 for n in stack.shape)
        part = stack.read(start, stack.shape)
        np.testing.assert_array_equal(part, whole[tuple(slice(a, None) for a in start)])
        assert whole.shape == stack.shape
        return stack.axes, whole, dict(stack.raw.voxel_size), stack.raw.unit


@pytest.mark.parametrize(
    "options",
    [
        {"metadata": {"axes": "ZYX"}},
        {"metadata": None},
        {},
        {"compression": "zlib", "predictor": True},
        {"tile": (16, 16)},
        {"rowsperstrip": 4, "compression": "lzw"},
        {"imagej": True, "metadata": {"axes": "ZYX"}},
        {"ome": True, "metadata": {"axes": "ZYX"}, "bigtiff": True, "compression": "zstd"},
        {"byteorder": ">"},
    ],
)
def test_tiff_of_many_pages(tmp_path, options):
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, VOXELS.astype(np.uint16) * 7, photometric="minisblack", **options)
    axes, whole, _, _ = read_all(path)
    assert axes == "zyx"
    np.testing.assert_array_equal(whole, VOXELS.astype(np.uint16) * 7)


def test_large_pages_are_read_by_tiles(tmp_path, monkeypatch):
    monkeypatch.setattr("storage.source_tiff.MAX_PAGE_BYTES", 16)
    tifffile.imwrite(tmp_path / "a.tif", VOXELS, tile=(16, 16), compression="zlib")
    np.testing.assert_array_equal(read_all(tmp_path / "a.tif")[1], VOXELS)


def test_ome_tiff_voxel_size_in_mixed_units(tmp_path):
    metadata = {
        "axes": "ZCYX",
        "PhysicalSizeX": 0.0046,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": 0.0046,
        "PhysicalSizeZ": 45,
        "PhysicalSizeZUnit": "nm",
    }
    voxels = np.stack([VOXELS, VOXELS // 2], axis=1)
    tifffile.imwrite(tmp_path / "a.ome.tif", voxels, metadata=metadata)
    axes, whole, sizes, unit = read_all(tmp_path / "a.ome.tif")
    assert (axes, unit) == ("czyx", "micrometer")
    assert sizes == pytest.approx({"z": 0.045, "y": 0.0046, "x": 0.0046})
    np.testing.assert_array_equal(whole, voxels.transpose(1, 0, 2, 3))


@pytest.mark.parametrize("kind", [{"imagej": True}, {}])
def test_spacing_of_imagej_and_tifffile(tmp_path, kind):
    metadata = {"axes": "ZYX", "spacing": 0.5, "unit": "micron"}
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, VOXELS, resolution=(4.0, 5.0), metadata=metadata, **kind)
    _, _, sizes, unit = read_all(path)
    assert sizes == pytest.approx({"z": 0.5, "x": 0.25, "y": 0.2})
    assert unit == "micrometer"


def test_dots_per_inch_are_no_voxel_size(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", VOXELS, resolution=(300, 300), resolutionunit="INCH")
    assert read_all(tmp_path / "a.tif")[2:] == ({}, None)


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_colour_tiff_stack(tmp_path, planar):
    voxels = COLOR if planar == "contig" else COLOR.transpose(0, 3, 1, 2)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, voxels, photometric="rgb", planarconfig=planar, compression="zlib")
    axes, whole, _, _ = read_all(path)
    assert axes == "czyx"
    np.testing.assert_array_equal(whole, COLOR.transpose(3, 0, 1, 2))


def write_pngs(folder, images, names):
    folder.mkdir(exist_ok=True)
    for image, name in zip(images, names, strict=True):
        (folder / name).write_bytes(imagecodecs.png_encode(image))


def test_png_folder_in_natural_order(tmp_path):
    write_pngs(tmp_path / "s", VOXELS, [f"s{n}.png" for n in (1, 2, 9, 10, 11, 100)])
    (tmp_path / "s" / "notes.txt").write_text("ignored")
    axes, whole, _, _ = read_all(tmp_path / "s")
    assert axes == "zyx"
    np.testing.assert_array_equal(whole, VOXELS)
    files = sorted((tmp_path / "s").glob("*.png"))  # s1, s10, s100, …
    np.testing.assert_array_equal(read_all(files)[1], VOXELS)
    assert read_all(files, axes="tyx")[0] == "tyx"


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_colour_pngs(tmp_path, dtype):
    images = COLOR.astype(dtype) * (np.iinfo(dtype).max // 255)
    write_pngs(tmp_path / "s", images, [f"{n}.png" for n in range(6)])
    axes, whole, _, _ = read_all(tmp_path / "s")
    assert (axes, whole.dtype) == ("czyx", dtype)
    np.testing.assert_array_equal(whole, images.transpose(3, 0, 1, 2))
    axes, whole, _, _ = read_all(tmp_path / "s" / "0.png")
    assert axes == "cyx"
    np.testing.assert_array_equal(whole, images[0].transpose(2, 0, 1))


def test_palette_and_one_bit_png_give_indices(tmp_path):
    indices = VOXELS[0] % 4
    image = Image.fromarray(indices).convert("P")
    image.putpalette([0, 0, 0, 9, 9, 9, 50, 0, 0, 0, 0, 99])
    image.save(tmp_path / "palette.png")
    Image.fromarray(indices > 1).save(tmp_path / "bit.png")
    np.testing.assert_array_equal(read_all(tmp_path / "palette.png")[1], indices)
    np.testing.assert_array_equal(read_all(tmp_path / "bit.png")[1], indices > 1)


def test_folder_of_tiffs(tmp_path):
    for n, plane in enumerate(VOXELS):
        tifffile.imwrite(tmp_path / f"p{n}.tif", plane)
    axes, whole, _, _ = read_all(tmp_path)
    assert axes == "zyx"
    np.testing.assert_array_equal(whole, VOXELS)


def test_stacks_of_a_series_need_axes(tmp_path):
    for n in range(2):
        tifffile.imwrite(tmp_path / f"t{n}.tif", VOXELS + n)
    with pytest.raises(StorageError, match="axes are unknown; name them with --axes"):
        read_all(tmp_path)
    axes, whole, _, _ = read_all(tmp_path, axes="TZYX")
    assert axes == "tzyx"
    np.testing.assert_array_equal(whole[1], VOXELS + 1)


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((21, 30), "yx"),
        ((6, 21, 30), "zyx"),
        ((2, 6, 21, 30), "czyx"),
        ((2, 2, 6, 21, 30), "tczyx"),
        ((21, 30, 3), "cyx"),
        ((6, 21, 30, 4), "czyx"),
        ((5, 3, 4), "zyx"),
    ],
)
def test_arrays_without_axes(tmp_path, shape, axes):
    voxels = RNG.random(shape).astype(np.float32)
    np.save(tmp_path / "a.npy", voxels)
    found, whole, _, _ = read_all(tmp_path / "a.npy")
    assert found == axes
    color = shape[-1] in (3, 4) and shape[-2] > 4
    np.testing.assert_array_equal(whole, np.moveaxis(voxels, -1, 0) if color else voxels)


def test_axes_in_another_order_and_likely_ones(tmp_path):
    np.save(tmp_path / "a.npy", VOXELS)
    axes, whole, _, _ = read_all(tmp_path / "a.npy", axes="xzy")
    assert axes == "zyx"
    np.testing.assert_array_equal(whole, VOXELS.transpose(1, 2, 0))
    assert read_all(tmp_path / "a.npy", likely_axes="tyx")[0] == "tyx"
    assert read_all(tmp_path / "a.npy", likely_axes="yx")[0] == "zyx"


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz(tmp_path, save):
    save(tmp_path / "one.npz", VOXELS)
    save(tmp_path / "two.npz", raw=VOXELS, truth=np.asfortranarray(VOXELS // 2))
    np.testing.assert_array_equal(read_all(tmp_path / "one.npz")[1], VOXELS)
    np.testing.assert_array_equal(read_all(tmp_path / "two.npz", dataset="truth")[1], VOXELS // 2)
    with pytest.raises(StorageError, match=r"holds 2 arrays \(raw, truth\); choose one"):
        read_all(tmp_path / "two.npz")


def test_hdf5(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["volumes/raw"] = VOXELS
    np.testing.assert_array_equal(read_all(tmp_path / "a.h5")[1], VOXELS)
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["volumes/truth"] = VOXELS // 2
    np.testing.assert_array_equal(
        read_all(tmp_path / "a.h5", dataset="/volumes/truth")[1], VOXELS // 2
    )
    with pytest.raises(StorageError, match=r"2 datasets \(volumes/raw, volumes/truth\); choose"):
        read_all(tmp_path / "a.h5")
    with pytest.raises(StorageError, match="has no 'x' among its datasets"):
        read_all(tmp_path / "a.h5", dataset="x")


def test_several_series_need_a_number(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(VOXELS)
        writer.write(VOXELS[:, :9], photometric="minisblack")
    with pytest.raises(StorageError, match=r"holds 2 image series .* choose one with --dataset"):
        read_all(tmp_path / "a.tif")
    assert read_all(tmp_path / "a.tif", dataset="1")[1].shape == (6, 9, 30)
    with pytest.raises(StorageError, match="no series '2'; expected a number from 0 to 1"):
        read_all(tmp_path / "a.tif", dataset="2")


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ("qyx", "axes are unknown"),
        ("ayx", "the axes 'ayx'; expected two to five different letters"),
        ("yyx", "the axes 'yyx'; expected two to five different letters"),
        ("tcz", "with y and x among them"),
        ("czyx", r"shape \(6, 21, 30\): 3 axes, but 'czyx' names 4"),
    ],
)
def test_bad_axes(tmp_path, axes, message):
    np.save(tmp_path / "a.npy", VOXELS)
    with pytest.raises(StorageError, match=message):
        read_all(tmp_path / "a.npy", axes=axes)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones((4, 4), np.complex64), "holds complex64 voxels; expected integers, floats"),
        (np.array([["a", "b"]]), "holds <U1 voxels"),
        (np.array([[None]]), "not an NPY file of numbers"),
        (np.ones((3, 0, 4)), "holds no voxels"),
        (np.ones(4), "axes are unknown"),
        (np.ones((1,) * 6), "axes are unknown"),
    ],
)
def test_arrays_that_are_no_stack(tmp_path, array, message):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(StorageError, match=message):
        read_all(tmp_path / "a.npy")


def test_files_that_do_not_go_together(tmp_path):
    write_pngs(tmp_path / "s", [VOXELS[0], VOXELS[0, :9]], ["a.png", "b.png"])
    with pytest.raises(StorageError, match=r"b\.png has the shape \(9, 30\) of uint8, but a\.png"):
        read_all(tmp_path / "s")
    np.save(tmp_path / "a.npy", VOXELS)
    with pytest.raises(StorageError, match=r"several sources of the kinds \.npy, \.png"):
        read_all([tmp_path / "a.npy", tmp_path / "s" / "a.png"])


@pytest.mark.parametrize("name", ["a.tif", "a.npy", "a.npz", "a.h5", "a.png"])
def test_broken_files(tmp_path, name):
    (tmp_path / name).write_bytes(b"no such format, whatever the name says")
    with pytest.raises(StorageError, match=r"a\.\w+ is not an? "):
        read_all(tmp_path / name)


def test_png_that_breaks_off(tmp_path):
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(VOXELS[0])[:60])
    with pytest.raises(StorageError, match=r"a\.png cannot be decoded"):
        read_all(tmp_path / "a.png")


def test_sources_that_are_not_there(tmp_path):
    with pytest.raises(StorageError, match="no source was given"):
        read_all([])
    with pytest.raises(StorageError, match=r"x\.tif does not exist"):
        read_all(tmp_path / "x.tif")
    with pytest.raises(StorageError, match="holds no PNG or TIFF images"):
        read_all(tmp_path)
    (tmp_path / "a.jpg").write_bytes(b"")
    with pytest.raises(StorageError, match=r"of an unknown kind; expected one of \.tif"):
        read_all(tmp_path / "a.jpg")
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / "zarr.json").write_text("{}")
    with pytest.raises(StorageError, match="is a Zarr already"):
        read_all(tmp_path / "a.zarr")


def test_ome_tiff_with_a_part_missing(tmp_path):
    xml = """<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">
    <Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8"
    SizeX="30" SizeY="21" SizeZ="2" SizeC="1" SizeT="1"><Channel ID="Channel:0:0"/>
    <TiffData IFD="0" FirstZ="0" PlaneCount="1"><UUID FileName="a.ome.tif">urn:uuid:1</UUID>
    </TiffData><TiffData IFD="0" FirstZ="1" PlaneCount="1"><UUID FileName="b.ome.tif">urn:uuid:2
    </UUID></TiffData></Pixels></Image></OME>"""
    tifffile.imwrite(tmp_path / "a.ome.tif", VOXELS[0], description=xml, metadata=None)
    with pytest.raises(StorageError, match="part of an OME-TIFF of several files"):
        read_all(tmp_path / "a.ome.tif")
