"""The network as it computes masks: folded where that is right, else as it is."""

import logging

import numpy as np
import pytest

from segmentation.networks import inference
from segmentation.networks.fold import fold_batch_norm, foldable
from segmentation.networks.graph import read_graph
from segmentation.networks.inference import inference_network, scores_network
from segmentation.networks.scores import without_activation
from tests.test_segmentation.networks import keras, layers, network


def normed():
    body = [layers.Conv2D(2, 3, padding="same"), layers.BatchNormalization(name="norm")]
    return network(*body, layers.ReLU())


def kinds(model):
    return [step.kind for step in read_graph(model).steps]


def test_batch_norm_is_folded():
    assert "BatchNormalization" not in kinds(inference_network(normed(), (1, 1)))


def test_nothing_to_fold_and_no_wish_to_leave_the_model():
    plain, model = network(layers.Conv2D(2, 3, padding="same")), normed()
    assert inference_network(plain, (1, 1)) is plain
    assert inference_network(model, (1, 1), fold=False) is model


def test_it_is_folded_before_it_is_cast():
    found = inference_network(normed(), (1, 1), precision="bfloat16")
    assert "BatchNormalization" not in kinds(found)
    assert found.layers[1].compute_dtype == "bfloat16"


@pytest.mark.parametrize("wrong", [0.01, np.nan])
def test_a_fold_that_changes_probabilities_is_not_used(monkeypatch, caplog, wrong):
    model = normed()

    def spoiled(network):
        folded = fold_batch_norm(network)
        head = folded.get_layer("head")
        head.bias.assign(head.bias + np.array([wrong, 0]))
        return folded

    monkeypatch.setattr(inference, "fold_batch_norm", spoiled)
    with caplog.at_level(logging.WARNING):
        assert inference_network(model, (1, 1)) is model
    (record,) = caplog.records
    assert record.message.startswith("BatchNorm is not folded: probabilities would change by up")


def test_a_network_that_a_small_tile_does_not_fill_stays(caplog):
    # 80 voxels are eaten before they are padded again; the tile that is compared has 64.
    body = [layers.Conv2D(1, 41, dilation_rate=2), layers.BatchNormalization()]
    model = network(*body, layers.ZeroPadding2D(40))
    with caplog.at_level(logging.WARNING):
        assert inference_network(model, (1, 1)) is model
    assert "cannot be checked" in caplog.records[-1].message


def test_a_network_of_one_size_is_compared_at_that_size():
    source = keras.Input((24, 40, 1))
    features = layers.BatchNormalization()(layers.Conv2D(2, 3, padding="same")(source))
    model = keras.Model(source, layers.Conv2D(2, 1, activation="softmax")(features))
    assert foldable(model)
    assert inference_network(model, (1, 1)) is not model


def test_a_large_network_of_one_size_is_compared_through_a_graph():
    """Layer by layer, Keras keeps what every layer gave: more than a plan allows."""
    eager = []

    class Watched(layers.Layer):
        def call(self, voxels):
            if voxels.shape[0] is not None:
                eager.append(hasattr(voxels, "numpy"))
            return voxels

    for side, expected in ((64, True), (72, False)):
        source = keras.Input((side, side, 1))
        features = layers.BatchNormalization()(layers.Conv2D(2, 3, padding="same")(source))
        model = keras.Model(source, layers.Conv2D(2, 1, activation="softmax")(Watched()(features)))
        eager.clear()
        assert inference_network(model, (1, 1)) is not model
        assert set(eager) == {expected}


def test_scores_are_taken_where_they_give_the_probabilities():
    model = normed()
    tile = np.random.default_rng(0).random((1, 8, 8, 1), np.float32)
    found = scores_network(model, "softmax", (1, 1))
    np.testing.assert_array_equal(found(tile), without_activation(model, "softmax")(tile))
    assert scores_network(model, "sigmoid", (1, 1)) is None


@pytest.mark.parametrize("wrong", [0.01, np.nan])
def test_scores_that_are_not_those_of_the_probabilities_are_not_used(monkeypatch, caplog, wrong):
    def spoiled(network, head):
        ending = without_activation(network, head)
        last = ending.get_layer("head")
        last.bias.assign(last.bias + np.array([wrong, 0]))
        return ending

    monkeypatch.setattr(inference, "without_activation", spoiled)
    with caplog.at_level(logging.WARNING):
        assert scores_network(normed(), "softmax", (1, 1)) is None
    (record,) = caplog.records
    assert record.message.startswith(
        "Classes are not chosen by scores: probabilities would change by up"
    )


def test_a_network_that_cannot_be_built_again_stays(monkeypatch, caplog):
    def refuses(network, **_):
        raise TypeError("Odd.__init__() got an unexpected keyword argument")

    monkeypatch.setattr(inference, "without_activation", refuses)
    monkeypatch.setattr(inference, "fold_batch_norm", refuses)
    model = normed()
    with caplog.at_level(logging.WARNING):
        assert scores_network(model, "softmax", (1, 1)) is None
        assert inference_network(model, (1, 1)) is model
    said = ["Classes are not chosen by scores", "BatchNorm is not folded"]
    assert [record.message.partition(",")[0] for record in caplog.records] == said
    assert all("unexpected keyword" in record.message for record in caplog.records)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_a_precision_that_the_device_does_not_have_is_told(monkeypatch, precision):
    model = normed()
    answers = inference._answers

    def without_programs(asked, tile):
        if any(layer.compute_dtype == precision for layer in asked.layers):
            raise RuntimeError(f"no program\nfor {precision}")
        return answers(asked, tile)

    monkeypatch.setattr(inference, "_answers", without_programs)
    said = rf"^this device cannot compute the network in {precision} \(no program\); use float32"
    with pytest.raises(ValueError, match=said):
        inference_network(model, (1, 1), precision=precision)


def test_a_lower_precision_of_a_network_that_a_small_tile_does_not_fill():
    model = network(layers.Conv2D(1, 41, dilation_rate=2), layers.ZeroPadding2D(40))
    found = inference_network(model, (1, 1), precision="bfloat16")
    assert found.layers[1].compute_dtype == "bfloat16"
