"""What a network does with images: each finding fires on its fixture and is silent on the twin.

The networks are of one or two layers, with weights that are set by hand.
"""

import itertools

import numpy as np
import pytest

from segmentation.audit.model_batch_norm import Comparison, batch_norm_findings, gap_severity
from segmentation.audit.model_behaviour import behaviour_findings, unchanged
from segmentation.audit.model_calibration import Calibration, answers, score
from segmentation.audit.model_input import ImageRange, intensity_findings
from segmentation.audit.model_norm_layers import LayerRow, behind_dropout, dropout_findings
from segmentation.audit.model_repeat import repeat_findings
from segmentation.audit.thresholds import Thresholds
from segmentation.networks.graph import read_graph
from tests.test_segmentation.networks import keras, layers

LIMITS = Thresholds()
NAMES = ("dark", "bright")
RNG = np.random.default_rng(0)
# Half of every crop is about 0.2, the other half about 0.8.
SIDES = np.where(np.arange(8) < 4, 0.2, 0.8)[None, :, None, None]
CROPS = (SIDES + RNG.normal(0, 0.05, (2, 8, 8, 1))).astype(np.float32)
TRUTH = np.broadcast_to((np.arange(8) >= 4)[None, :, None], (2, 8, 8)).astype(np.uint8)
SHOWN = Calibration((CROPS[:1], CROPS[1:]), (TRUTH[:1], TRUTH[1:]))
ALL_DARK = Calibration(SHOWN.batches, tuple(np.zeros_like(t) for t in SHOWN.truth or ()))
UNKNOWN = Calibration(SHOWN.batches)


def built(*body, steepness=10.0, cut=0.5):
    """Layers in front of a softmax that says bright above a cut of the first feature."""
    source = keras.Input((None, None, 1))
    features = source
    for layer in body:
        features = layer(features)
    head = layers.Conv2D(2, 1, activation="softmax", name="head")
    model = keras.Model(source, head(features))
    kernel = np.zeros(head.kernel.shape, np.float32)
    kernel[0, 0, 0, 1] = steepness
    head.set_weights([kernel, np.array([0, -steepness * cut], np.float32)])
    return model


def norm(mean, variance, **options):
    """BatchNorm on one feature, with kept statistics; gamma 1, beta 0."""
    layer = layers.BatchNormalization(**options)
    layer.build((None, None, None, 1))
    layer.moving_mean.assign([mean])
    layer.moving_variance.assign([variance])
    return layer


def relu(biases):
    """A 1x1 convolution of weight one to as many features as biases."""
    layer = layers.Conv2D(len(biases), 1, activation="relu", name="features")
    layer.build((None, None, None, 1))
    layer.set_weights([np.ones((1, 1, 1, len(biases)), np.float32), np.array(biases, np.float32)])
    return layer


def mixing(features):
    """Every image with the mean of its batch added."""
    return features + keras.ops.mean(features, axis=0, keepdims=True)


def wavering():
    """Answers that drift from call to call, as on a device that never adds alike."""
    calls = itertools.count()
    return lambda batch, training: batch + np.float32(1e-3) * next(calls)


def shifted_norm():
    """Statistics of images ten times as bright: everything here is dark for them."""
    return built(norm(5.0, 9.0), cut=0.0)


def fitting_norm():
    """Mean and variance of the crops: 0.5, and 0.3 squared plus the noise."""
    return built(norm(float(CROPS.mean()), float(CROPS.var())), cut=0.0)


def codes(model, shown):
    found = behaviour_findings(model, shown, class_names=NAMES, head="softmax", thresholds=LIMITS)
    assert all(f.evidence and f.rule and f.advice and f.proves_not for f in found)
    return [(f.code, f.severity) for f in found]


def scaled(factor):
    return Calibration(tuple(b * np.float32(factor) for b in SHOWN.batches), SHOWN.truth)


COLLAPSE = ("MODEL-OUTPUT-COLLAPSE", "error")
SATURATED = ("MODEL-SATURATED", "warning")


@pytest.mark.parametrize(
    ("make", "shown", "expected"),
    [
        (built, SHOWN, []),
        # S4-10: one class for all, although half of the truth is the other.
        (lambda: built(cut=3.0), SHOWN, [COLLAPSE]),
        (lambda: built(cut=3.0), ALL_DARK, []),
        (lambda: built(cut=3.0), UNKNOWN, [("MODEL-OUTPUT-COLLAPSE", "info")]),
        # S4-9: a distance of 87 and more in front of the softmax.
        (lambda: built(steepness=1e4), SHOWN, [SATURATED]),
        (lambda: built(steepness=20.0), SHOWN, []),
        (lambda: built(relu([0, -9, -9, 0]), steepness=10.0), SHOWN,
         [("MODEL-DEAD-CHANNELS", "warning")]),
        (lambda: built(relu([0, 0, -9, 0])), SHOWN, []),
        (lambda: built(cut=500.0, steepness=0.01), scaled(1000), [("DATA-UNSCALED", "warning")]),
        (lambda: built(layers.Rescaling(1e-3)), scaled(1000), []),
        (lambda: built(cut=20.0, steepness=0.1), scaled(40), []),
        # S4-7: an answer that depends on the batch.
        (lambda: built(mixing, cut=1.0), SHOWN, [("INFER-BATCH-DEPENDENT", "error")]),
        (fitting_norm, SHOWN, []),
        (lambda: built(layers.Dropout(0.5, seed=0)), SHOWN, []),
        # S4-5: kept statistics that are not those of the images.
        (shifted_norm, SHOWN, [("MODEL-BN-GAP", "error"), COLLAPSE]),
        # Without foreground in the truth there is no score that could decide.
        (shifted_norm, ALL_DARK, [("MODEL-BN-GAP", "warning")]),
        (shifted_norm, UNKNOWN, [("MODEL-BN-GAP", "warning"), ("MODEL-OUTPUT-COLLAPSE", "info")]),
        (fitting_norm, UNKNOWN, []),
    ],
)  # fmt: skip
def test_pairs(make, shown, expected):
    model = make()
    weights = [np.array(w) for w in model.get_weights()]
    assert codes(model, shown) == expected
    for old, new in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_the_same_images_twice():
    """A network that wavers says so first: then company cannot be blamed."""
    found = repeat_findings(wavering(), SHOWN.batches, LIMITS.model)
    assert [(f.code, f.severity) for f in found] == [("INFER-NONDETERMINISTIC", "warning")]
    assert found[0].evidence
    assert repeat_findings(lambda batch, training: batch, SHOWN.batches, LIMITS.model) == []


def test_rounding_that_large_weights_amplify_is_no_dependence():
    def rounded(batch, training):
        """A thousand times the image, rounded up in company and down alone."""
        return 1000 * np.nextafter(batch, np.float32(len(batch) > 1))

    def counted(batch, training):
        return batch + np.float32(1e-4) * len(batch)

    assert repeat_findings(rounded, SHOWN.batches, LIMITS.model) == []
    found = repeat_findings(counted, SHOWN.batches, LIMITS.model)
    assert [(f.code, f.severity) for f in found] == [("INFER-BATCH-DEPENDENT", "error")]


def test_s4_9_numbers_of_a_saturated_softmax():
    """By hand: a distance above 104 gives exactly 0 and 1; 10 · 0.3 gives neither."""
    found = behaviour_findings(
        built(steepness=1e4), SHOWN, class_names=NAMES, head="softmax", thresholds=LIMITS
    )
    rows = {row[0]: row[1] for row in found[0].evidence[0].rows}
    assert rows == {"exactly 0": 0.5, "exactly 1": 0.5, "between": 0.0}


def test_a_step_that_fails_leaves_the_variables_too():
    model = fitting_norm()
    before = model.get_weights()

    def interrupted():
        with unchanged(model):
            model(CROPS, training=True)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        interrupted()
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_what_cannot_be_recalibrated_is_said():
    layer = norm(0.0, 1.0)
    source = keras.Input((None, None, 1))
    twice = layer(layer(source))
    model = keras.Model(source, layers.Conv2D(2, 1, activation="softmax")(twice))
    options = {"class_names": NAMES, "head": "softmax", "thresholds": LIMITS.model}
    (finding,) = batch_norm_findings(model, SHOWN, **options)
    assert (finding.code, finding.severity) == ("MODEL-BN-GAP", "info")
    assert "is used more than once" in finding.statement


@pytest.mark.parametrize(
    ("gain", "changed", "unit", "severity"),
    [
        (0.15, 0.0, "voxel", "error"),
        (0.149, 0.5, "voxel", "warning"),
        (0.05, 0.0, "voxel", "warning"),
        (0.049, 0.02, "voxel", None),
        (0.049, 0.021, "voxel", "info"),
        (-0.3, 0.3, "image", "info"),
        (None, 0.05, "image", None),
        (None, 0.051, "image", "warning"),
        (None, 0.021, "voxel", "warning"),
    ],
)
def test_how_grave_a_gap_is(gain, changed, unit, severity):
    """Predictions alone count: scores first, other classes where no truth decides."""
    before, after = (None, None) if gain is None else (0.0, gain)
    found = Comparison(before, after, changed, "score", unit, ((1.0,), (1.0,)))
    assert gap_severity(found, LIMITS.model)[0] == severity


class TestDropout:
    """S4-6: Dropout in front of BatchNorm, told by the variance it left behind."""

    def model(self, rate=0.5):
        """BatchNorm before any Dropout, behind it, and behind both."""
        source = keras.Input((None, None, 1))
        first = layers.BatchNormalization(name="first")(source)
        features = layers.Conv2D(2, 3, padding="same")(layers.Dropout(rate)(first))
        features = layers.BatchNormalization(name="behind")(features)
        return keras.Model(source, layers.BatchNormalization(name="last")(features))

    def found(self, model, ratios):
        rows = [
            LayerRow(model.get_layer(name), 0.0, ratio)
            for name, ratio in zip(("first", "behind", "last"), ratios, strict=True)
        ]
        return list(dropout_findings(read_graph(model), rows, LIMITS.model))

    def test_s4_6_only_what_dropout_reaches(self):
        model = self.model()
        assert behind_dropout(read_graph(model)) == {id(model.get_layer("behind"))}
        assert behind_dropout(read_graph(self.model(rate=0.0))) == set()

    @pytest.mark.parametrize(
        ("ratios", "fires"),
        [
            ((1.0, 3.9, 1.0), True),
            ((1.0, 1.9, 1.0), False),
            # All too large alike: too few steps, and not Dropout.
            ((5.0, 5.7, 5.0), False),
            ((0.2, 1.9, 0.2), False),
        ],
    )
    def test_s4_6_its_variance_is_told_from_a_general_lag(self, ratios, fires):
        found = self.found(self.model(), ratios)
        assert [f.code for f in found] == ["MODEL-DROPOUT-BEFORE-BN"] * fires
        assert all("3.9 times too large" in f.statement for f in found)


def rule(low, high):
    return {"rule": "fixed", "low": [low], "high": [high]}


GREY = RNG.integers(20, 200, (64, 64, 1))


@pytest.mark.parametrize(
    ("intensity", "voxels", "dtype", "expected"),
    [
        (rule(0, 255), GREY, "uint8", []),
        (rule(0, 65535), GREY * 257, "uint16", []),
        ({"rule": "percentiles", "low": 1.0, "high": 99.0}, GREY * 257, "uint16", []),
        (rule(0, 1), GREY, "uint8", []),
        (rule(0, 255), GREY * 257, "uint16", ["INFER-DTYPE-RANGE"]),
        (rule(0, 65535), GREY, "uint8", ["INFER-DTYPE-RANGE"]),
        (rule(0, 255), GREY / 255, "float32", ["INFER-DTYPE-RANGE"]),
        (rule(0, 100), GREY, "uint8", ["INFER-NORM-MISMATCH"]),
        (rule(0, 195), GREY, "uint8", []),
    ],
)
def test_intensities_of_an_image_against_those_of_a_bundle(intensity, voxels, dtype, expected):
    bounds = intensity if intensity["rule"] == "fixed" else {"low": [0], "high": [1]}
    found = ImageRange.of(voxels, dtype, bounds["low"], bounds["high"])
    findings = intensity_findings(intensity, found, LIMITS)
    assert [f.code for f in findings] == expected
    assert all(f.severity == "error" and f.evidence for f in findings)


def test_share_outside_by_hand():
    found = ImageRange.of(np.array([[-1.0], [0.0], [5.0], [10.0], [11.0]]), "float32", [0], [10])
    assert found.outside == (pytest.approx(0.4),)
    assert found.quantiles[0][::2] == (-1.0, 5.0, 11.0)


def test_scores_by_hand():
    """Voxels: Dice of bright 2·1/(1+2) = 2/3. Images: recalls 1/2 and 1 make 0.75."""
    batch = (np.zeros((3, 1, 1, 1), np.float32),)
    truth = (np.array([0, 0, 1]),)
    predicted = (np.array([0, 1, 1]),)
    images = Calibration(batch, truth, task="classification")
    assert score(predicted, images, NAMES) == pytest.approx(0.75)
    voxels = Calibration(batch, (truth[0].reshape(3, 1, 1),))
    assert score((predicted[0].reshape(3, 1, 1),), voxels, NAMES) == pytest.approx(2 / 3)
    assert score(predicted, Calibration(batch), NAMES) is None


def test_a_value_that_is_no_class_does_not_count():
    shown = Calibration((CROPS,), (np.where(TRUTH == 1, 255, TRUTH),))
    assert score((np.zeros_like(TRUTH),), shown, NAMES) is None
    assert codes(built(cut=3.0), shown) == []


def test_a_sigmoid_head_is_read_by_its_half():
    outputs = np.array([[0.4], [0.5], [0.9]], np.float32)
    found = answers(lambda batch, training: outputs, (CROPS,), "sigmoid")
    assert found.classes[0].tolist() == [0, 1, 1]
    assert found.shares(2).tolist() == pytest.approx([1 / 3, 2 / 3])


@pytest.mark.parametrize(
    ("batches", "truth", "task", "match"),
    [
        ((), None, "segmentation", "no image was given"),
        ((CROPS,), (TRUTH[:1],), "segmentation", r"\(1, 8, 8\).*one class for every voxel"),
        ((CROPS,), (TRUTH,), "classification", "one class for every image"),
    ],
)
def test_images_and_truth_that_do_not_fit(batches, truth, task, match):
    with pytest.raises(ValueError, match=match):
        Calibration(batches, truth, task)
