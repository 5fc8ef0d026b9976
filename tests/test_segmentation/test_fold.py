"""Folding of BatchNorm: the same numbers with fewer layers, and nothing folded that may not be."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segmentation.networks.ensemble import average_networks
from segmentation.networks.fold import fold_batch_norm, foldable
from segmentation.networks.graph import read_graph
from segmentation.networks.unet import build_unet
from segmentation.networks.variants import with_precision
from tests.test_segmentation.networks import build_graph, graphs, keras, layers, network

RNG = np.random.default_rng(0)


def settled(model):
    """Weights and moving statistics as after a training, none of them 0 or 1."""
    for layer in model._flatten_layers(include_self=False):
        if type(layer).__name__ == "BatchNormalization":
            count = layer.moving_mean.shape[0]
            parts = [RNG.uniform(0.3, 2, count)] * layer.scale
            parts += [RNG.normal(0, 0.5, count)] * layer.center
            layer.set_weights([*parts, RNG.normal(0, 0.5, count), RNG.uniform(0.2, 3, count)])
        elif getattr(layer, "use_bias", False):
            layer.bias.assign(RNG.normal(0, 0.5, layer.bias.shape))
    return model


def kinds(model):
    return [step.kind for step in read_graph(model).steps]


def norms(model):
    return kinds(model).count("BatchNormalization")


def answers(model, image):
    return np.asarray(model(image, training=False))


def check(model, left, shape=(2, 16, 16, 1)):
    """Fold, count what is left, and compare the numbers."""
    settled(model)
    before = [np.array(weight) for weight in model.get_weights()]
    folded = fold_batch_norm(model)
    assert norms(folded) == left
    image = RNG.random(shape, np.float32)
    np.testing.assert_allclose(answers(folded, image), answers(model, image), atol=2e-6)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    return folded


def norm(**options):
    return layers.BatchNormalization(**options)


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("Conv{}D", {"filters": 6}),
        ("Conv{}D", {"filters": 6, "groups": 2, "dilation_rate": 2}),
        ("Conv{}DTranspose", {"filters": 6, "strides": 2}),
        ("DepthwiseConv{}D", {"depth_multiplier": 3}),
        ("SeparableConv{}D", {"filters": 6, "depth_multiplier": 2}),
    ],
)
def test_every_kind_of_convolution_is_folded(kind, options, use_bias, dimensions):
    make = getattr(layers, kind.format(dimensions), None)
    if make is None:
        pytest.skip("Keras has this in two dimensions only")
    layer = make(kernel_size=3, padding="same", use_bias=use_bias, **options)
    axes = "yx" if dimensions == 2 else "zyx"
    model = network(layer, norm(epsilon=0.01), layers.ReLU(), axes=axes, channels=4)
    check(model, left=0, shape=(2, *(8,) * dimensions, 4))


@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("axis", [-1, 3])
def test_parts_of_batch_norm_may_be_left_out(scale, center, axis):
    body = [layers.Conv2D(4, 3, padding="same"), norm(scale=scale, center=center, axis=axis)]
    check(network(*body, layers.ReLU()), left=0)


def test_the_numbers_by_hand():
    # kernel 3, bias 1; gamma 2, beta 5, mean 4, variance 0.75 with epsilon 0.25: scale 2.
    # Folded: kernel 6, bias (1 - 4) * 2 + 5 = -1.
    source = keras.Input((None, None, 1))
    features = norm(epsilon=0.25, name="norm")(layers.Conv2D(1, 1, name="conv")(source))
    model = keras.Model(source, features)
    model.get_layer("conv").set_weights([np.full((1, 1, 1, 1), 3.0), np.ones(1)])
    model.get_layer("norm").set_weights([np.array([x]) for x in (2.0, 5.0, 4.0, 0.75)])
    folded = fold_batch_norm(model)
    kernel, bias = folded.get_layer("conv").get_weights()
    assert (float(kernel.item()), float(bias.item())) == (6.0, -1.0)


def test_a_dense_layer_is_folded():
    check(network(layers.Dense(5), norm(), layers.ReLU()), left=0)


def test_a_norm_along_another_axis_stays():
    # As many rows as channels: only the number of the axis tells them apart.
    source = keras.Input((16, 16, 1))
    features = norm(axis=1)(layers.Conv2D(16, 3, padding="same")(source))
    assert foldable(keras.Model(source, features)) == {}


STAYING = {
    "behind an activation in the layer": [
        layers.Conv2D(3, 3, padding="same", activation="relu"), norm()
    ],
    "behind an activation of its own": [layers.Conv2D(3, 3), layers.ReLU(), norm()],
    "in front of the convolution": [norm(), layers.Conv2D(3, 3)],
    "behind pooling": [layers.Conv2D(3, 3), layers.MaxPooling2D(2), norm()],
    "another norm": [layers.Conv2D(3, 3), layers.LayerNormalization()],
}  # fmt: skip


@pytest.mark.parametrize("name", STAYING)
def test_what_does_not_follow_a_linear_layer_stays(name):
    model = settled(network(*STAYING[name]))
    assert foldable(model) == {}
    assert fold_batch_norm(model) is model


def test_the_second_of_two_norms_stays():
    check(network(layers.Conv2D(3, 3), norm(), norm()), left=1)


def two_readers():
    source = keras.Input((None, None, 1))
    features = layers.Conv2D(3, 3, padding="same")(source)
    joined = layers.Concatenate()([norm()(features), features])
    return keras.Model(source, joined)


def two_norms_of_one_tensor():
    source = keras.Input((None, None, 1))
    features = layers.Conv2D(3, 3, padding="same")(source)
    return keras.Model(source, layers.Add()([norm()(features), norm()(features)]))


def shared_convolution():
    source = keras.Input((None, None, 2))
    shared = layers.Conv2D(2, 3, padding="same")
    return keras.Model(source, shared(layers.ReLU()(norm()(shared(source)))))


def shared_norm():
    source = keras.Input((None, None, 1))
    shared = norm()
    parts = [shared(layers.Conv2D(2, 3, padding="same")(source)) for _ in range(2)]
    return keras.Model(source, layers.Add()(parts))


def behind_a_concatenation():
    source = keras.Input((None, None, 1))
    parts = [layers.Conv2D(2, 3, padding="same")(source) for _ in range(2)]
    return keras.Model(source, norm()(layers.Concatenate()(parts)))


def shared_model():
    inner = network(layers.Conv2D(3, 3, padding="same"), norm(), layers.ReLU(), classes=1)
    source = keras.Input((None, None, 1))
    return keras.Model(source, layers.Add()([inner(source), inner(layers.ReLU()(source))]))


@pytest.mark.parametrize(
    "make",
    [two_readers, two_norms_of_one_tensor, shared_convolution, shared_norm,
     behind_a_concatenation, shared_model],
)  # fmt: skip
def test_what_is_used_twice_stays(make):
    model = settled(make())
    assert norms(model) > 0
    assert fold_batch_norm(model) is model


def test_a_convolution_that_is_an_output_itself_stays():
    source = keras.Input((None, None, 1))
    features = layers.Conv2D(3, 3, padding="same")(source)
    assert foldable(keras.Model(source, [features, norm()(features)])) == {}


def test_a_norm_that_is_told_to_learn_stays():
    source = keras.Input((None, None, 1))
    features = norm()(layers.Conv2D(3, 3, padding="same")(source), training=True)
    assert foldable(keras.Model(source, features)) == {}


def test_other_arithmetic_stays():
    model = with_precision(network(layers.Conv2D(3, 3), norm()), "bfloat16")
    assert foldable(model) == {}


def test_operations_and_shortcuts_are_kept():
    source = keras.Input((None, None, 2))
    features = norm()(layers.Conv2D(2, 3, padding="same", use_bias=False)(source))
    head = layers.Conv2D(2, 1, activation="softmax")(keras.ops.relu(features + source))
    check(keras.Model(source, head), left=0, shape=(1, 16, 16, 2))


def test_networks_in_a_network_are_folded():
    members = [
        settled(build_unet("yx", channels=1, num_classes=2, width=2, depth=1, seed=seed))
        for seed in (1, 20)
    ]
    folded = check(average_networks(members), left=0)
    assert kinds(folded)[-1] == "Average"
    inner = keras.Sequential([keras.Input((16, 16, 1)), layers.Conv2D(3, 3), norm()])
    check(keras.Sequential([keras.Input((16, 16, 1)), inner, layers.ReLU()]), left=0)


def test_a_model_without_a_graph_stays():
    class Own(keras.Model):
        def call(self, inputs):
            return inputs

    model = Own()
    assert fold_batch_norm(model) is model


@settings(max_examples=25)
@given(graphs(), st.data())
def test_any_graph_gives_the_same_numbers(blocks, data):
    """BatchNorm is strewn over drawn graphs: behind layers with and without activation."""
    strewn = []
    for block, shortcut in blocks:
        parts = []
        for kind, options in block:
            changed = dict(options)
            if "activation" in options and data.draw(st.booleans()):
                del changed["activation"]
            parts.append((kind, changed))
            if data.draw(st.booleans()):
                parts.append(("BatchNormalization", {}))
        strewn.append((parts, shortcut))
    model = settled(build_graph(strewn))
    folded = fold_batch_norm(model)
    image = RNG.random((1, 24, 24, 1), np.float32)
    np.testing.assert_allclose(answers(folded, image), answers(model, image), atol=1e-5)
    assert norms(folded) == norms(model) - len(foldable(model))
