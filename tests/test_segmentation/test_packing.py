"""An existing model becomes a card: what is checked, rebuilt and measured."""

from dataclasses import replace

import numpy as np
import pytest

from segmentation import packing
from segmentation.bundle import BundleError, ClassInfo
from segmentation.networks.unet import build_unet
from segmentation.packing import check_model, free_size, make_card
from segmentation.receptive_field import Geometry
from tests.test_segmentation.networks import keras, layers, network

CLASSES = [
    ClassInfo(0, "background", (0, 0, 0, 0)),
    ClassInfo(1, "membrane", (86, 180, 233, 255)),
    ClassInfo(2, "synapse", (204, 121, 167, 255)),
]
PERCENTILES = {"rule": "percentiles", "low": 1.0, "high": 99.0}


def ending(*tail, size=None, axes="yx"):
    source = keras.Input((*(size,) * len(axes), 1), name="image")
    features = getattr(layers, f"Conv{len(axes)}D")(3, 3, padding="same")(source)
    for layer in tail:
        features = layer(features)
    return keras.Model(source, features)


SOFTMAX = layers.Activation("softmax")


@pytest.mark.parametrize(
    ("tail", "classes", "head"),
    [
        ([layers.Conv2D(3, 1, activation="softmax")], 3, "softmax"),
        ([layers.Conv2D(2, 1, activation="sigmoid")], 3, "sigmoid"),
        ([layers.Activation("softmax")], 3, "softmax"),
        ([layers.Softmax()], 3, "softmax"),
        ([layers.Dense(1), keras.layers.Activation("sigmoid")], 2, "sigmoid"),
    ],
)
def test_the_head_is_recognised(tail, classes, head):
    assert check_model(ending(*tail), classes, "yx") == head


def two_inputs():
    a, b = keras.Input((None, None, 1)), keras.Input((None, None, 1))
    return keras.Model([a, b], layers.Softmax()(layers.Add()([a, b])))


def stacked():
    source = keras.Input((None, None, 1))
    return keras.Model(source, [layers.Softmax()(source), layers.Softmax()(source)])


@pytest.mark.parametrize(
    ("model", "classes", "message"),
    [
        (ending(SOFTMAX), 4, "softmax head has 3 channels, but 4 classes were named.*Name 3 cl"),
        (ending(layers.Activation("sigmoid")), 3, "expected 2 channels.*Name 4 classes"),
        (ending(layers.Conv2D(3, 1, name="out")), 3, "ends in Conv2D 'out' with activation linear"),
        (ending(layers.ReLU()), 3, "its output is not probabilities"),
        (two_inputs(), 2, "has 2 inputs and 1 outputs; expected one of each"),
        (stacked(), 2, "has 1 inputs and 2 outputs"),
        (ending(axes="zyx"), 3, r"the input has shape .* axes yx need \(batch, y, x, channels\)"),
        (ending(layers.GlobalAveragePooling2D(), layers.Softmax()), 3, "the output has shape"),
        (ending(layers.Conv2D(3, 3), SOFTMAX), 3, "not as large as the input.*padding='same'"),
        (ending(layers.MaxPooling2D(2), SOFTMAX, size=32), 3, "not as large as the input"),
    ],
)
def test_models_that_cannot_segment_are_refused(model, classes, message):
    with pytest.raises(BundleError, match=message):
        check_model(model, classes, "yx")


def test_a_local_network_of_fixed_size_is_freed():
    model = ending(layers.MaxPooling2D(2), layers.UpSampling2D(2), SOFTMAX, size=32)
    freed = free_size(model)
    assert freed.input_shape == (None, None, None, 1)
    image = np.random.default_rng(0).random((1, 32, 32, 1), np.float32)
    np.testing.assert_array_equal(np.asarray(freed(image)), np.asarray(model(image)))
    assert free_size(freed) is freed


def test_models_without_a_graph_and_of_several_inputs_are_left_to_the_check():
    with pytest.raises(BundleError, match="a Sequential whose graph cannot be read"):
        free_size(keras.Sequential([layers.Conv2D(2, 3)]))
    assert len(free_size(two_inputs()).inputs) == 2


def test_card_of_an_exact_network():
    model = build_unet("yx", channels=1, num_classes=3, width=4, depth=2)
    card = make_card(
        model, CLASSES, axes="yx", intensity=PERCENTILES, voxel_size=(4.6, 4.6), unit="nanometer"
    )
    assert (card.exact, card.stride, card.halo) == (True, (4, 4), (24, 24))
    assert (card.channels, card.head, card.voxel_size) == (1, "softmax", (4.6, 4.6))
    assert card.mismatch["max_difference"] <= 1e-5
    assert card.mismatch["argmax_fraction"] == 0
    assert all(t % 4 == 0 and t >= 3 * 24 for t in card.tile)
    assert card.activation_bytes > 0


def test_card_of_a_network_that_looks_at_the_whole_tile():
    model = network(layers.Conv2D(4, 3, padding="same"), layers.GroupNormalization(1), classes=3)
    card = make_card(model, CLASSES, axes="yx", intensity=PERCENTILES)
    assert not card.exact
    assert "looks at the whole tile" in card.inexact_reasons[0]
    assert (card.tile, card.halo) == ((256, 256), (1, 1))
    assert card.mismatch["max_difference"] > 1e-4


def test_card_of_a_network_that_cannot_change_its_size():
    model = ending(layers.Reshape((32 * 32, 3)), layers.Reshape((32, 32, 3)), SOFTMAX, size=32)
    assert free_size(model) is model
    card = make_card(model, CLASSES, axes="yx", intensity=PERCENTILES)
    assert card.tile == (32, 32)
    assert "two tiles of 32x32" in card.mismatch["sample"]
    # Nothing but a 3x3 convolution is in it, so beyond the halo the two tiles agree.
    assert card.mismatch["max_difference"] <= 1e-5


def test_a_measurement_beyond_the_derived_halo_is_believed(monkeypatch):
    model = network(layers.Conv2D(4, 3, padding="same"), classes=3)
    wider = Geometry((1, 1), (2, 1), exact=True)
    monkeypatch.setattr(packing, "measure", lambda model: wider)
    geometry = packing.settled_geometry(model)
    assert geometry == replace(wider, exact=False, reasons=geometry.reasons)
    assert "was measured (2, 1)" in geometry.reasons[0]
