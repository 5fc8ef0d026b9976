"""Stride and halo: by hand, against measurement, and in the tiling they are for."""

import re

import numpy as np
import pytest
from hypothesis import given, settings

from segmentation.linear_clone import linear_clone, measure
from segmentation.mismatch import predict_tiled, smooth_noise
from segmentation.networks.graph import read_graph
from segmentation.networks.unet import build_unet
from segmentation.receptive_field import derive
from segmentation.tiling import TileSpec
from tests.test_segmentation.networks import build_graph, graphs, keras, layers, network, unets

SLOW_TO_BUILD = {"deadline": None}

# Reach counted by hand: to the left, to the right, and rounded up to whole strides.
HAND = [
    # One 3x3 convolution sees 1 voxel on each side, a dilated one 2, two of them 1 + 2.
    ([layers.Conv2D(2, 3, padding="same")], 1, 1),
    ([layers.Conv2D(2, 3, padding="same", dilation_rate=2)], 1, 2),
    ([layers.Conv2D(2, 3, padding="same"), layers.DepthwiseConv2D(5, padding="same")], 1, 3),
    # TensorFlow pads an even kernel at its end: 1 voxel left, 2 right.
    ([layers.Conv2D(2, 4, padding="same")], 1, 2),
    # Pooling and repeating keeps to its own window.
    ([layers.MaxPooling2D(2), layers.UpSampling2D(2)], 2, 0),
    # A 3x3 convolution between them sees one coarse voxel more: 2 fine ones, one stride.
    ([layers.AveragePooling2D(3), layers.SeparableConv2D(2, 3, padding="same"),
      layers.UpSampling2D(3)], 3, 3),
    # Bilinear needs the neighbouring coarse voxel.
    ([layers.MaxPooling2D(2), layers.UpSampling2D(2, interpolation="bilinear")], 2, 2),
    # A transposed 4x4 of stride 2 reaches 1 fine voxel beyond its own two on each side, so a
    # fine voxel sees a neighbouring coarse one.
    ([layers.MaxPooling2D(2), layers.Conv2DTranspose(2, 4, 2, padding="same")], 2, 2),
    # Valid and padded in front only: all of the reach is on the left.
    ([layers.ZeroPadding2D(((4, 0), (4, 0))), layers.Conv2D(2, 5)], 1, 4),
    ([layers.Conv2DTranspose(2, 3), layers.Cropping2D(((0, 2), (0, 2)))], 1, 2),
    # Windows of 2 and then of 3 both fit whole into 6.
    ([layers.MaxPooling2D(2), layers.UpSampling2D(2),
      layers.MaxPooling2D(3), layers.UpSampling2D(3)], 6, 0),
    # Channel by channel or voxel by voxel.
    ([layers.BatchNormalization(), layers.LayerNormalization(), layers.ReLU(), layers.Dense(4),
      layers.PReLU(shared_axes=[1, 2]), layers.Rescaling(2.0, 1.0), layers.Dropout(0.5),
      layers.UnitNormalization(), layers.Softmax(), layers.Activation("gelu")], 1, 0),
]  # fmt: skip


@pytest.mark.parametrize(("body", "stride", "halo"), HAND)
def test_reach_by_hand(body, stride, halo):
    model = network(*body)
    geometry = derive(model)
    assert geometry.exact, geometry.reasons
    assert (geometry.stride, geometry.halo) == ((stride, stride), (halo, halo))
    assert measure(model) == geometry


@pytest.mark.parametrize(
    ("depth", "halo"),
    [
        # Per level 4 convolutions (2 at the bottom) of 2**level voxels: 20, 44 and 92 at least.
        (1, 8),
        (2, 24),
        (3, 48),
        (4, 96),
    ],
)
@pytest.mark.parametrize("upsampling", ["nearest", "transpose"])
def test_halo_of_the_usual_unet(depth, halo, upsampling):
    model = build_unet("yx", channels=1, num_classes=2, width=2, depth=depth, upsampling=upsampling)
    geometry = derive(model)
    assert geometry.stride == (2**depth,) * 2
    assert geometry.halo == (halo, halo)


def test_axes_have_their_own_stride_and_halo():
    model = build_unet(
        "zyx", channels=1, num_classes=2, width=2, depth=2, pool=[(1, 2, 2), (2, 2, 2)]
    )
    geometry = derive(model)
    assert geometry.stride == (2, 4, 4)
    assert measure(model) == geometry


@given(unets(max_depth=2))
@settings(max_examples=8, **SLOW_TO_BUILD)
def test_derived_equals_measured_for_unets(options):
    model = build_unet(**options)
    assert measure(model) == derive(model)


@given(graphs())
@settings(max_examples=20, **SLOW_TO_BUILD)
def test_derived_equals_measured_for_any_local_graph(blocks):
    model = build_graph(blocks)
    geometry = derive(model)
    assert geometry.exact, geometry.reasons
    assert measure(model) == geometry


@pytest.mark.slow
@pytest.mark.parametrize("axes", ["yx", "zyx"])
@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize("upsampling", ["nearest", "transpose"])
@pytest.mark.parametrize(("kernel_size", "dilation"), [(3, 1), (3, 2), (5, 1)])
def test_derived_equals_measured_for_deep_unets(axes, depth, upsampling, kernel_size, dilation):
    if axes == "zyx" and depth == 4 and (kernel_size, dilation) != (3, 1):
        pytest.skip("a 3D probe of this size says nothing that depth 3 does not")
    model = build_unet(
        axes,
        channels=1,
        num_classes=2,
        width=1,
        depth=depth,
        upsampling=upsampling,
        kernel_size=kernel_size,
        dilation=dilation,
    )
    assert measure(model) == derive(model)


def test_nested_models_shared_layers_and_operators_are_walked_through():
    block = keras.Sequential(
        [keras.Input((None, None, 2)), layers.Conv2D(2, 3, padding="same", activation="relu")]
    )
    source = keras.Input((None, None, 2))
    features = block(block(source)) + 0.5 * source
    features = keras.ops.relu(features)
    model = keras.Model(source, layers.Conv2D(3, 1, activation="softmax")(features))
    geometry = derive(model)
    assert geometry.exact, geometry.reasons
    assert geometry.halo == (2, 2)
    assert measure(model) == geometry


class Blur(layers.Layer):
    def call(self, inputs):
        return inputs


def branch(layer):
    """A graph in which a shortcut passes by the layer."""
    source = keras.Input((32, 32, 2))
    features = layer(source)
    if features.shape[1:] != source.shape[1:]:
        features = layers.Reshape((32, 32, -1))(features)
    return keras.Model(source, layers.Conv2D(2, 1, activation="softmax")(features))


INEXACT = [
    (layers.GroupNormalization(1, name="gn_3"), "GroupNormalization 'gn_3' looks at the whole"),
    (layers.LayerNormalization(axis=[1, 2]), "works along axis 1, which is not the channels"),
    (layers.UnitNormalization(axis=1), "works along axis 1, which is not the channels"),
    (layers.Resizing(32, 32), "resizes to a fixed size"),
    (layers.Permute((2, 1, 3)), "rearranges the places"),
    (layers.Flatten(), "Flatten '.*' rearranges the places"),
    (layers.Lambda(lambda x: x), "runs code that cannot be read"),
    (layers.PReLU(), "has a slope for every place"),
    (layers.UpSampling2D(1, interpolation="bicubic"), "interpolates by bicubic"),
    (layers.Activation(lambda x: x), "which is not Keras's own"),
    (Blur(), "is not a layer whose reach is known"),
    (layers.Conv2D(2, 3), "the output is not as large as the input"),
]


@pytest.mark.parametrize(("layer", "reason"), INEXACT, ids=lambda v: getattr(v, "name", ""))
def test_what_is_not_local_is_named_with_its_cause(layer, reason):
    model = network(layer) if isinstance(layer, layers.Conv2D) else branch(layer)
    geometry = derive(model)
    assert not geometry.exact
    assert any(re.search(reason, text) for text in geometry.reasons), geometry.reasons
    with pytest.raises(ValueError, match="has no exact halo"):
        measure(model)


def test_squeeze_and_excitation_looks_at_the_whole_tile():
    source = keras.Input((None, None, 4))
    weights = layers.Dense(4, activation="sigmoid")(
        layers.GlobalAveragePooling2D(keepdims=True, name="squeeze")(source)
    )
    features = layers.Conv2D(4, 3, padding="same")(layers.Multiply()([source, weights]))
    geometry = derive(keras.Model(source, features))
    assert geometry.reasons == ("GlobalAveragePooling2D 'squeeze' looks at the whole tile",)
    assert geometry.halo == (1, 1)


def test_a_subclassed_model_has_no_graph():
    class Own(keras.Model):
        def call(self, inputs):
            return inputs

    assert "whose graph cannot be read" in derive(Own()).reasons[0]


def tile_of(geometry, short=None):
    """Smallest tile with a core; the halo one stride short along one axis on request."""
    halo = list(geometry.halo)
    if short is not None:
        halo[short] -= geometry.stride[short]
    tile = tuple(2 * h + s for h, s in zip(halo, geometry.stride, strict=True))
    return TileSpec(tile, tuple(halo), geometry.stride)


def influence_differs(model, axis, spec, geometry):
    """Whether tiling hides a plane somewhere that the untiled network sees it."""
    clone = linear_clone(read_graph(model))
    predict = lambda tiles: np.asarray(clone(tiles, training=False))  # noqa: E731
    stride = geometry.stride[axis]
    middle = 2 * (geometry.halo[axis] + stride)
    # Two coarsest voxels across, so that a dilated kernel without a centre meets one of them.
    shape = [2 * s for s in geometry.stride]
    shape[axis] = 2 * middle + stride
    tile = [spec.tile[a] if a == axis else s for a, s in enumerate(shape)]
    thin = TileSpec(tuple(tile), spec.halo, spec.stride)
    for place in {middle, middle + stride - 1}:  # the phases with the furthest reach
        image = np.zeros((*shape, 1))
        np.moveaxis(image, axis, 0)[place] = 1
        tiled = predict_tiled(predict, image, thin)
        if ((tiled > 0) != (predict(image[np.newaxis])[0] > 0)).any():
            return True
    return False


def assert_halo_is_smallest(model):
    geometry = derive(model)
    for axis in range(len(geometry.stride)):
        assert not influence_differs(model, axis, tile_of(geometry), geometry)
        if geometry.halo[axis]:
            assert influence_differs(model, axis, tile_of(geometry, short=axis), geometry)


@given(unets(max_depth=2, axes=["yx"]))
@settings(max_examples=3, **SLOW_TO_BUILD)
def test_the_halo_is_enough_and_one_stride_less_is_not(options):
    assert_halo_is_smallest(build_unet(**options))


@pytest.mark.slow
@given(unets(max_depth=2))
@settings(max_examples=5, **SLOW_TO_BUILD)
def test_the_halo_is_smallest_in_3d_too(options):
    assert_halo_is_smallest(build_unet(**options))


@given(unets(max_depth=2))
@settings(max_examples=5, **SLOW_TO_BUILD)
def test_tiled_probabilities_equal_untiled_ones(options):
    model = build_unet(**options)
    geometry = derive(model)
    spec = tile_of(geometry)
    extents = [2 * h + 3 * s for h, s in zip(geometry.halo, geometry.stride, strict=True)]
    shape = [e if a == 0 else spec.stride[a] for a, e in enumerate(extents)]
    spec = TileSpec((spec.tile[0], *shape[1:]), spec.halo, spec.stride)
    image = smooth_noise((*shape, model.input_shape[-1]), seed=1)
    predict = lambda tiles: np.asarray(model(tiles, training=False))  # noqa: E731
    difference = np.abs(predict_tiled(predict, image, spec) - predict(image[np.newaxis])[0])
    assert difference.max() <= 1e-5
