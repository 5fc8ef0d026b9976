"""Classes chosen before the last activation: the same but where rounding makes two equal."""

import numpy as np
import pytest

from segmentation.networks.scores import without_activation
from segmentation.predictor import NetworkPredictor
from segmentation.receptive_field import derive
from tests.test_segmentation.networks import keras, layers

TILES = np.random.default_rng(0).random((3, 16, 16, 1), np.float32)
SOFT = layers.Activation("softmax")


def ending_in(*last, shape=(None, None, 1)):
    """A network of two small convolutions with the given end."""
    inputs = keras.Input(shape)
    features = layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
    for layer in last:
        features = layer(features)
    return keras.Model(inputs, features)


def nested():
    inner = ending_in(layers.Conv2D(3, 1, activation="softmax", name="head"))
    inputs = keras.Input((None, None, 1))
    return keras.Model(inputs, inner(inputs))


def listed():
    return keras.Sequential([keras.Input((None, None, 1)), layers.Conv2D(3, 1), SOFT])


ENDS = {
    "convolution": lambda: ending_in(layers.Conv2D(3, 1, activation="softmax")),
    "softmax layer": lambda: ending_in(layers.Conv2D(3, 1), layers.Softmax()),
    "activation layer": lambda: ending_in(layers.Conv2D(3, 1), layers.Activation("softmax")),
    "dense": lambda: ending_in(layers.Dense(3, activation="softmax")),
    "nested": nested,
    "sequential": listed,
}


@pytest.mark.parametrize("end", ENDS)
def test_the_scores_are_those_of_the_probabilities_and_the_network_stays(end):
    model = ENDS[end]()
    before = np.asarray(model(TILES))
    scores = np.asarray(without_activation(model, "softmax")(TILES))
    np.testing.assert_allclose(np.asarray(keras.ops.softmax(scores)), before, atol=1e-6)
    assert not np.allclose(scores.sum(-1), 1)
    np.testing.assert_array_equal(np.asarray(model(TILES)), before)


OTHERS = {
    "sigmoid": lambda: ending_in(layers.Conv2D(3, 1, activation="sigmoid")),
    "other axis": lambda: ending_in(layers.Conv2D(3, 1), layers.Softmax(axis=1)),
    "scaled after": lambda: ending_in(
        layers.Conv2D(3, 1, activation="softmax"), layers.Rescaling(1.0)
    ),
    "no activation": lambda: ending_in(layers.Conv2D(3, 1)),
}


@pytest.mark.parametrize("end", OTHERS)
def test_another_end_is_left_alone(end):
    assert without_activation(OTHERS[end](), "softmax") is None


def test_a_layer_that_is_used_twice_is_left_alone():
    inputs, soft = keras.Input((None, None, 3)), layers.Activation("softmax")
    assert without_activation(keras.Model(inputs, soft(soft(inputs))), "softmax") is None


def predictors(head, outputs):
    """By probabilities and by scores; the scores lie around 0, whatever the weights."""
    last = layers.Conv2D(outputs, 1, activation=head)
    model = ending_in(last)
    scores = np.asarray(without_activation(model, head)(8 * TILES - 4))
    last.bias.assign(-np.median(scores, axis=(0, 1, 2)))
    rest = without_activation(model, head)
    options = {"head": head, "geometry": derive(model), "batch_size": 2}
    return NetworkPredictor(model, **options), NetworkPredictor(rest, **options, scores=True)


@pytest.mark.parametrize(("head", "outputs"), [("softmax", 4), ("sigmoid", 1), ("sigmoid", 3)])
def test_both_predictors_agree(head, outputs):
    plain, scoring = predictors(head, outputs)
    tiles = 8 * TILES - 4
    classes = scoring.predict_classes(tiles)
    assert len(np.unique(classes)) > 1
    np.testing.assert_array_equal(classes, plain.predict_classes(tiles))
    probabilities = scoring.predict_probabilities(tiles)
    np.testing.assert_allclose(probabilities, plain.predict_probabilities(tiles), atol=1e-6)


@pytest.mark.parametrize("head", ["softmax", "sigmoid"])
def test_classes_and_probabilities_together_are_those_of_each_alone(head):
    for predictor in predictors(head, 3):
        classes, probabilities = predictor.predict_both(TILES)
        np.testing.assert_array_equal(classes, predictor.predict_classes(TILES))
        np.testing.assert_array_equal(probabilities, predictor.predict_probabilities(TILES))


def test_scores_tell_apart_what_rounding_makes_equal():
    """Both probabilities are 1 in float32, or both 0.5: the larger score still wins."""
    inputs = keras.Input((None, None, 2))
    model = keras.Model(inputs, layers.Activation("softmax")(inputs))
    predictor = NetworkPredictor(
        without_activation(model, "softmax"), head="softmax", geometry=derive(model), scores=True
    )
    tile = np.zeros((1, 2, 2, 2), np.float32)
    tile[..., 1] = 1e-9
    assert (predictor.predict_probabilities(tile) == 0.5).all()
    assert (predictor.predict_classes(tile) == 1).all()
