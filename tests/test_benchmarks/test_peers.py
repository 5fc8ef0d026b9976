"""What the peers are given is right: the converted network, tiles, the counted work."""

import numpy as np
import pytest
import zarr
from scipy import ndimage

from benchmarks.arithmetic import flops_per_voxel
from benchmarks.bench import MEBIBYTE, Watched
from benchmarks.peers import dask_overlap, keras_loops, trial
from benchmarks.peers.contender import contend
from benchmarks.peers.keras_loops import keep
from benchmarks.peers.spec import Spec, tiled
from benchmarks.peers.trial import Contender, agreement, with_less_memory
from segmentation.networks.unet import build_unet
from storage.convert import import_image

SIZES = [((96, 64), 32, (8, 8)), ((64, 64), 64, (8, 8)), ((80, 48), 48, (16, 16))]


@pytest.mark.parametrize(("shape", "tile", "halo"), SIZES)
def test_cores_cover_a_plane_once_and_keep_away_from_borders_inside(shape, tile, halo):
    count = np.zeros(shape, np.uint8)
    for window, core in tiled(shape, tile, halo):
        count[core] += 1
        for w, c, size, h in zip(window, core, shape, halo, strict=True):
            assert w.stop - w.start == min(tile, size)
            assert w.start % 8 == 0
            assert c.start == 0 or c.start - w.start >= h
            assert c.stop == size or w.stop - c.stop >= h
    assert (count == 1).all()


def test_the_kept_cores_make_up_the_plane():
    plane = np.arange(96 * 64, dtype=np.uint8).reshape(96, 64)
    windows = list(tiled(plane.shape, 32, (8, 8)))
    mask = np.zeros_like(plane)
    keep(np.stack([plane[window] for window, _ in windows]), windows, mask)
    assert (mask == plane).all()


def looks_around(tiles):
    """In place of a network: the largest voxel as far as the halo, 0 beyond the plane."""
    return ndimage.maximum_filter(tiles[..., 0], (0, 17, 17), mode="constant").astype(np.uint8)


@pytest.mark.parametrize(
    ("module", "prepare", "settings"),
    [
        (keras_loops, "prepare_compiled", {"tile": 48, "batch": 2}),
        (keras_loops, "prepare_compiled", {"tile": 96, "batch": 1}),
        (dask_overlap, "prepare", {"tile": 32, "batch": 2, "workers": 2}),
        (dask_overlap, "prepare", {"tile": 96, "batch": 1, "workers": 1}),
    ],
)
def test_a_peer_gives_what_whole_planes_give(module, prepare, settings, tmp_path, monkeypatch):
    voxels = np.random.default_rng(0).integers(1, 250, (3, 96, 80)).astype(np.uint8)
    np.save(tmp_path / "voxels.npy", voxels)
    image = import_image([str(tmp_path / "voxels.npy")], str(tmp_path / "image.zarr"), axes="zyx")
    monkeypatch.setattr(Spec, "model", lambda _: None)
    monkeypatch.setattr(Spec, "halo", property(lambda _: (8, 8)))
    monkeypatch.setattr(module, "compiled_classes", lambda _: looks_around)
    spec = Spec(image.url, "", str(tmp_path / "mask.zarr"), 3, 0.0, 1.0, 1)
    figures = contend(spec, getattr(module, prepare)(spec, settings))
    expected = str(tmp_path / "expected.zarr")
    zarr.save_array(expected, looks_around(voxels[..., np.newaxis]))
    assert agreement(figures["mask"], expected) == 1.0
    whole = settings["tile"] == 96
    assert (figures["computed_voxels"] == voxels.size) == whole
    assert figures["written_bytes"] > 0


def test_agreement_is_the_share_of_equal_voxels(tmp_path):
    first = np.zeros((2, 4, 5), np.uint8)
    second = first.copy()
    second[1, 2, :4] = 1
    for name, array in (("a", first), ("b", second)):
        zarr.save_array(str(tmp_path / name), array)
    assert agreement(str(tmp_path / "a"), str(tmp_path / "b")) == 0.9


PLANS = {1300: 1056, 1076: 930, 944: 820}


@pytest.mark.parametrize(("limit", "budget"), [(2000, None), (940, "1274MiB"), (600, "refused")])
def test_less_memory_is_the_largest_budget_below_a_limit(monkeypatch, tmp_path, limit, budget):
    def run(_spec, _name, settings, _folder):
        given = int(settings.get("memory", "9999MiB").removesuffix("MiB"))
        fitting = [planned for planned in PLANS if planned <= given]
        if not fitting:
            raise RuntimeError("does not fit")
        planned, peak = max(fitting), PLANS[max(fitting)]
        sizes = {"projected_bytes": planned * MEBIBYTE, "peak_bytes": peak * MEBIBYTE}
        return Watched(sizes, 1.0, 1.0)

    monkeypatch.setattr(trial, "run_child", run)
    spec = Spec("", "", "", 1, 0.0, 1.0, 1)
    found = with_less_memory(spec, tmp_path, Contender("ours", "maskmill", {}), limit * MEBIBYTE)
    assert [one.settings.get("memory") for one in found] == (
        [] if budget == "refused" else [budget]
    )


def test_work_is_counted_from_the_graph():
    # Two 3 × 3 convolutions 1 → 2 → 2 and a 1 × 1 head 2 → 3: 2 · (18 + 36 + 6) a voxel.
    model = build_unet("yx", channels=1, num_classes=3, width=2, depth=0)
    assert flops_per_voxel(model) == 120


@pytest.mark.parametrize(
    "options",
    [
        {"depth": 2},
        {"depth": 1, "upsampling": "transpose", "batch_norm": False},
        {"depth": 2, "pool": [(2, 1), (2, 4)], "dilation": 2},
    ],
)
def test_the_network_in_pytorch_says_what_keras_says(options):
    torch = pytest.importorskip("torch", reason="PyTorch is in .venv-bench alone: `make bench`")
    from benchmarks.peers.torch_unet import torch_unet

    model = build_unet("yx", channels=1, num_classes=3, width=4, seed=3, **options)
    rng = np.random.default_rng(0)
    # Moving statistics and scales of a network that has learned something.
    for layer in model.layers:
        if layer.name.endswith("_norm"):
            layer.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
    images = rng.random((2, 32, 48, 1), np.float32)
    expected = np.asarray(model(images, training=False))
    with torch.inference_mode():
        logits = torch_unet(model)(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()))
        found = logits.softmax(dim=1).numpy().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_kernel_that_pytorch_pads_elsewhere_is_refused():
    pytest.importorskip("torch", reason="PyTorch is in .venv-bench alone: `make bench`")
    from benchmarks.peers.torch_unet import torch_unet

    model = build_unet("yx", channels=1, num_classes=3, width=2, depth=1, kernel_size=2)
    with pytest.raises(ValueError, match="kernel of 2 × 2; expected odd sizes"):
        torch_unet(model)
