"""Predictors: fixed shapes, one rule for classes, same inputs same bytes."""

import numpy as np
import pytest

from segmentation.bundle import BundleError, ClassInfo, load_card, save_bundle
from segmentation.networks.unet import build_unet
from segmentation.packing import make_card
from segmentation.predictor import IdentityPredictor, KerasPredictor, NetworkPredictor
from segmentation.receptive_field import derive


def predictor_of(head="softmax", channels=1, batch_size=1, outputs=3):
    model = build_unet("yx", channels=channels, num_classes=outputs, width=2, depth=1, head=head)
    return NetworkPredictor(model, head=head, geometry=derive(model), batch_size=batch_size)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, np.float32)


def test_classes_are_the_largest_probability():
    predictor = predictor_of()
    tiles = noise(2, 16, 16, 1)
    probabilities = predictor.predict_probabilities(tiles)
    classes = predictor.predict_classes(tiles)
    assert (classes.dtype, probabilities.dtype) == (np.uint8, np.float32)
    assert (classes.shape, probabilities.shape) == ((2, 16, 16), (2, 16, 16, 3))
    np.testing.assert_array_equal(classes, probabilities.argmax(-1))
    np.testing.assert_array_equal(classes, predictor.classes_of(probabilities))


def test_a_sigmoid_head_has_a_background_where_no_channel_reaches_one_half():
    predictor = predictor_of("sigmoid", outputs=2)
    tiles = 4 * noise(2, 16, 16, 1) - 2
    probabilities = predictor.predict_probabilities(tiles)
    foreground = probabilities[..., 1:]
    expected = np.where((foreground >= 0.5).any(-1), 1 + foreground.argmax(-1), 0)
    assert predictor.num_classes == probabilities.shape[-1] == 3
    assert 0 < np.count_nonzero(expected) < expected.size
    np.testing.assert_array_equal(predictor.predict_classes(tiles), expected)
    np.testing.assert_array_equal(predictor.classes_of(probabilities), expected)
    np.testing.assert_allclose(probabilities[..., 0], 1 - foreground.max(-1), atol=1e-7)


def test_one_half_is_foreground():
    half = np.array([[0.5, 0.5, 0.1]], np.float32)
    assert predictor_of("sigmoid", outputs=2).classes_of(half).tolist() == [1]


def test_batches_are_filled_up_and_change_nothing():
    tiles = noise(5, 8, 8, 1)
    one_by_one = predictor_of(batch_size=1).predict_probabilities(tiles)
    in_pairs = predictor_of(batch_size=2).predict_probabilities(tiles)
    assert in_pairs.shape == (5, 8, 8, 3)
    np.testing.assert_allclose(in_pairs, one_by_one, atol=1e-6)


def test_the_same_tiles_give_the_same_bytes():
    predictor = predictor_of(batch_size=2)
    tiles = noise(4, 32, 32, 1)
    first = predictor.predict_probabilities(tiles).tobytes()
    assert all(predictor.predict_probabilities(tiles).tobytes() == first for _ in range(5))


def test_the_network_is_compiled_once_for_a_shape():
    predictor = predictor_of(batch_size=2)
    for count in (1, 2, 3, 5):
        predictor.predict_classes(noise(count, 8, 8, 1))
    assert len(predictor._compiled) == 1


def test_the_wrong_number_of_channels_is_refused():
    with pytest.raises(ValueError, match="tiles have 2 channels; expected 1"):
        predictor_of().predict_classes(noise(1, 8, 8, 2))


def test_more_classes_than_uint8_holds_are_refused():
    with pytest.raises(ValueError, match="has 257 classes; masks hold at most 256"):
        predictor_of(outputs=257)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("predictor") / "bundle"
    model = build_unet("yx", channels=2, num_classes=2, width=2, depth=1)
    classes = [ClassInfo(0, "background", (0, 0, 0, 0)), ClassInfo(1, "cell", (1, 2, 3, 255))]
    intensity = {"rule": "percentiles", "low": 1.0, "high": 99.0}
    save_bundle(folder, model, make_card(model, classes, axes="yx", intensity=intensity))
    return folder


def test_a_bundle_predicts_as_its_network_does(bundle):
    predictor = KerasPredictor(bundle, batch_size=2)
    assert (predictor.stride, predictor.halo) == ((2, 2), (8, 8))
    assert (predictor.num_classes, predictor.channels) == (2, 2)
    model = build_unet("yx", channels=2, num_classes=2, width=2, depth=1)
    tiles = noise(3, 8, 8, 2)
    np.testing.assert_allclose(
        predictor.predict_probabilities(tiles), np.asarray(model(tiles)), atol=1e-6
    )


def test_a_card_of_another_network_is_refused(bundle, tmp_path):
    model = build_unet("yx", channels=1, num_classes=2, width=2, depth=1)
    save_bundle(tmp_path / "mixed", model, load_card(bundle))
    with pytest.raises(BundleError, match="the network has 1 channels and 2 classes, its card 2"):
        KerasPredictor(tmp_path / "mixed")


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64"])
def test_identity_returns_the_voxels(dtype):
    top = np.iinfo(dtype).max
    tiles = np.array([[[0, 1], [top, 7]]], dtype)[..., np.newaxis]
    classes = IdentityPredictor(2).predict_classes(tiles)
    assert classes.dtype == tiles.dtype
    np.testing.assert_array_equal(classes, tiles[..., 0])


def test_identity_refuses_what_is_no_class():
    predictor = IdentityPredictor(3)
    assert (predictor.stride, predictor.halo) == ((1, 1, 1), (0, 0, 0))
    with pytest.raises(ValueError, match="tiles are float32 with 1 channels"):
        predictor.predict_classes(noise(1, 2, 2, 2, 1))
    for ask in (predictor.predict_probabilities, predictor.classes_of):
        with pytest.raises(ValueError, match="has no probabilities; ask for classes only"):
            ask(noise(1, 2, 2, 2, 1))
