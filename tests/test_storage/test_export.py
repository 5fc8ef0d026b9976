from pathlib import Path

import numpy as np
import pytest
import tifffile

from storage.convert import import_image, import_labels
from storage.errors import StorageError
from storage.export import export_volume

RNG = np.random.default_rng(7)


def make_image(folder, voxels, **options):
    np.save(folder / "a.npy", voxels)
    return import_image([str(folder / "a.npy")], str(folder / "a.zarr"), **options).url


@pytest.mark.parametrize(
    ("axes", "shape"),
    [
        ("yx", (300, 280)),
        ("zyx", (70, 30, 20)),
        ("czyx", (2, 3, 30, 20)),
        ("tcyx", (3, 2, 30, 20)),
        ("tczyx", (2, 3, 4, 30, 20)),
    ],
)
def test_image_comes_back(tmp_path, axes, shape):
    voxels = RNG.integers(0, 2**16, shape, dtype=np.uint16)
    url = make_image(tmp_path, voxels, axes=axes)
    out = export_volume(url, None, str(tmp_path / "new" / "out.ome.tif"))
    with tifffile.TiffFile(out) as tiff:
        assert tiff.is_ome
        assert not tiff.is_bigtiff
        assert tiff.series[0].axes == axes.upper()
        np.testing.assert_array_equal(tiff.asarray(), voxels)
    assert [path.name for path in Path(out).parent.iterdir()] == ["out.ome.tif"]


def test_label_level_with_voxel_size(tmp_path):
    truth = RNG.integers(0, 4, (5, 300, 280), dtype=np.uint8)
    url = make_image(tmp_path, truth * 2, voxel_size=(0.045, 0.0046, 0.005), unit="um")
    np.save(tmp_path / "t.npy", truth)
    label = import_labels([str(tmp_path / "t.npy")], url, name="truth")
    out = export_volume(url, "truth", str(tmp_path / "truth.tif"), level=1)
    np.testing.assert_array_equal(tifffile.imread(out), label.volumes[1][:])
    # Importing it again finds the voxel size: that of the level.
    again = import_image([str(out)], str(tmp_path / "again.zarr")).volumes[0]
    assert again.voxel_size == pytest.approx((0.045, 0.0092, 0.01))
    assert again.unit == "micrometer"


def test_more_than_4_gb_is_a_big_tiff(tmp_path, monkeypatch):
    monkeypatch.setattr("storage.export.CLASSIC_BYTES", 100)
    url = make_image(tmp_path, np.zeros((20, 20), np.uint8))
    out = export_volume(url, None, str(tmp_path / "out.tif"))
    with tifffile.TiffFile(out) as tiff:
        assert tiff.is_bigtiff


def test_refusals(tmp_path):
    url = make_image(tmp_path, np.zeros((20, 20), np.uint64))
    (tmp_path / "there.tif").write_bytes(b"mine")
    with pytest.raises(StorageError, match=r"there\.tif is there already"):
        export_volume(url, None, str(tmp_path / "there.tif"))
    with pytest.raises(StorageError, match=r"out\.png is no TIFF name"):
        export_volume(url, None, str(tmp_path / "out.png"))
    with pytest.raises(StorageError, match="'truth' is not in"):
        export_volume(url, "truth", str(tmp_path / "out.tif"))
    with pytest.raises(StorageError, match=r"level 3 is not in .*; it has 0 to 0"):
        export_volume(url, None, str(tmp_path / "out.tif"), level=3)
    with pytest.raises(StorageError, match="holds uint64 voxels, which OME-TIFF cannot"):
        export_volume(url, None, str(tmp_path / "out.tif"))
    assert not (tmp_path / "out.tif").exists()
    assert (tmp_path / "there.tif").read_bytes() == b"mine"


def test_interrupted_export_leaves_nothing(tmp_path, monkeypatch):
    url = make_image(tmp_path, np.zeros((3, 20, 20), np.uint8))

    def torn(volume):
        yield np.zeros((20, 20), np.uint8)
        raise OSError("No space left on device")

    monkeypatch.setattr("storage.export._planes", torn)
    with pytest.raises(OSError, match="No space left"):
        export_volume(url, None, str(tmp_path / "out.tif"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npy", "a.zarr"]
