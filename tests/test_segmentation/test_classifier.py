"""Networks for whole images: size, form, repeatability, refusals."""

import numpy as np
import pytest

from segmentation.networks.classifier import build_classifier, check_classifier


def weights(model):
    return np.concatenate([np.ravel(w) for w in model.get_weights()])


def test_s4_14_the_source_network_has_8148022_parameters():
    model = build_classifier(
        "classifier-source", image_size=(1024, 1024), channels=1, num_classes=2
    )
    # 1024 → 1022 → 511 → 509 → 254 → 252 → 126; 126² × 32 values in front of 16 units.
    dense = 126 * 126 * 32 * 16 + 16
    convolutions = (9 * 32 + 32) + 2 * (9 * 32 * 32 + 32) + 3 * 4 * 32
    end = 4 * 16 + (16 * 8 + 8) + 4 * 8 + (8 * 4 + 4) + 4 * 4 + (4 * 2 + 2)
    assert model.count_params() == dense + convolutions + end == 8_148_022
    assert dense / model.count_params() > 0.99


def test_s4_14_the_head_after_a_global_mean_does_not_grow_with_the_image():
    small, large, huge = (
        build_classifier("classifier", image_size=(side, side), channels=1, num_classes=2)
        for side in (128, 1024, 2048)
    )
    # One weight a feature and class, and a bias: 4 × 16 features after three poolings, and 8 × 16
    # at most, whatever the extents are.
    assert small.get_layer("head").count_params() == 4 * 16 * 2 + 2
    assert large.get_layer("head").count_params() == 8 * 16 * 2 + 2
    assert huge.get_layer("head").count_params() == 8 * 16 * 2 + 2
    assert large.count_params() < 8_148_022 / 3
    kinds = [type(layer).__name__ for layer in small.layers]
    assert "GlobalAveragePooling2D" in kinds
    assert "Flatten" not in kinds


@pytest.mark.parametrize("preset", ["classifier", "classifier-source"])
def test_output_is_one_row_of_probabilities_an_image(preset):
    model = build_classifier(preset, image_size=(33, 40), channels=3, num_classes=4, width=2)
    images = np.random.default_rng(0).random((5, 33, 40, 3), np.float32)
    found = model(images).numpy()
    assert found.shape == (5, 4)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
    assert (found >= 0).all()


@pytest.mark.parametrize("preset", ["classifier", "classifier-source"])
def test_the_seed_decides_the_weights(preset):
    first, again, other = (
        build_classifier(preset, image_size=(32, 32), channels=1, num_classes=2, width=2, seed=seed)
        for seed in (3, 3, 4)
    )
    assert np.array_equal(weights(first), weights(again))
    assert not np.array_equal(weights(first), weights(other))


def test_batch_norm_comes_before_the_activation():
    model = build_classifier("classifier", image_size=(32, 32), channels=1, num_classes=2, width=2)
    for layer in model.layers:
        if type(layer).__name__ == "BatchNormalization":
            assert type(layer.input._keras_history.operation).__name__ == "Conv2D"


@pytest.mark.parametrize(
    ("preset", "size", "classes", "message"),
    [
        ("unet4", (64, 64), 2, "expected one of classifier, classifier-source"),
        ("classifier", (7, 64), 2, "two extents, y and x, of 8 or more"),
        ("classifier", (64,), 2, "two extents"),
        ("classifier-source", (21, 64), 2, "of 22 or more"),
        ("classifier", (64, 64), 1, "expected 2 or more"),
    ],
)
def test_refusals(preset, size, classes, message):
    with pytest.raises(ValueError, match=message):
        check_classifier(preset, size, classes)


@pytest.mark.parametrize("numbers", [{"width": 0}, {"channels": 0}])
def test_widths_and_channels_below_one_are_refused(numbers):
    options = {"image_size": (32, 32), "channels": 1, "num_classes": 2} | numbers
    with pytest.raises(ValueError, match="expected 1 or more of each"):
        build_classifier("classifier", **options)


def test_the_smallest_images_of_both():
    for preset, side in (("classifier", 8), ("classifier-source", 22)):
        model = build_classifier(
            preset, image_size=(side, side), channels=1, num_classes=2, width=2
        )
        assert model.output_shape == (None, 2)
