"""Whole numbers behind accuracies, and callbacks replayed: against Keras itself."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segmentation.audit.decode import (
    decode_carried,
    decodes_alone,
    expected_by_chance,
    smallest_whole,
    whole,
)
from segmentation.audit.log import LoggedEvaluation
from segmentation.audit.log_settings import Plateau, Stopping
from segmentation.audit.replay import replay_plateau, replay_stopping
from segmentation.networks.runtime import import_keras
from tests.test_segmentation.written_logs import rows, single_class

keras = import_keras()


def printed(right, sizes, carried=(0, 0)):
    """What Keras's own metric prints, in float32, when it is never reset."""
    metric = keras.metrics.Accuracy()
    feed(metric, *carried)
    found = []
    for k, n in zip(right, sizes, strict=True):
        feed(metric, k, n)
        value = np.float32(metric.result())
        text = np.format_float_positional(value, unique=True)
        found.append(LoggedEvaluation(n, 0.5, float(text), len(text.partition(".")[2])))
    return found


def feed(metric, right, samples):
    if samples:
        metric.update_state(np.zeros(samples), (np.arange(samples) >= right).astype(float))


class TestDecoding:
    def test_s4_8_the_source_case_has_one_reading(self):
        (found,) = decode_carried(single_class().evaluations)
        assert found.carried_samples == 10
        assert (found.carried_most, found.first_least) == (10, 86)
        assert found.later == (13, 14, 12, 16, 15, 16, 15)
        fractions = "96/110 109/137 123/164 135/191 151/218 166/245 182/272 197/299"
        assert " ".join(f"{k}/{n}" for k, n in found.totals) == fractions
        assert expected_by_chance(single_class().evaluations) < 1e-6

    def test_keras_prints_those_numbers(self):
        again = printed([86, 13, 14, 12, 16, 15, 16, 15], [100, *7 * [27]], (10, 10))
        given = [float(row["accuracy"]) for row in rows("single_class_evaluations.csv")]
        assert [one.accuracy for one in again] == list(dict.fromkeys(given))

    @settings(max_examples=25)
    @given(st.data())
    def test_what_was_carried_is_found_again(self, data):
        sizes = data.draw(st.lists(st.integers(20, 60), min_size=4, max_size=6))
        right = [data.draw(st.integers(0, n)) for n in sizes]
        samples = data.draw(st.integers(1, 200))
        carried = data.draw(st.integers(0, samples))
        found = decode_carried(printed(right, sizes, (carried, samples)))
        fitting = [one for one in found if one.carried_samples == samples]
        assert len(fitting) == 1
        assert fitting[0].later == tuple(right[1:])
        assert fitting[0].carried_least <= carried <= fitting[0].carried_most

    def test_metrics_that_were_reset_decode_alone(self):
        sizes = [100, 27, 27]
        alone = [printed([k], [n])[0] for k, n in zip([86, 13, 14], sizes, strict=True)]
        assert decodes_alone(alone)
        assert not decodes_alone(printed([86, 13, 14], sizes, (10, 10)))

    def test_without_sizes_nothing_is_decoded(self):
        unknown = [replace(single_class().evaluations[0], samples=None)]
        assert decode_carried(unknown) == ()
        assert decodes_alone(unknown)

    @pytest.mark.parametrize(
        ("value", "samples", "digits", "right"),
        [(0.4889, 90, 4, 44), (0.4889, 10, 4, None), (1.0, 7, 4, 7), (0.8727273, 110, 7, 96)],
    )
    def test_whole_numbers(self, value, samples, digits, right):
        assert whole(value, samples, digits) == right

    def test_samples_of_the_training_part_from_its_accuracies(self):
        values = [float(row["accuracy"]) for row in rows("single_class_epochs.csv")]
        assert smallest_whole(values, digits=4) == 90
        assert smallest_whole([0.1234, 0.5678], digits=4) is None


VALUES = st.lists(st.integers(0, 12), min_size=1, max_size=40)
DIRECTIONS = st.sampled_from(["max", "min"])


def model():
    made = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    made.compile(keras.optimizers.SGD(1.0), "mse")
    return made


MODEL = model()


class TestReplay:
    """S0-8, S4-3: in steps of 1/16 every comparison is exact in float32 too."""

    @given(VALUES, DIRECTIONS, st.integers(0, 5), st.sampled_from([0, 1 / 32, 3 / 32]))
    def test_early_stopping_as_keras_does(self, values, direction, patience, min_delta):
        callback = keras.callbacks.EarlyStopping(
            "score", patience=patience, mode=direction, min_delta=min_delta
        )
        callback.set_model(MODEL)
        MODEL.stop_training = False
        callback.on_train_begin()
        stopped = None
        for epoch, value in enumerate(values):
            callback.on_epoch_end(epoch, {"score": value / 16})
            if MODEL.stop_training:
                stopped = epoch + 1
                break
        ours = replay_stopping(
            tuple(value / 16 for value in values), Stopping("score", patience, min_delta, direction)
        )
        assert (ours.epoch, ours.best) == (stopped, callback.best_epoch + 1)

    # Keras 3.15 on numpy 2.
    @pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
    @given(VALUES, DIRECTIONS, st.integers(1, 5), st.integers(0, 3), st.sampled_from([0, 1 / 8]))
    def test_cuts_as_keras_does(self, values, direction, patience, cooldown, min_lr):
        callback = keras.callbacks.ReduceLROnPlateau(
            "score",
            factor=0.5,
            patience=patience,
            mode=direction,
            min_delta=1 / 32,
            cooldown=cooldown,
            min_lr=min_lr,
        )
        callback.set_model(MODEL)
        MODEL.optimizer.learning_rate = 1.0
        callback.on_train_begin()
        cuts, rate = [], 1.0
        for epoch, value in enumerate(values, start=1):
            callback.on_epoch_end(epoch - 1, {"score": value / 16})
            now = float(MODEL.optimizer.learning_rate)
            cuts += [(epoch, rate, now)] if now != rate else []
            rate = now
        plateau = Plateau("score", 0.5, patience, 1 / 32, cooldown, min_lr, direction)
        ours = replay_plateau(tuple(value / 16 for value in values), plateau, 1.0)
        assert [(cut.epoch, cut.before, cut.after) for cut in ours] == cuts

    def test_s4_3_the_learning_rate_of_the_source_case(self):
        log = single_class()
        cuts = replay_plateau(log.columns["val_loss"], Plateau(), 0.01)
        assert [cut.epoch for cut in cuts] == [18, 28, 38, 48]
        assert cuts[-1].after == pytest.approx(1e-6)

    def test_s4_4_early_stopping_of_the_source_case(self):
        log = single_class()
        stopped = replay_stopping(log.columns["accuracy"], Stopping("accuracy", 40, 0.01, "max"))
        assert (stopped.epoch, stopped.best) == (None, 45)

    def test_s0_8_a_rising_score_under_min_stops_as_soon_as_patience_allows(self):
        rising = tuple(np.linspace(0.3, 0.9, 30))
        assert replay_stopping(rising, Stopping("val_dice_coef", 6)).epoch == 1 + 6
        assert replay_stopping(rising, Stopping("val_dice_coef", 6, 0.0, "max")).epoch is None

    def test_gaps_are_passed_over(self):
        values = (None, 0.5, None, 0.5, 0.5)
        assert replay_stopping(values, Stopping("val_loss", 2)).epoch == 5
        assert [c.epoch for c in replay_plateau(values, Plateau(patience=2), 1.0)] == [5]
