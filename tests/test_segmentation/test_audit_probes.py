"""Probes: what they hold, how they are handed over, and what cannot be probed."""

import numpy as np
import pytest

from segmentation.audit import probe_fixtures as fixtures
from segmentation.audit.loss_rules import is_loss
from segmentation.audit.probe_fixtures import further_probes, trial_probes
from segmentation.audit.probe_images import expected_scores, image
from segmentation.audit.probe_layouts import Layout
from segmentation.audit.probe_reading import fitting, readings
from segmentation.audit.probe_subject import ProbeError, make_subject
from segmentation.audit.probe_words import described
from segmentation.audit.probes import run_probes
from segmentation.networks.runtime import import_keras

keras = import_keras()
ops, metrics, losses = keras.ops, keras.metrics, keras.losses
ONE_HOT = Layout("one-hot", "channels", 5)


def probes(layout):
    return {one.name: one for kind in (trial_probes, further_probes) for one in kind(layout)}


def taken(found):
    """Layouts that a metric was meant for."""
    subject = make_subject("metric", found)
    every = readings(run_probes(subject))
    return [one.layout for one in fitting(every, loss=is_loss(subject))]


def words(found):
    subject = make_subject("it", found)
    every = readings(run_probes(subject))
    return described("it", every, fitting(every, loss=is_loss(subject)), 0.01)


def test_the_image_with_five_classes_is_that_of_the_notes():
    assert np.bincount(image(5).ravel()).tolist() == [9000, 400, 300, 200, 100]
    assert np.bincount(image(2).ravel()).tolist() == [700, 300]
    assert all(image(n).max() == n - 1 for n in range(2, 11))


@pytest.mark.parametrize(
    ("name", "accuracy", "dice", "iou"),
    [
        (fixtures.PERFECT, 1, 1, 1),
        (fixtures.NOTHING, 0.9, 0, 0),
        (fixtures.MISSED, 0.99, 0.75, 0.75),
        (fixtures.PERMUTED, 0.9, 0, 0),
        # Half found of every class: 2 n/2 / (n + n/2).
        (fixtures.HALF, 0.95, 2 / 3, 0.5),
        (fixtures.GOOD, 1, 1, 1),
        (fixtures.RARE, 0.99, 0.75, 0.75),
    ],
)
def test_expected_scores_are_those_of_the_notes(name, accuracy, dice, iou):
    found = probes(ONE_HOT)[name].expected
    assert (found["accuracy"], found["dice"], found["iou"]) == pytest.approx((accuracy, dice, iou))


def test_what_is_undefined_is_left_out():
    nothing = np.zeros((1, 2, 2), np.int64)
    assert expected_scores(nothing, nothing, 2) == {"accuracy": 1.0, "mean_iou": 1.0}


def test_layouts_have_the_shapes_that_keras_hands_over():
    labels, half = image(5), np.full((1, 100, 100, 5), 0.2)
    assert ONE_HOT.truth(labels).shape == ONE_HOT.prediction(half).shape == (1, 100, 100, 5)
    assert (ONE_HOT.truth(labels).sum(axis=-1) == 1).all()
    plane = Layout("plane", "plane", 2)
    assert plane.truth(image(2)).shape == (1, 25, 40, 1)
    assert plane.prediction(half).shape == (1, 100, 100, 1)
    assert Layout("integer", "labels", 5).prediction(half).shape == (1, 100, 100)
    assert Layout("integer plane", "channels", 5).truth(labels).shape == (1, 100, 100, 1)
    rows = Layout("one-hot", "channels", 5, rows=True)
    assert rows.batch(half, (0,)).shape == (10_000, 5)


def test_logits_are_those_of_the_probabilities():
    p = np.array([0.9, 0.1, 0.5, 0.0, 1.0])
    pairs = np.stack([1 - p, p], axis=-1)[np.newaxis, np.newaxis]
    plane = Layout("plane", "plane", 2, logits=True).prediction(pairs)
    restored = np.asarray(ops.sigmoid(plane)).ravel()
    np.testing.assert_allclose(restored, p, atol=1e-6)
    channels = Layout("one-hot", "channels", 2, logits=True).prediction(pairs)
    np.testing.assert_allclose(np.asarray(ops.softmax(channels)), pairs, atol=1e-6)


def test_masks_of_255_and_labels_from_1():
    plane = probes(Layout("plane", "plane", 2))
    assert set(np.unique(plane[fixtures.WHITE].truth)) == {0, 255}
    integer = probes(Layout("integer", "channels", 4))[fixtures.FROM_ONE]
    assert set(np.unique(integer.truth)) == {1, 2, 3, 4}
    assert integer.expected["dice"] < 1


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (losses.BinaryCrossentropy(from_logits=True), [("plane", "plane", True)]),
        (losses.CategoricalCrossentropy(), [("one-hot", "channels", False)]),
        (losses.CategoricalCrossentropy(from_logits=True), [("one-hot", "channels", True)]),
        (
            losses.SparseCategoricalCrossentropy(),
            [("integer", "channels", False), ("integer plane", "channels", False)],
        ),
        (metrics.OneHotMeanIoU(3), [("one-hot", "channels", False)]),
    ],
    ids=lambda one: getattr(one, "name", ""),
)
def test_the_layout_is_found_out(found, expected):
    layouts = taken(found)
    assert [(one.masks, one.output, one.logits) for one in layouts][: len(expected)] == expected


def test_a_metric_that_takes_rows_is_given_rows():
    layouts = taken(metrics.F1Score(average="macro"))
    assert all(one.rows for one in layouts)
    assert "one-hot" in [one.masks for one in layouts]


def test_the_number_of_classes_is_found_out():
    weights = np.arange(1, 4, dtype=np.float32)
    three = taken(lambda t, p: ops.mean(ops.sum(t * weights * (1 - p), axis=-1)))
    assert [one.num_classes for one in three if one.masks == "one-hot"] == [3]


def test_a_metric_is_put_in_words():
    text = words(metrics.OneHotMeanIoU(3))
    assert text.startswith("it is a score: it rises with quality, 1 at best.")
    assert "on whole masks it is the mean IoU with background" in text
    assert "it is a loss: it falls with quality, 0 at best" in words(losses.MeanSquaredError())


def test_a_function_of_numpy_arrays_is_probed_too():
    assert taken(lambda t, p: float((t * p).sum() / t.sum().clip(1)))


def test_a_loss_that_is_not_averaged_is_averaged_as_keras_does():
    assert taken(losses.categorical_crossentropy)[0].output == "channels"


def test_an_element_can_be_named():
    def two(y_true, y_pred):
        right = ops.mean(ops.cast(ops.equal(y_true, ops.round(y_pred)), "float32"))
        return ops.stack([right, 1 - right])

    for element, rises in ((0, True), (1, False), (-1, False)):
        subject = make_subject("two", two, element)
        assert fitting(readings(run_probes(subject)))[0].rises is rises
    with pytest.raises(ProbeError, match=r"shape \(2,\) has no element 2"):
        run_probes(make_subject("two", two, 2))


def per_image(y_true, y_pred):
    return ops.mean(y_true * y_pred, axis=[1, 2, 3])


def broken(y_true, y_pred):
    raise RuntimeError("the weights are not there")


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (per_image, r"returns an array of shape \(2,\) for a batch of two images.*metric\[0\]"),
        (broken, "raises on every probe; given .*: RuntimeError: the weights are not there"),
        (lambda t, p: {"a": 1}, "returned a dictionary of a"),
        (lambda t, p: None, "returned nothing"),
        (lambda t: 0, "raises on every probe; .*TypeError"),
        (metrics.MeanIoU, r"cannot be made without arguments .*num_classes.*mine = MeanIoU"),
        (3, "is of type int; expected a function"),
    ],
)
def test_what_cannot_be_probed_is_refused(found, message):
    with pytest.raises(ProbeError, match=message):
        run_probes(make_subject("metric", found))


def test_a_metric_does_not_carry_over_from_probe_to_probe():
    subject = make_subject("accuracy", metrics.BinaryAccuracy())
    first, second = (
        [one.value for one in run_probes(subject) if one.probe.layout.masks == "plane"]
        for _ in range(2)
    )
    assert first == second
