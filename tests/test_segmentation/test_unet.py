"""U-Net: shapes, order of layers, seeds, options."""

import numpy as np
import pytest

from segmentation.networks.graph import read_graph
from segmentation.networks.unet import build_unet


@pytest.mark.parametrize("axes", ["yx", "zyx"])
@pytest.mark.parametrize("head", ["softmax", "sigmoid"])
@pytest.mark.parametrize("upsampling", ["nearest", "transpose"])
def test_output_is_probabilities_of_the_input_size(axes, head, upsampling):
    model = build_unet(
        axes, channels=2, num_classes=3, width=2, depth=2, head=head, upsampling=upsampling
    )
    for size in (8, 12):
        image = np.zeros((1, *(size,) * len(axes), 2), np.float32)
        output = np.asarray(model(image, training=False))
        assert output.shape == (1, *(size,) * len(axes), 3)
        assert ((output >= 0) & (output <= 1)).all()
        if head == "softmax":
            np.testing.assert_allclose(output.sum(-1), 1, atol=1e-6)


def kinds(**options):
    model = build_unet("yx", channels=1, num_classes=2, width=2, depth=1, **options)
    return [step.kind for step in read_graph(model).steps]


def test_convolution_batch_norm_relu_twice_a_level_and_a_bare_head():
    double = ["Conv2D", "BatchNormalization", "ReLU"] * 2
    way_up = ["Conv2D", "UpSampling2D", "Concatenate"]
    assert kinds() == [*double, "MaxPooling2D", *double, *way_up, *double, "Conv2D"]


def test_dropout_sits_where_no_batch_norm_follows():
    assert kinds(dropout=0.3)[-2:] == ["Dropout", "Conv2D"]


def test_without_batch_norm_the_convolutions_have_biases():
    model = build_unet("yx", channels=1, num_classes=2, width=2, depth=1, batch_norm=False)
    assert model.get_layer("down0a").use_bias
    assert "BatchNormalization" not in kinds(batch_norm=False)


def test_features_double_at_every_pooling():
    model = build_unet("yx", channels=1, num_classes=2, width=3, depth=2)
    filters = [model.get_layer(name).filters for name in ("down0a", "down1a", "bottoma")]
    assert filters == [3, 6, 12]


def test_the_seed_decides_the_weights():
    def first_kernel(seed):
        model = build_unet("yx", channels=1, num_classes=2, width=2, depth=1, seed=seed)
        return model.get_layer("down0a").kernel.numpy()

    np.testing.assert_array_equal(first_kernel(3), first_kernel(3))
    assert (first_kernel(3) != first_kernel(4)).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"axes": "xy"}, "axes are 'xy'; expected 'yx' or 'zyx'"),
        ({"depth": -1}, "depth is -1"),
        ({"pool": [(2, 2)]}, r"pool is \[\(2, 2\)\]; expected 2 windows of 2"),
        ({"pool": [(2, 2), (2, 2, 2)]}, "expected 2 windows of 2 whole numbers"),
        ({"head": "linear"}, "head is 'linear'"),
        ({"num_classes": 1}, "num_classes is 1; a softmax head needs at least 2"),
        ({"upsampling": "bicubic"}, "upsampling is 'bicubic'"),
        ({"dropout": 1.0}, "dropout 1.0"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        build_unet(**({"axes": "yx", "channels": 1, "num_classes": 2, "depth": 2} | options))
