"""BatchNorm statistics, exactly: those of the population, layer after layer."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segmentation.networks.ensemble import average_networks
from segmentation.training.recalibration import Moments, recalibrated
from tests.test_segmentation.networks import keras, layers
from tests.test_segmentation.trainings import prepared, small_unet


@given(st.lists(st.integers(1, 7), min_size=1, max_size=5), st.integers(0, 2**16))
def test_moments_of_pieces_are_those_of_the_whole(sizes, seed):
    rng = np.random.default_rng(seed)
    pieces = [1e3 + rng.normal(size=(size, 2, 3)) for size in sizes]
    total = Moments.of(pieces[0])
    for piece in pieces[1:]:
        total += Moments.of(piece)
    whole = np.concatenate(pieces).reshape(-1, 3)
    assert total.count == len(whole)
    np.testing.assert_allclose(total.mean, whole.mean(0), rtol=1e-12)
    np.testing.assert_allclose(total.variance, whole.var(0), rtol=1e-6, atol=1e-12)


def test_one_batch_recalibrated_answers_as_in_training_mode():
    """The whole population in one batch: its statistics are the batch's, at every layer."""
    training = prepared()
    batch = training.feed.batch(0)[0]
    model = recalibrated(training.model, [batch])
    expected = training.model(batch, training=True)
    np.testing.assert_allclose(model(batch, training=False), expected, atol=1e-5)


def test_the_cut_into_batches_does_not_matter():
    training = prepared()
    images = np.concatenate([training.feed.batch(step)[0] for step in range(3)])
    once, often = (
        recalibrated(training.model, parts) for parts in ([images], [images[:1], images[1:]])
    )
    for one, other in zip(once.weights, often.weights, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-4, atol=1e-6)


def test_the_network_itself_stays_as_it_is():
    model = small_unet()
    before = [w.numpy() for w in model.weights]
    recalibrated(model, [np.ones((1, 8, 8, 1), np.float32)])
    for old, new in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(old, new.numpy())


def norms(model):
    return [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]


def test_one_pass_is_exact_for_the_first_layer_alone():
    """Behind it every layer sees what the old statistics of those before made of the images."""
    training = prepared()
    images = [training.feed.batch(step)[0] for step in range(2)]
    exact, fast = (recalibrated(training.model, images, fast=fast) for fast in (False, True))
    first, *behind = zip(norms(exact), norms(fast), strict=True)
    np.testing.assert_array_equal(*(layer.moving_variance.numpy() for layer in first))
    assert all((a.moving_mean.numpy() != b.moving_mean.numpy()).any() for a, b in behind)
    second = norms(training.model)[1]
    seen = keras.Model(training.model.inputs[0], second.input)
    features = np.concatenate([np.asarray(seen(batch, training=False)) for batch in images])
    by_hand = features.reshape(-1, features.shape[-1]).astype(np.float64)
    got = norms(fast)[1]
    np.testing.assert_allclose(got.moving_mean.numpy(), by_hand.mean(0), atol=1e-6)
    np.testing.assert_allclose(got.moving_variance.numpy(), by_hand.var(0), rtol=1e-4)


def test_every_network_of_an_ensemble_is_recalibrated():
    members = [small_unet(seed=seed) for seed in range(2)]
    image = np.random.default_rng(0).random((2, 8, 8, 1), np.float32)
    alone = [np.asarray(recalibrated(m, [image])(image, training=False)) for m in members]
    together = recalibrated(average_networks(members), [image])(image, training=False)
    np.testing.assert_allclose(together, np.mean(alone, axis=0), atol=1e-6)


def test_what_cannot_be_recalibrated_is_refused():
    inner = keras.Sequential([keras.Input((8, 8, 1)), layers.BatchNormalization(name="deep")])
    nested = keras.Sequential([keras.Input((8, 8, 1)), layers.ReLU(), inner])
    with pytest.raises(ValueError, match="'deep' cannot be recalibrated: it lies in a nested"):
        recalibrated(nested, [np.ones((1, 8, 8, 1), np.float32)])
    with pytest.raises(ValueError, match="no image was given"):
        recalibrated(small_unet(), [])
