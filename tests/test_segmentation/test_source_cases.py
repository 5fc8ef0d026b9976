"""What went wrong in the trainings of the source cases, and what is done here instead.

Every class is one kind of mistake; the numbers are those of the research notes and can be
checked by hand. Scores of whole masks (pooled, permuted, dropped labels) are in `test_fixtures`.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from segmentation.bundle import BundleError
from segmentation.metrics.confusion import ConfusionMatrix
from segmentation.metrics.scores import scores
from segmentation.networks.graph import read_graph
from segmentation.networks.presets import PRESETS, build_network
from segmentation.networks.runtime import import_keras
from segmentation.packing import check_model
from segmentation.region import Region
from segmentation.training.augment import Augmentation, augment
from segmentation.training.inspection import count_labels, one_hot_message
from segmentation.training.losses import LOSSES, make_loss
from segmentation.training.monitor import MonitorError, resolve_monitor
from tests.test_segmentation.specimens import (
    binary_network,
    channel_pooled_dice,
    channel_pooled_iou,
    double_union_iou,
    four_class_network,
    one_hot,
    scaled_jaccard_loss,
)

keras = import_keras()
# 1000 voxels, 300 of them of the class.
TRUTH = (np.arange(1000) < 300).astype(np.int64)


def measured(metric, truth, prediction):
    metric.update_state(truth, prediction)
    return float(metric.result())


def loss_of(name, truth, probabilities, head="softmax"):
    channels = probabilities.shape[-1]
    loss = make_loss(name, channels if head == "softmax" else channels + 1, head)
    return float(np.asarray(loss(truth[None], probabilities[None].astype(np.float32))))


def macro_dice(truth, prediction, num_classes=2):
    matrix = ConfusionMatrix.from_labels(truth, prediction, num_classes)
    return scores(matrix, list("abcde"[:num_classes]))["macro_foreground_dice"]


def count(label, num_classes=2):
    return count_labels(label, Region.whole(label.shape), num_classes, None)


class TestLossesBlindToClasses:
    """S0-1, S0-3: summed over the channels, Dice is the mean probability of the true class."""

    @given(st.integers(0, 2**16), st.integers(2, 6))
    def test_pooled_dice_and_iou_are_soft_accuracy(self, seed, classes):
        rng = np.random.default_rng(seed)
        truth = rng.integers(0, classes, 400)
        probabilities = rng.dirichlet(np.ones(classes), 400)
        s = probabilities[np.arange(400), truth].mean()
        targets = one_hot(truth, classes)
        dice = channel_pooled_dice(targets, probabilities, smooth=1)
        assert dice == pytest.approx((2 * 400 * s + 1) / (2 * 400 + 1))
        assert channel_pooled_iou(targets, probabilities, smooth=0) == pytest.approx(s / (2 - s))

    # 10,000 voxels, 100 of class 1 and 1900 of class 2; 100 wrong, in class 1 or the background.
    truth = np.repeat([0, 1, 2], (8000, 100, 1900))
    missed = np.where(truth == 1, 0, truth)
    extra = np.where(np.arange(10_000) < 100, 2, truth)

    def test_the_pooled_loss_cannot_tell_a_missed_class_from_as_many_errors_elsewhere(self):
        maps = [0.05 / 3 + 0.95 * one_hot(guess, 3) for guess in (self.missed, self.extra)]
        pooled = [1 - channel_pooled_dice(one_hot(self.truth, 3), p) for p in maps]
        assert abs(pooled[0] - pooled[1]) < 1e-4
        # Class 1 missed: (0 + 1) / 2. Class 2 with 100 too many: (1 + 3800 / 3900) / 2.
        dice = [macro_dice(self.truth, guess, 3) for guess in (self.missed, self.extra)]
        assert dice == pytest.approx([0.5, 0.987179], abs=1e-6)

    @pytest.mark.parametrize("name", [*LOSSES, "cross-entropy+dice"])
    def test_losses_here_can(self, name):
        maps = [0.05 / 3 + 0.95 * one_hot(guess, 3) for guess in (self.missed, self.extra)]
        missed, extra = (loss_of(name, self.truth, p) for p in maps)
        assert missed > extra + 0.05


class TestSmoothing:
    """S0-5: a constant added to both sides of a ratio decides where there is little to see."""

    @pytest.mark.parametrize(("smooth", "dice"), [(1, 0.167), (10, 0.667), (100, 0.952)])
    def test_five_false_voxels_are_scored_by_the_constant(self, smooth, dice):
        prediction = (np.arange(100) < 5).astype(float)
        assert channel_pooled_dice(np.zeros(100), prediction, smooth) == pytest.approx(
            dice, abs=5e-4
        )
        assert macro_dice(np.zeros(100, int), prediction.astype(int)) == 0

    def test_an_absent_class_is_perfect_there_and_undefined_here(self):
        nothing = np.zeros(100)
        assert channel_pooled_dice(nothing, nothing) == 1
        assert macro_dice(nothing.astype(int), nothing.astype(int)) is None
        background = np.tile([1.0, 0.0], (100, 1))
        assert loss_of("dice", nothing.astype(int), background) == pytest.approx(0, abs=1e-6)


class TestBackgroundLeftOut:
    """S0-6: without a background plane a perfect prediction cannot reach 1."""

    @pytest.mark.parametrize(("share", "cap"), [(0.1, 0.182), (0.2, 0.333), (0.3, 0.462)])
    def test_pooled_dice_is_capped(self, share, cap):
        foreground = np.arange(1000) < 1000 * share
        targets = np.stack([np.zeros(1000), foreground], axis=-1)
        perfect = np.stack([~foreground, foreground], axis=-1).astype(float)
        dice = channel_pooled_dice(targets, perfect, smooth=0)
        assert dice == pytest.approx(2 * share / (1 + share))
        assert dice == pytest.approx(cap, abs=5e-4)
        assert channel_pooled_iou(targets, perfect, smooth=0) == pytest.approx(share)
        message = one_hot_message(targets.reshape(10, 100, 2), 2)
        assert f"cannot exceed {cap}" in message


class TestMonitors:
    """S0-7, S0-8: early stopping on a name that is not there, or in the wrong direction."""

    def fit(self, values, callback):
        """Replay a course of a metric; return the number of epochs run."""
        callback.set_model(keras.Sequential([keras.layers.Dense(1)]))
        callback.model.stop_training = False
        callback.on_train_begin()
        for epoch, value in enumerate(values):
            callback.on_epoch_end(epoch, {"val_dice_coef": value})
            if callback.model.stop_training:
                return epoch + 1
        return len(values)

    def test_under_min_a_rising_metric_stops_as_soon_as_patience_allows(self):
        rising = np.linspace(0.3, 0.9, 30)
        stopping = {"monitor": "val_dice_coef", "patience": 6}
        assert self.fit(rising, keras.callbacks.EarlyStopping(mode="min", **stopping)) == 1 + 6
        assert self.fit(rising, keras.callbacks.EarlyStopping(mode="max", **stopping)) == 30

    def test_keras_warns_of_a_missing_name_and_never_stops(self):
        callback = keras.callbacks.EarlyStopping("Accuracy", patience=1, mode="max")
        with pytest.warns(UserWarning, match="conditioned on metric `Accuracy` which is not"):
            assert self.fit([0.5] * 12, callback) == 12

    @pytest.mark.parametrize(
        ("name", "direction", "code"),
        [
            ("Accuracy", "max", "TRAIN-MONITOR-ON-TRAIN"),
            ("loss", None, "TRAIN-MONITOR-ON-TRAIN"),
            ("val_dice_coef", "max", "TRAIN-MONITOR-MISSING"),
            ("val_macro_foreground_dice", "min", "TRAIN-MONITOR-DIRECTION"),
        ],
    )
    def test_here_both_are_refused_before_the_first_epoch(self, name, direction, code):
        with pytest.raises(MonitorError, match=code):
            resolve_monitor(name, direction, ["background", "cell"])


class TestHeads:
    """S0-15: as many ReLU channels as classes, just before the head."""

    def features_before_the_head(self, model):
        """Channels that the last convolution sees, and the activation they come from."""
        *_, before, head = (s for s in read_graph(model).steps if s.kind == "Conv2D")
        return head.operation.kernel.shape[-2], before.operation.activation.__name__

    def test_the_specimens_squeeze_their_features_through_the_classes(self):
        assert self.features_before_the_head(four_class_network(8, num_classes=5)) == (5, "relu")
        assert self.features_before_the_head(binary_network(8)) == (2, "relu")

    @pytest.mark.parametrize("preset", PRESETS)
    def test_the_presets_do_not(self, preset):
        model = build_network(preset, "yx", channels=1, num_classes=2, width=8, depth=1)
        assert self.features_before_the_head(model)[0] == 8

    def test_a_head_for_another_number_of_classes_is_refused(self):
        """S0-16: the default of two classes for four and the background."""
        with pytest.raises(BundleError, match="has 2 channels, but 5 classes were named"):
            check_model(four_class_network(2, num_classes=2), 5, "yx")


class TestOldNames:
    """S0-16: Keras itself refuses what the source cases still say."""

    def test_lr(self):
        with pytest.raises(ValueError, match="lr"):
            keras.optimizers.Adam(lr=1e-4)

    def test_hdf5(self):
        with pytest.raises(ValueError, match=r"\.keras"):
            keras.callbacks.ModelCheckpoint("unet.hdf5", save_best_only=True)


class TestMixedLabels:
    """S0-17, S2-6: interpolated masks hold values that are no class."""

    # A line two voxels wide and a block.
    mask = np.zeros((64, 64), np.uint8)
    mask[:, 10:12], mask[30:50, 30:50] = 1, 1

    def test_bilinear_fractions_are_refused(self):
        mixed = ndimage.rotate(self.mask.astype(np.float32), 20, order=1)
        assert not np.isin(mixed, [0, 1]).all()
        # Equal to 0 or 1 nowhere along the borders, so exact accuracy cannot reach 1.
        accuracy = measured(keras.metrics.Accuracy(), mixed, mixed > 0.5)
        assert accuracy < 1
        with pytest.raises(ValueError, match=r"fractional values such as .*take the nearest voxel"):
            count(mixed)

    def test_augmentation_mixes_no_labels(self):
        image = self.mask[..., None].astype(np.float32)
        settings = Augmentation(rotate=1.0, scale=1.0, elastic=1.0)
        result = augment(np.random.default_rng(0), image, self.mask, settings)
        assert not np.isin(result.image, [0, 1]).all()
        assert set(np.unique(result.labels)) == {0, 1}
        assert count(result.labels).sum() == self.mask.size


class TestExactAccuracy:
    """S2-1: Accuracy() asks whether floats are equal, so it measures how large logits are."""

    truth = np.array([0, 0, 0, 1, 1, 1], np.float32)
    right = np.array([0.01, 0.2, 1e-7, 0.99, 0.8, 1 - 1e-6], np.float32)

    def test_right_probabilities_are_all_wrong(self):
        assert measured(keras.metrics.Accuracy(), self.truth, self.right) == 0
        assert measured(keras.metrics.BinaryAccuracy(), self.truth, self.right) == 1

    def test_a_voxel_counts_when_the_sigmoid_saturates(self):
        """Upwards from a logit of 16.64, downwards only from -87.34: a bias for foreground."""
        logits = np.array([16.5, 16.8, -80, -120], np.float32)
        values = np.asarray(keras.ops.sigmoid(logits))
        assert (values[:2] == 1).tolist() == [False, True]
        assert (values[2:] == 0).tolist() == [False, True]


class TestRunningAverages:
    """S2-2, S2-3: the training curve is a mean over weights that were older, and older."""

    steps = (2, 10)

    def course(self, steps, epochs=12):
        """Logged and validation loss per epoch, batch losses and whole losses step by step."""
        keras.utils.set_random_seed(0)
        rng = np.random.default_rng(0)
        image = rng.normal(size=(40, 32, 32, 1)).astype(np.float32)
        truth = (ndimage.gaussian_filter(image, (0, 1, 1, 0)) > 0).astype(np.float32)
        source = keras.Input((32, 32, 1))
        features = keras.layers.Conv2D(2, 3, padding="same", activation="tanh")(source)
        model = keras.Model(source, keras.layers.Conv2D(1, 1, activation="sigmoid")(features))
        model.compile(keras.optimizers.SGD(0.05), "binary_crossentropy")
        size, before, whole = 40 // steps, [], []

        class Watch(keras.callbacks.Callback):
            def on_train_batch_begin(self, batch, logs=None):
                part = slice(batch * size, (batch + 1) * size)
                before.append(bce(model, image[part], truth[part]))
                whole.append(bce(model, image, truth))

        log = model.fit(
            image,
            truth,
            batch_size=size,
            epochs=epochs,
            shuffle=False,
            verbose=0,
            validation_data=(image, truth),
            validation_batch_size=40,
            callbacks=[Watch()],
        ).history
        whole.append(bce(model, image, truth))
        return np.array(log["loss"]), np.array(log["val_loss"]), np.array(before), np.array(whole)

    @pytest.mark.parametrize("steps", steps)
    def test_the_curve_lags_by_half_an_epoch_and_half_a_step(self, steps):
        logged, val, before, whole = self.course(steps)
        # What is logged: the mean of the losses before each update.
        np.testing.assert_allclose(logged, before.reshape(-1, steps).mean(axis=1), atol=1e-6)
        # What val is: the loss of the weights at the end of the epoch, on the very same data.
        np.testing.assert_allclose(val, whole[steps::steps], atol=1e-6)
        assert (val < logged).all()
        # When the whole loss was what was logged, in epochs before the end of that epoch.
        times = np.arange(len(whole)) / steps
        when = np.interp(-logged, -whole, times)
        lag = np.arange(1, len(logged) + 1) - when
        assert lag.mean() == pytest.approx((steps + 1) / (2 * steps), abs=0.05)


def bce(model, image, truth):
    probabilities = np.asarray(model(image), np.float64)
    return float(-np.log(np.where(truth > 0, probabilities, 1 - probabilities)).mean())


class TestIntegerMetricsOnProbabilities:
    """S3-1, S3-7: MeanIoU cuts floats off to integers, argmax of one channel is always 0."""

    CASES = (
        ("good", np.where(TRUTH, 0.9, 0.1)),
        ("sure", np.where(TRUTH, 0.999, 0.001)),
        ("constant", np.full(1000, 0.3)),
    )

    @pytest.mark.parametrize(("name", "probabilities"), CASES)
    def test_the_curve_is_flat_at_half_the_background_share(self, name, probabilities):
        # (1 - .3) / 2: background IoU .7, foreground IoU 0, whatever the probabilities are.
        found = measured(keras.metrics.MeanIoU(2), TRUTH, probabilities)
        assert found == pytest.approx((1 - 0.3) / 2, abs=1e-6)
        right = measured(keras.metrics.BinaryIoU([0, 1]), TRUTH, probabilities)
        dice = macro_dice(TRUTH, (probabilities > 0.5).astype(int))
        expected = (0.35, 0.0) if name == "constant" else (1.0, 1.0)
        assert (right, dice) == pytest.approx(expected, abs=1e-6)

    def test_one_channel_has_no_argmax(self):
        wrong = (1 - TRUTH)[:, None].astype(np.float32)
        metric = keras.metrics.OneHotMeanIoU(1)
        assert measured(metric, TRUTH[:, None], wrong) == pytest.approx(1, abs=1e-6)
        metric = keras.metrics.MeanIoU(2, sparse_y_pred=False)
        right = TRUTH[:, None].astype(np.float32)
        assert measured(metric, TRUTH, right) == pytest.approx((1 - 0.3) / 2, abs=1e-6)
        assert macro_dice(TRUTH, wrong[:, 0].astype(int)) == 0


class TestAccuracyOfTheBackground:
    """S3-2: 70 % of the voxels are right when nothing is found."""

    def test_it_says_nothing(self):
        nothing = np.zeros(1000, int)
        assert measured(keras.metrics.BinaryAccuracy(), TRUTH, nothing) == pytest.approx(0.7)
        assert measured(keras.metrics.BinaryIoU([1]), TRUTH, nothing) == 0
        matrix = ConfusionMatrix.from_labels(TRUTH, nothing, 2)
        result = scores(matrix, ("background", "cell"))
        assert (result["accuracy"], result["macro_foreground_dice"]) == (0.7, 0)


class TestBlackAndWhite:
    """S3-3: a mask of 0 and 255 gives numbers without meaning, and no error."""

    mask = (255 * TRUTH).astype(np.uint8)

    def test_perfect_and_nothing_have_the_same_accuracy(self):
        for prediction in (TRUTH, np.zeros(1000)):
            found = measured(keras.metrics.BinaryAccuracy(), self.mask, prediction)
            assert found == pytest.approx(0.7)

    def test_the_loss_is_below_zero(self):
        p = np.full(1000, 0.6, np.float32)
        # 255 log .6 - 254 log .4 in a voxel of the class.
        expected = 0.7 * -np.log(0.4) + 0.3 * -(255 * np.log(0.6) - 254 * np.log(0.4))
        found = float(np.asarray(keras.losses.binary_crossentropy(self.mask.astype(float), p)))
        assert found == pytest.approx(expected, rel=1e-5)
        assert found < 0

    def test_it_is_refused_here(self):
        with pytest.raises(ValueError, match=r"255 \(300 voxels\).*black and white: divide.*255"):
            count(self.mask.reshape(10, 100))


class TestJaccard:
    """S3-4, S3-5: a union with the overlap in it twice, and a loss that is scaled."""

    halves = TRUTH * (np.arange(1000) < 150)

    def test_the_mean_iou_of_the_answer_rises_with_quality_so_it_is_no_loss(self):
        course = [double_union_iou(TRUTH, p * TRUTH) for p in (0.2, 0.5, 1.0)]
        assert course == sorted(course)
        assert course[-1] == 0.5
        assert double_union_iou(TRUTH, self.halves) == pytest.approx(1 / 3)

    def test_ours_falls_and_knows_the_union(self):
        maps = [p[:, None].astype(float) for p in (1 - TRUTH, self.halves, TRUTH)]
        course = [loss_of("jaccard", TRUTH, p, "sigmoid") for p in maps]
        assert course == pytest.approx([1, 0.5, 0], abs=1e-6)

    def test_the_scaled_loss_differs_by_its_constant_and_ours_has_none(self):
        nothing = np.zeros(1000)
        # (1 - 10 / 310) * 10 and (1 - 1 / 301) * 1.
        assert scaled_jaccard_loss(TRUTH, nothing, 10) == pytest.approx(9.677, abs=5e-4)
        assert scaled_jaccard_loss(TRUTH, nothing, 1) == pytest.approx(0.9967, abs=5e-5)
        assert loss_of("jaccard", TRUTH, nothing[:, None], "sigmoid") == 1
