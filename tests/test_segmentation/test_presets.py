"""Presets: what they are made of, that they can be tiled exactly, that they can learn."""

import numpy as np
import pytest

from segmentation.metrics.confusion import ConfusionMatrix
from segmentation.metrics.scores import scores
from segmentation.mismatch import measure_mismatch
from segmentation.networks.graph import read_graph
from segmentation.networks.presets import PRESETS, build_network, check_preset
from segmentation.networks.runtime import import_keras
from segmentation.packing import check_model, settled_geometry
from segmentation.predictor import NetworkPredictor
from segmentation.receptive_field import derive
from segmentation.training.losses import make_loss
from tests.test_segmentation.specimens import binary_network, four_class_network

keras = import_keras()
WAY_UP = ["UpSampling2D", "Conv2D"]


def classes_of(preset):
    return 3 if preset in ("default", "unet4") else 2


def small(preset, *, width=4, depth=2, **options):
    options = {"channels": 1, "num_classes": classes_of(preset)} | options
    return build_network(preset, options.pop("axes", "yx"), width=width, depth=depth, **options)


def kinds(preset, depth=1):
    return [step.kind for step in read_graph(small(preset, depth=depth)).steps]


@pytest.mark.parametrize("preset", PRESETS)
def test_probabilities_come_out_of_an_exact_network(preset):
    model = small(preset)
    head = check_model(model, classes_of(preset), "yx")
    assert head == ("softmax" if classes_of(preset) == 3 else "sigmoid")
    geometry = settled_geometry(model)
    assert geometry.exact
    assert geometry.stride == (4, 4)
    predictor = NetworkPredictor(model, head=head, geometry=geometry)
    tile = tuple(3 * halo for halo in geometry.halo)
    mismatch = measure_mismatch(predictor.predict_probabilities, geometry, 1, tile=tile)
    assert mismatch["max_difference"] <= 1e-5


# At full depth: by hand. A level l step sees 2^l voxels; two convolutions a level, down and up,
# reach 2 * 2 * (1 + 2 + 4 + 8) + 2 * 16 = 92, and the 2x2 convolutions on the way up, on the
# right only, 8 + 4 + 2 + 1 more: 107. Rounded up to whole strides of 16.
@pytest.mark.parametrize(
    ("preset", "halo"),
    [("default", 96), ("unet-one-class", 96), ("unet4", 112), ("unet-binary", 112)],
)
def test_the_halo_of_four_poolings(preset, halo):
    geometry = derive(small(preset, width=1, depth=4))
    assert (geometry.stride, geometry.halo) == ((16, 16), (halo, halo))


def test_the_default_works_on_blocks_too():
    model = small("default", axes="zyx")
    assert check_model(model, 3, "zyx") == "softmax"
    assert settled_geometry(model).exact


def test_what_the_first_source_case_is_made_of():
    double, norm = ["Conv2D", "BatchNormalization"] * 2, "BatchNormalization"
    assert kinds("unet4") == [
        *double, "Dropout", "MaxPooling2D", *double, "Dropout",
        *WAY_UP, norm, "Concatenate", *double, "Conv2D",
    ]  # fmt: skip


def test_what_the_second_source_case_is_made_of():
    double = ["Conv2D"] * 2
    assert kinds("unet-binary") == [
        *double, "MaxPooling2D", *double, *WAY_UP, "Concatenate", *double, "Conv2D",
    ]  # fmt: skip


def test_what_the_third_source_case_is_made_of():
    double = ["Conv2D", "ReLU"] * 2
    assert kinds("unet-one-class") == [
        *double, "MaxPooling2D", *double, "Conv2DTranspose", "Concatenate", *double, "Conv2D",
    ]  # fmt: skip


def test_the_specimens_are_the_networks_of_the_cases():
    four = four_class_network(num_classes=5)
    assert four.count_params() == 31_062_007
    norms = [layer for layer in four.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert len(norms) == 23
    assert binary_network().count_params() == 31_031_685


def test_the_presets_differ_from_the_specimens_by_the_head():
    """The head sees 64 features instead of what was squeezed out of them."""
    classes = 5
    squeezed = (9 * 64 * classes + classes) + 4 * classes + (classes * classes + classes)
    head = 64 * classes + classes
    preset = build_network("unet4", "yx", channels=3, num_classes=classes)
    assert preset.count_params() == 31_062_007 - squeezed + head
    # 002: two ReLU channels from 64 features and a sigmoid from these two.
    binary = build_network("unet-binary", "yx", channels=1, num_classes=2)
    assert binary.count_params() == 31_031_685 - (9 * 64 * 2 + 2) - (2 + 1) + (64 + 1)


@pytest.mark.parametrize("preset", PRESETS)
def test_layers_are_named_by_their_place(preset):
    def names():
        return [layer.name for layer in small(preset).layers]

    keras.backend.clear_session()
    first = names()
    assert names() == first
    places = {"image", "down0a", "down1b", "bottoma", "bottomb", "up1", "merge0b", "head"}
    assert places <= set(first)
    assert first[-1] == "head"


@pytest.mark.parametrize("preset", PRESETS)
def test_the_seed_decides_the_weights_and_no_two_layers_start_alike(preset):
    def kernels(seed):
        return [w.numpy() for w in small(preset, seed=seed).weights if "kernel" in w.path]

    for first, again, other in zip(kernels(3), kernels(3), kernels(4), strict=True):
        np.testing.assert_array_equal(first, again)
        assert (first != other).any()
    starts = [float(kernel.flat[0] / kernel.std()) for kernel in kernels(3)]
    assert len(set(starts)) == len(starts)


@pytest.mark.parametrize(("axes", "width"), [("yx", 32), ("zyx", 16)])
def test_widths_and_depths_not_given_are_the_presets(axes, width):
    model = build_network("default", axes, channels=1, num_classes=3)
    assert model.get_layer("down0a").filters == width
    assert {"pool3", "bottoma"} <= {layer.name for layer in model.layers}
    assert "pool4" not in {layer.name for layer in model.layers}


def test_the_source_cases_start_with_64_features():
    thin = build_network("unet4", "yx", channels=1, num_classes=3, depth=1)
    assert [thin.get_layer(name).filters for name in ("down0a", "bottoma")] == [64, 128]


@pytest.mark.parametrize(
    ("preset", "axes", "classes", "message"),
    [
        ("unet5", "yx", 2, "preset is 'unet5'; expected one of default, unet4, unet-binary, unet-"),
        ("unet4", "zyx", 2, "network of sections, but axes are 'zyx'; use axes yx, or preset def"),
        ("unet-binary", "yx", 5, "there are 5 classes with the background; isolate one class"),
        ("unet-one-class", "yx", 3, "unet-one-class tells one class from the background"),
    ],
)
def test_presets_that_do_not_suit_the_data_are_refused(preset, axes, classes, message):
    with pytest.raises(ValueError, match=message):
        check_preset(preset, axes, classes)
    with pytest.raises(ValueError, match=message):
        build_network(preset, axes, channels=1, num_classes=classes)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("size", [{"width": 0}, {"depth": -1}])
def test_sizes_out_of_range_are_refused(preset, size):
    with pytest.raises(ValueError, match=r"width is 0|depth is -1|depth -1"):
        small(preset, **size)


def one_sample(classes, seed=0):
    """64 x 64 voxels: discs of the classes on noise, told apart by intensity and texture."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:64, :64]
    truth = np.zeros((64, 64), np.uint8)
    for number in range(8):
        centre, radius = rng.integers(8, 56, 2), rng.integers(4, 10)
        truth[np.hypot(y - centre[0], x - centre[1]) < radius] = 1 + number % (classes - 1)
    image = 0.3 + 0.25 * truth + rng.normal(0, 0.1, truth.shape)
    return image[None, ..., None].astype(np.float32), truth[None]


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS)
def test_one_sample_is_learned_by_heart(preset):
    classes = classes_of(preset)
    image, truth = one_sample(classes)
    model = small(preset, width=16, depth=3)
    head = check_model(model, classes, "yx")
    # Networks without BatchNorm need their gradients bounded at such a rate.
    optimizer = keras.optimizers.AdamW(3e-3, global_clipnorm=1.0)
    model.compile(optimizer, make_loss("cross-entropy+dice", classes, head))
    for step in range(200):
        optimizer.learning_rate = 3e-3 * 0.5 * (1 + np.cos(np.pi * step / 200))
        model.train_on_batch(image, truth)
    found = NetworkPredictor(model, head=head, geometry=derive(model)).predict_classes(image)
    matrix = ConfusionMatrix.from_labels(truth, np.asarray(found), classes)
    assert scores(matrix, list("abc"[:classes]))["macro_foreground_dice"] > 0.99
