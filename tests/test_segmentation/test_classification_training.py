"""Training of a classifier: it learns, repeats itself, stops, and predicts each image alone."""

import hashlib

import numpy as np
import pytest

from segmentation.classification.feed import SampleSet
from segmentation.classification.history import sample_monitor
from segmentation.classification.objective import class_weights
from segmentation.classification.scorer import predict, recalibrate_classifier
from segmentation.classification.settings import ClassifierSettings
from segmentation.classification.training import train_classifier
from segmentation.training.fit import TrainingStopped
from tests.test_segmentation.sample_sets import (
    plain_classifier,
    sample_set,
    small_classifier,
    squares,
)

MONITOR = sample_monitor("val_cross_entropy")
QUICK = ClassifierSettings(
    batch_size=8, steps=60, steps_per_epoch=20, learning_rate=1e-2, augment="flips"
)


def weights_hash(model):
    digest = hashlib.sha256()
    for weight in model.get_weights():
        digest.update(np.asarray(weight).tobytes())
    return digest.hexdigest()


@pytest.fixture(scope="module")
def trained():
    model = small_classifier()
    result = train_classifier(model, sample_set(48), sample_set(24, seed=1), MONITOR, QUICK)
    return model, result


def test_it_learns_to_tell_squares_from_noise(trained):
    model, result = trained
    found = predict(model, sample_set(40, seed=2)).argmax(axis=1)
    assert (found == np.arange(40) % 2).mean() >= 0.95
    assert [epoch.steps for epoch in result.epochs] == [20, 40, 60]
    assert result.stopped == "all steps were taken"


def test_it_ends_with_the_weights_of_the_best_epoch(trained):
    model, result = trained
    entropies = [epoch.curves["val"].cross_entropy for epoch in result.epochs]
    assert result.best.curves["val"].cross_entropy == min(entropies)
    assert [epoch.best for epoch in result.epochs][entropies.index(min(entropies))]
    probabilities = predict(model, sample_set(24, seed=1)).astype(np.float64)
    chosen = probabilities[np.arange(24), np.arange(24) % 2]
    assert -np.log(chosen).mean() == pytest.approx(min(entropies), abs=1e-5)


def test_the_four_curves_are_there_after_every_epoch(trained):
    for epoch in trained[1].epochs:
        assert set(epoch.curves) == {"train_running", "train_eval", "val", "val_batchstats"}
        assert all(row is not None for row in epoch.curves.values())
    assert trained[1].epochs[-1].learning_rate < 1e-3


def test_the_same_settings_give_the_same_weights():
    short = ClassifierSettings(batch_size=8, steps=6, steps_per_epoch=3)
    hashes = []
    for _ in range(2):
        model = small_classifier(seed=5)
        train_classifier(model, sample_set(16), sample_set(8, seed=1), MONITOR, short)
        hashes.append(weights_hash(model))
    assert hashes[0] == hashes[1]


def test_s4_7_a_prediction_does_not_depend_on_what_it_is_computed_with(trained):
    model, _ = trained
    images, labels = squares(37, seed=3)
    together = predict(model, SampleSet(lambda place: images[place], labels))
    order = np.random.default_rng(0).permutation(37)
    mixed = predict(model, SampleSet(lambda place: images[order[place]], labels[order]))
    np.testing.assert_allclose(mixed, together[order], atol=1e-6, rtol=0)
    for place in (0, 17, 36):
        alone = predict(model, SampleSet(lambda _, p=place: images[p], labels[[place]]))
        np.testing.assert_allclose(alone[0], together[place], atol=1e-6, rtol=0)


def test_s4_8_scoring_twice_gives_the_same_bytes_and_leaves_the_network_alone(trained):
    model, _ = trained
    before = weights_hash(model)
    first, second = (predict(model, sample_set(30, seed=4)) for _ in range(2))
    assert first.tobytes() == second.tobytes()
    assert weights_hash(model) == before


def test_recalibration_is_judged_by_validation_and_changes_a_copy_only(trained):
    model, _ = trained
    before = weights_hash(model)
    chosen, note = recalibrate_classifier(model, sample_set(48), sample_set(24, seed=1))
    assert weights_hash(model) == before
    assert (chosen is not model) == note["helped"] == (note["before"] - note["after"] > 0.005)


def test_recalibration_helps_where_moving_statistics_are_wrong(trained):
    model, _ = trained
    spoiled = small_classifier()
    spoiled.set_weights(model.get_weights())
    for layer in spoiled.layers:
        if type(layer).__name__ == "BatchNormalization":
            layer.moving_variance.assign(layer.moving_variance * 30.0)
            layer.moving_mean.assign(layer.moving_mean + 1.0)
    chosen, note = recalibrate_classifier(spoiled, sample_set(48), sample_set(24, seed=1))
    assert note["helped"]
    assert chosen is not spoiled
    found = predict(chosen, sample_set(40, seed=2)).argmax(axis=1)
    assert (found == np.arange(40) % 2).mean() >= 0.95


def test_without_batch_norm_there_is_nothing_to_recalibrate():
    plain = plain_classifier()
    assert recalibrate_classifier(plain, sample_set(8), sample_set(8)) == (plain, None)


def test_a_stop_is_heard_after_an_epoch():
    seen = []
    with pytest.raises(TrainingStopped, match="step 20"):
        train_classifier(
            small_classifier(),
            sample_set(16),
            sample_set(8),
            MONITOR,
            QUICK,
            on_epoch=lambda epochs: seen.append(len(epochs)),
            is_stopped=lambda: True,
        )
    assert seen == [1]


def test_patience_ends_a_training_that_gets_no_better():
    # Steps too small for float32, and no moving statistics: nothing changes at all.
    settings = ClassifierSettings(
        batch_size=4, steps=40, steps_per_epoch=2, learning_rate=1e-12, weight_decay=0.0, patience=2
    )
    result = train_classifier(plain_classifier(), sample_set(8), sample_set(8), MONITOR, settings)
    assert [epoch.epoch for epoch in result.epochs] == [1, 2, 3]
    assert result.best.epoch == 1
    assert result.epochs[0].curves["val_batchstats"] is None
    assert result.stopped == "no better epoch for 2 epochs"


def test_a_loss_that_is_no_number_ends_the_training():
    images, labels = squares(8)
    images[3] = np.inf
    bad = SampleSet(lambda place: images[place], labels)
    with pytest.raises(ValueError, match="lower the learning rate"):
        train_classifier(small_classifier(), bad, sample_set(8), MONITOR, QUICK)


@pytest.mark.parametrize(
    ("rule", "expected"),
    # 9 images of class 0 and 1 of class 1; weights w with Σ n w = 10.
    [("none", (1, 1)), ("inverse", (10 / 18, 5)), ("sqrt", (10 / 12, 2.5))],
)
def test_class_weights_by_hand(rule, expected):
    found = class_weights(np.array([0] * 9 + [1]), 2, rule)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_class_without_images_has_no_weight():
    assert class_weights(np.array([0, 0]), 2, "inverse").tolist() == [1.0, 0.0]
