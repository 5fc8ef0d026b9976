"""Bundle: card and model go to disk and come back, and nothing else does."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from segmentation.bundle import (
    BundleError,
    Card,
    ClassInfo,
    bundle_digest,
    load_card,
    load_model,
    save_bundle,
)
from segmentation.networks.model_file import ModelFileError, read_model
from segmentation.networks.unet import build_unet
from tests.test_segmentation.networks import layers, network

CLASSES = (ClassInfo(0, "background", (0, 0, 0, 0)), ClassInfo(1, "nucleus", (230, 159, 0, 255)))
CARD = Card(
    classes=CLASSES,
    axes="yx",
    channels=1,
    head="softmax",
    intensity={"rule": "percentiles", "low": 1.0, "high": 99.0},
    stride=(2, 2),
    halo=(8, 8),
    exact=True,
    mismatch={"max_difference": 0.0, "argmax_fraction": 0.0, "sample": "none"},
    tile=(64, 64),
    activation_bytes=480,
    voxel_size=(0.5, 0.5),
    unit="micrometer",
    training={"seed": 3},
    versions={"keras": "3"},
)


def small_unet(seed=0):
    return build_unet("yx", channels=1, num_classes=2, width=2, depth=1, seed=seed)


@pytest.fixture
def bundle(tmp_path):
    folder = tmp_path / "bundle"
    save_bundle(folder, small_unet(), CARD)
    return folder


def change_card(folder, **changes):
    path = folder / "card.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_card_comes_back_with_the_digest_of_the_model(bundle):
    card = load_card(bundle)
    assert replace(card, model_sha256="") == CARD
    assert len(card.model_sha256) == 64


def test_model_comes_back_with_its_weights(bundle):
    image = np.random.default_rng(0).random((1, 8, 8, 1), np.float32)
    expected = np.asarray(small_unet()(image, training=False))
    np.testing.assert_array_equal(np.asarray(load_model(bundle)(image, training=False)), expected)


def test_the_same_model_gives_the_same_bytes_compiled_or_not(bundle, tmp_path):
    model = small_unet()
    model.compile("adam", "mse")
    save_bundle(tmp_path / "again", model, CARD)
    first, second = (folder / "model.keras" for folder in (bundle, tmp_path / "again"))
    assert first.read_bytes() == second.read_bytes()
    assert sorted(path.name for path in bundle.iterdir()) == ["card.json", "model.keras"]


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"training": {"seed": 4}, "versions": {}, "tile": [128, 128], "voxel_size": None}, True),
        ({"halo": [10, 10]}, False),
        ({"intensity": {"rule": "percentiles", "low": 0.0, "high": 99.0}}, False),
        ({"exact": False}, False),
    ],
)
def test_digest_depends_on_what_can_change_a_class(bundle, changes, same):
    before = bundle_digest(bundle)
    change_card(bundle, **changes)
    assert (bundle_digest(bundle) == before) is same


def test_digest_depends_on_the_weights_and_on_the_tile_of_an_inexact_network(bundle, tmp_path):
    save_bundle(tmp_path / "other", small_unet(seed=1), CARD)
    assert bundle_digest(tmp_path / "other") != bundle_digest(bundle)
    change_card(bundle, exact=False)
    before = bundle_digest(bundle)
    change_card(bundle, tile=[128, 128])
    assert bundle_digest(bundle) != before


def test_judging_a_bundle_imports_no_framework(bundle):
    code = (
        "import sys; from segmentation.bundle import bundle_digest, check_model, load_card;"
        f"[read({str(bundle)!r}) for read in (load_card, check_model, bundle_digest)];"
        "sys.exit(any(name in sys.modules for name in ('keras', 'tensorflow')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_changed_model_is_refused(bundle):
    model = bundle / "model.keras"
    model.write_bytes(model.read_bytes() + b" ")
    for load in (load_card, load_model, bundle_digest):
        with pytest.raises(BundleError, match=r"has digest .* its card says .*changed or is dam"):
            load(bundle)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": 2}, "the card has schema 2; this version reads 1"),
        ({"colour": 1}, r"unknown fields \['colour'\]"),
        (
            {"classes": [{"value": 1, "name": "a", "color": [0, 0, 0, 0]}]},
            r"class values are \[1\]",
        ),
        ({"classes": [{"value": 1}]}, "incomplete or malformed"),
        ({"axes": "xy"}, "axes are 'xy'"),
        ({"intensity": {"rule": "z-score"}}, "intensity rule is 'z-score'"),
        ({"intensity": {"rule": "percentiles", "low": 99, "high": 1}}, "not 0 <= low < high"),
        ({"intensity": {"rule": "fixed", "low": [0, 0], "high": [1, 1]}}, "the network has 1"),
    ],
)
def test_a_card_that_makes_no_sense_is_refused(bundle, changes, message):
    change_card(bundle, **changes)
    with pytest.raises(BundleError, match=message):
        load_card(bundle)


def test_what_is_not_a_bundle_is_refused(bundle, tmp_path):
    with pytest.raises(BundleError, match=r"is not a bundle: it has no card.json. Make one with"):
        load_card(tmp_path / "nowhere")
    (bundle / "card.json").write_text("{")
    with pytest.raises(BundleError, match="is not JSON"):
        load_card(bundle)
    (bundle / "model.keras").unlink()
    with pytest.raises(BundleError, match=r"it has no model.keras"):
        load_card(bundle)


class Sharpen(layers.Layer):
    def call(self, inputs):
        return 2 * inputs


def twice(inputs):
    return 2 * inputs


@pytest.mark.parametrize(
    ("layer", "named"),
    [
        (Sharpen(), r"Sharpen \(of "),
        (layers.Lambda(twice), "Lambda"),
        (layers.Activation(twice), "the function twice"),
    ],
    ids=["layer", "lambda", "function"],
)
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_code_in_a_model_is_refused_by_one_message(tmp_path, layer, named):
    path = tmp_path / "custom.keras"
    network(layer).save(path)
    with pytest.raises(ModelFileError, match=f"uses {named}.*rebuild that part with Keras layers"):
        read_model(path)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_an_hdf5_model_is_read(tmp_path):
    path = tmp_path / "old.h5"
    model = small_unet()
    model.save(path)
    image = np.ones((1, 8, 8, 1), np.float32)
    np.testing.assert_array_equal(np.asarray(read_model(path)(image)), np.asarray(model(image)))


def test_files_that_are_no_model_are_refused(tmp_path):
    with pytest.raises(ModelFileError, match="is not a file; expected a Keras model"):
        read_model(tmp_path / "none.keras")
    (tmp_path / "text.keras").write_text("hello")
    with pytest.raises(ModelFileError, match="is not a whole Keras model"):
        read_model(tmp_path / "text.keras")
