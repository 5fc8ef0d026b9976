import tracemalloc

import imagecodecs
import numpy as np
import ome_zarr_models
import pytest
import tifffile
import yaozarrs
import zarr
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader

from storage import source_images
from storage.blobs import Blobs
from storage.convert import import_image, import_labels
from storage.downsample import mean_downsample, mode_downsample
from storage.errors import StorageError
from storage.labels import listed
from storage.ome_labels import parse_label_classes
from storage.volume import open_image, open_label

RNG = np.random.default_rng(6)
VOXELS = RNG.integers(0, 255, (5, 300, 270), dtype=np.uint8)
TRUTH = RNG.integers(0, 4, VOXELS.shape, dtype=np.uint8)


def save(path, voxels):
    np.save(path, voxels)
    return [str(path)]


@pytest.fixture
def image(tmp_path):
    sources = save(tmp_path / "a.npy", VOXELS)
    return import_image(sources, str(tmp_path / "a.zarr"), voxel_size=(0.2, 0.1, 0.1), unit="um")


@pytest.mark.parametrize(
    ("axes", "shape"),
    [
        ("yx", (300, 20)),
        ("zyx", (70, 90, 80)),
        ("cyx", (2, 300, 20)),
        ("tyx", (3, 40, 300)),
        ("czyx", (2, 5, 300, 20)),
        ("tcyx", (2, 2, 30, 300)),
        ("tczyx", (2, 2, 3, 20, 300)),
        ("zyxc", (4, 300, 30, 3)),
        ("xyz", (30, 300, 4)),
        ("ctzxy", (2, 3, 4, 20, 300)),
    ],
)
def test_any_axes(tmp_path, axes, shape):
    voxels = RNG.integers(0, 2**16, shape, dtype=np.uint16)
    sources = save(tmp_path / "a.npy", voxels)
    image = import_image(sources, str(tmp_path / "a.zarr"), axes=axes)
    ordered = [axis for axis in "tczyx" if axis in axes]
    expected = voxels.transpose([axes.index(axis) for axis in ordered])
    assert image.metadata.axis_names == "".join(ordered)
    assert image.metadata.name == "a"
    np.testing.assert_array_equal(image.volumes[0][:], expected)
    for fine, coarse in zip(image.volumes, image.volumes[1:], strict=False):
        factors = [
            2 if a in "zyx" and n > 1 else 1 for a, n in zip(ordered, fine.shape, strict=True)
        ]
        np.testing.assert_array_equal(coarse[:], mean_downsample(fine[:], factors))
    assert len(image.volumes) == (2 if max(shape) == 300 else 1)


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint32", "int64", "float16", "float64", ">f4"])
def test_data_types_are_kept(tmp_path, dtype):
    voxels = RNG.integers(0, 2, (3, 20, 20)).astype(dtype)
    image = import_image(save(tmp_path / "a.npy", voxels), str(tmp_path / "a.zarr"))
    expected = "uint8" if dtype == "bool" else np.dtype(dtype).name
    assert image.volumes[0].dtype == expected
    np.testing.assert_array_equal(image.volumes[0][:], voxels.astype(expected))


def test_voxel_size_and_unit_of_the_file_and_of_the_caller(tmp_path):
    metadata = {"axes": "ZYX", "PhysicalSizeX": 4.0, "PhysicalSizeXUnit": "nm",
                "PhysicalSizeY": 4.0, "PhysicalSizeYUnit": "nm", "PhysicalSizeZ": 40.0,
                "PhysicalSizeZUnit": "nm"}  # fmt: skip
    sources = [str(tmp_path / "a.ome.tif")]
    tifffile.imwrite(sources[0], VOXELS, metadata=metadata)
    told = import_image(sources, str(tmp_path / "told.zarr")).volumes[0]
    assert (told.voxel_size, told.unit) == ((40.0, 4.0, 4.0), "nanometer")
    given = import_image(
        sources, str(tmp_path / "given.zarr"), voxel_size=(45, 4.6, 4.6), unit="nm", name="fly"
    )
    assert given.volumes[0].voxel_size == (45.0, 4.6, 4.6)
    assert given.metadata.name == "fly"
    # Sections: chunks hold one of them.
    assert told.chunks[0] == 1


def test_image_and_label_pass_three_validators(image, tmp_path):
    sources = save(tmp_path / "t.npy", TRUTH)
    import_labels(sources, image.url, name="truth", classes=("background", "a", "b", "c"))
    import_labels(sources, image.url, name="cells", instances=True)
    yaozarrs.validate_zarr_store(image.url)
    for name in ("truth", "cells"):
        yaozarrs.validate_zarr_store(f"{image.url}/labels/{name}")
        ome_zarr_models.v05.ImageLabel.from_zarr(
            zarr.open_group(f"{image.url}/labels/{name}", mode="r")
        )
    group = zarr.open_group(image.url, mode="r")
    ome_zarr_models.v05.Image.from_zarr(group)
    ome_zarr_models.v05.Labels.from_zarr(zarr.open_group(f"{image.url}/labels", mode="r"))
    nodes = {str(node.zarr.basename()): node for node in Reader(parse_url(image.url, mode="r"))()}
    assert {"truth", "cells"} <= set(nodes)
    np.testing.assert_array_equal(np.asarray(nodes["truth"].data[0]), TRUTH)
    assert [level.shape for level in nodes["truth"].data] == [v.shape for v in image.volumes]


def test_levels_equal_the_same_import_with_another_scheduler(tmp_path):
    sources = save(tmp_path / "a.npy", VOXELS)
    listings = []
    for scheduler in ("threads", "synchronous"):
        url = str(tmp_path / scheduler)
        import_image(sources, url, scheduler=scheduler, name="same")
        listings.append({key: Blobs(url).read(key) for key, _ in Blobs(url).list()})
    assert listings[0] == listings[1]


def test_progress_counts_cells(tmp_path):
    seen = []
    sources = save(tmp_path / "a.npy", VOXELS)
    import_image(sources, str(tmp_path / "a.zarr"), progress=lambda *step: seen.append(step))
    assert seen == [(n, len(seen)) for n in range(1, len(seen) + 1)]


def test_a_stack_larger_than_memory_streams(tmp_path):
    voxels = np.lib.format.open_memmap(
        tmp_path / "a.npy", mode="w+", dtype=np.uint16, shape=(128, 512, 512)
    )
    voxels[::16] = 7
    voxels.flush()
    slab = 2**22
    sources, url = [str(tmp_path / "a.npy")], str(tmp_path / "a.zarr")
    # A first import, so that loading and compiling code does not count.
    warm = np.zeros((2, 300, 300), np.uint16)
    import_image(save(tmp_path / "warm.npy", warm), str(tmp_path / "warm.zarr"))
    tracemalloc.start()
    image = import_image(sources, url, slab_bytes=slab)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # 64 MiB of voxels; a slab, the cells being compressed and those of the pyramid at once.
    assert peak < 32 * 2**20
    assert image.volumes[0].shards[0] * 512 * 512 * 2 <= slab
    np.testing.assert_array_equal(image.volumes[0][:40:8, 3, 5], voxels[:40:8, 3, 5])


def test_every_section_is_decoded_once(tmp_path, monkeypatch):
    folder = tmp_path / "sections"
    folder.mkdir()
    for n in range(12):
        color = np.stack([VOXELS[0] + n] * 3, axis=-1)
        (folder / f"{n}.png").write_bytes(imagecodecs.png_encode(color))
    decoded = []
    decode = source_images._decode_png
    monkeypatch.setattr(
        source_images, "_decode_png", lambda file: decoded.append(file.name) or decode(file)
    )
    image = import_image([str(folder)], str(tmp_path / "a.zarr"), slab_bytes=2**20)
    assert image.volumes[0].shape == (3, 12, 300, 270)
    assert sorted(decoded) == sorted(f"{n}.png" for n in range(12))


def test_half_an_import_is_no_image_and_is_made_anew(tmp_path):
    sources = save(tmp_path / "a.npy", VOXELS)
    url = str(tmp_path / "a.zarr")

    def stop(done, total):
        if done == total - 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_image(sources, url, progress=stop)
    assert (tmp_path / "a.zarr" / "0" / "zarr.json").exists()
    with pytest.raises(StorageError, match="is not a Zarr"):
        open_image(url)
    Blobs(url).write("7/c/0/0/0", b"left over")
    image = import_image(sources, url)
    assert not (tmp_path / "a.zarr" / "7").exists()
    np.testing.assert_array_equal(image.volumes[0][:], VOXELS)


def test_nothing_is_overwritten(image, tmp_path):
    sources = save(tmp_path / "b.npy", VOXELS)
    with pytest.raises(StorageError, match=r"a\.zarr is there already; choose another place"):
        import_image(sources, image.url)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("dear")
    with pytest.raises(StorageError, match=r"holds other files \(thesis\.txt, …\)"):
        import_image(sources, str(tmp_path / "home"))
    with pytest.raises(StorageError, match="is a file; choose another place"):
        import_image(sources, str(tmp_path / "b.npy"))
    assert (tmp_path / "home" / "thesis.txt").read_text() == "dear"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"voxel_size": (1, 1)}, r"voxel size \(1, 1\) does not fit the axes zyx; expected 3"),
        ({"voxel_size": (1, 0, 1)}, "expected 3 positive numbers"),
        ({"voxel_size": (1, float("nan"), 1)}, "expected 3 positive numbers"),
        ({"unit": "furlong"}, "unit 'furlong' is not a length"),
        ({"axes": "zyxw"}, "the axes 'zyxw'"),
    ],
)
def test_bad_options_write_nothing(tmp_path, options, message):
    sources = save(tmp_path / "a.npy", VOXELS)
    with pytest.raises(StorageError, match=message):
        import_image(sources, str(tmp_path / "a.zarr"), **options)
    assert not (tmp_path / "a.zarr").exists()


def test_label_levels_are_modes_with_the_images_transforms(image, tmp_path):
    label = import_labels(save(tmp_path / "t.npy", TRUTH), image.url, name="truth")
    assert label.metadata.levels == image.metadata.levels
    assert [v.shape for v in label.volumes] == [v.shape for v in image.volumes]
    assert label.volumes[0].dtype == "uint8"
    np.testing.assert_array_equal(label.volumes[0][:], TRUTH)
    np.testing.assert_array_equal(label.volumes[1][:], mode_downsample(TRUTH, (1, 2, 2)))
    names = [item.name for item in parse_label_classes(label.attributes)]
    assert names == ["background", "class_1", "class_2", "class_3"]
    assert listed(image.url) == ("truth",)
    assert open_label(image.url, "truth") == label


def test_label_of_an_image_with_channels_takes_its_axes(tmp_path):
    voxels = RNG.integers(0, 9, (2, 3, 40, 30), dtype=np.uint8)
    url = str(tmp_path / "a.zarr")
    image = import_image(save(tmp_path / "a.npy", voxels), url, axes="ctyx")
    truth = RNG.integers(0, 3, (3, 40, 30))
    label = import_labels(save(tmp_path / "t.npy", truth), url, name="truth")
    assert image.volumes[0].axes == "tcyx"
    assert label.volumes[0].axes == "tyx"
    np.testing.assert_array_equal(label.volumes[0][:], truth)


@pytest.mark.parametrize(
    ("top", "dtype"), [(255, "uint8"), (256, "uint16"), (2**16, "uint32"), (2**33, "uint64")]
)
def test_ids_get_the_smallest_type(image, tmp_path, top, dtype):
    ids = TRUTH.astype(np.int64)
    ids[-1, -1, -1] = top
    label = import_labels(save(tmp_path / "t.npy", ids), image.url, name="cells", instances=True)
    assert label.volumes[0].dtype == dtype
    assert parse_label_classes(label.attributes) == ()
    np.testing.assert_array_equal(label.volumes[0][:], ids)


def test_binary_mask_of_0_and_255(image, tmp_path):
    mask = np.where(TRUTH > 1, 255, 0).astype(np.uint8)
    label = import_labels(save(tmp_path / "t.npy", mask), image.url, name="mask")
    found = [(c.value, c.name) for c in parse_label_classes(label.attributes)]
    assert found == [(0, "background"), (255, "class_255")]
    flags = import_labels(save(tmp_path / "b.npy", TRUTH > 1), image.url, name="flags")
    np.testing.assert_array_equal(flags.volumes[0][:], TRUTH > 1)


def with_value(value, dtype):
    voxels = TRUTH.astype(dtype)
    voxels[2, 100, 100] = value
    return voxels


@pytest.mark.parametrize(
    ("voxels", "options", "message"),
    [
        (
            TRUTH[:4],
            {},
            r"labels have the shape \(4, 300, 270\) \(zyx\), but the image without channels has "
            r"\(5, 300, 270\) \(zyx\)",
        ),
        (TRUTH[0], {}, r"shape \(300, 270\) \(yx\), but the image"),
        (TRUTH, {"axes": "tyx"}, r"\(5, 300, 270\) \(tyx\), but the image"),
        (TRUTH.astype(np.float32), {}, r"whole numbers; save them as integers, such as .*astype"),
        (with_value(0.25, np.float32), {}, "fractional values such as 0.25; expected integers"),
        (with_value(np.nan, np.float32), {}, "fractional values such as nan"),
        (with_value(-1, np.int16), {}, "negative value -1; labels are 0 for background"),
        (np.arange(TRUTH.size).reshape(TRUTH.shape), {}, "more than 256 different values.*--inst"),
        (
            with_value(7, np.uint8),
            {"classes": ("background", "a", "b", "c")},
            r"values 7 \(1 voxels\) outside the classes 0 to 3 \(background, a, b, c\)",
        ),
        (TRUTH, {"classes": ("background", "a", "a", "c")}, "expected at least two different"),
        (TRUTH, {"classes": ("b", "a"), "instances": True}, "both classes and instances"),
        (TRUTH, {"name": "a/b"}, "label name 'a/b' is not usable"),
        (TRUTH, {"name": ".."}, r"label name '\.\.' is not usable"),
        (TRUTH, {"name": ""}, "label name '' is not usable"),
    ],
)
def test_bad_labels_write_nothing(image, tmp_path, voxels, options, message):
    sources = save(tmp_path / "t.npy", voxels)
    with pytest.raises(StorageError, match=message):
        import_labels(sources, image.url, **{"name": "truth", **options})
    assert not (tmp_path / "a.zarr" / "labels").exists()


def test_many_values_outside_are_summed_up(image, tmp_path):
    voxels = (np.arange(TRUTH.size) % 30).reshape(TRUTH.shape)
    with pytest.raises(StorageError, match=r"values 2 \(13500 voxels\), .* and 20 more outside"):
        import_labels(save(tmp_path / "t.npy", voxels), image.url, name="x", classes=("a", "b"))


def test_label_that_is_there_already(image, tmp_path):
    sources = save(tmp_path / "t.npy", TRUTH)
    import_labels(sources, image.url, name="truth")
    with pytest.raises(StorageError, match=r"label 'truth' of .* is there already"):
        import_labels(sources, image.url, name="truth")


def test_half_a_label_is_invisible_and_made_anew(image, tmp_path):
    sources = save(tmp_path / "t.npy", TRUTH)

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_labels(sources, image.url, name="truth", progress=stop)
    assert listed(image.url) == ()
    yaozarrs.validate_zarr_store(image.url)
    with pytest.raises(StorageError, match="'truth' is not in"):
        open_label(image.url, "truth")
    label = import_labels(sources, image.url, name="truth")
    np.testing.assert_array_equal(label.volumes[0][:], TRUTH)


def test_labels_of_a_04_image_are_refused(tmp_path):
    group = zarr.create_group(str(tmp_path / "old.zarr"), zarr_format=2)
    group.create_array("0", shape=(4, 4), dtype="uint8")
    scale = [{"type": "scale", "scale": [1.0, 1.0]}]
    group.attrs["multiscales"] = [
        {
            "version": "0.4",
            "axes": [{"name": "y", "type": "space"}, {"name": "x", "type": "space"}],
            "datasets": [{"path": "0", "coordinateTransformations": scale}],
        }
    ]
    sources = save(tmp_path / "t.npy", np.zeros((4, 4), np.uint8))
    with pytest.raises(StorageError, match=r"is OME-Zarr 0\.4, whose labels maskmill does not"):
        import_labels(sources, str(tmp_path / "old.zarr"), name="truth")
