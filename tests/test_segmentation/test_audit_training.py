"""Findings on trainings: each fires on its course and is silent on the clean twin."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from segmentation.audit.changes import changed_settings
from segmentation.audit.log import LoggedEvaluation, LoggedPredictions, TrainingLog
from segmentation.audit.log_settings import Checkpoint, Plateau, Stopping
from segmentation.audit.thresholds import Thresholds, TrainThresholds
from segmentation.audit.training import findings_of_log, training_findings
from segmentation.audit.training_curves import noise, second_differences
from segmentation.audit.training_gap import lag
from segmentation.training.history import Epoch, Row
from tests.test_segmentation.written_logs import (
    approach,
    followed,
    good,
    jumps,
    log,
    set_up,
    single_class,
)

DEFAULTS = Thresholds()
FLAT = np.full(30, 0.3)
PREDICTED = LoggedPredictions("x", 20, 2, (1,), 0.0)
BOTH = LoggedPredictions("x", 20, 2, (0, 1), 0.0)


def found(of, thresholds=DEFAULTS):
    return {one.code: one for one in findings_of_log(of, thresholds)}


def stopping(monitor, patience=5, direction=None):
    return {"stopping": Stopping(monitor, patience, 0.0, direction)}


def keeping(monitor, direction=None, best=True):
    return {"checkpoints": (Checkpoint(monitor, direction, best),)}


def carried(*counts):
    """Accuracies of calls on 27 samples, after 10 of 10 carried in, or each by itself."""
    made, right, samples = [], 10, 10
    for count in counts:
        right, samples = right + count, samples + 27
        made.append(LoggedEvaluation(27, 0.7, round(right / samples, 8), 8))
    return tuple(made)


def reset(*counts):
    return tuple(LoggedEvaluation(27, 0.7, round(count / 27, 8), 8) for count in counts)


def with_plateau(values, **settings):
    return set_up(good(val_loss=values), plateau=Plateau(**settings), learning_rate=0.01)


def peaked(fall):
    """Rises to .85 in 10 epochs, then falls by so much in 20."""
    return np.concatenate([np.linspace(0.4, 0.85, 10), 0.85 - np.linspace(0, fall, 20)])


def tiny(samples, value):
    return set_up(good(val_accuracy=np.full(30, value)), validation_samples=samples)


def late(steps, epochs=12, speed=0.15):
    """A loss that falls step by step: the mean before the updates, and the end of the epoch."""
    whole = np.exp(-speed * np.arange(steps * epochs + 1) / steps)
    return {
        "loss": whole[:-1].reshape(epochs, steps).mean(axis=1),
        "val_loss": whole[steps::steps],
    }


class LogCases:
    """Code, and what else is meant, with the fault and its clean twin."""

    def predicted(self, value, predictions, loss=0.3):
        made = good(val_accuracy=np.full(30, value), loss=approach(1.0, loss))
        return replace(made, predictions=(predictions,))

    def pair(self, dice, iou, accuracy=None):
        scores = {"dice_coef": dice, "iou_coef": iou}
        scores |= {} if accuracy is None else {"accuracy": accuracy}
        return TrainingLog(results=(scores,))

    def cases(self):
        rising = approach(0.3, 0.8)
        return {
            "TRAIN-VAL-DEGENERATE": (good(val_loss=approach(0.7, 0, 30, 3)), good()),
            "TRAIN-VAL-DEGENERATE lucky": (
                good(val_loss=[1.0] * 20 + [0.0] * 10),
                good(val_loss=[1.0] * 20 + [0.0] * 9 + [0.3]),
            ),
            "SPLIT-SINGLE-CLASS-VAL": (
                self.predicted(1.0, PREDICTED),
                self.predicted(1.0, BOTH),
            ),
            "SPLIT-SINGLE-CLASS-VAL not perfect": (
                self.predicted(1.0, PREDICTED),
                self.predicted(0.9, PREDICTED),
            ),
            "MODEL-OUTPUT-COLLAPSE": (
                self.predicted(0.5, PREDICTED),
                self.predicted(0.5, BOTH),
            ),
            "SPLIT-TINY-VAL": (tiny(10, 1.0), tiny(1000, 0.9)),
            "TRAIN-LR-COLLAPSE": (with_plateau(np.zeros(30)), with_plateau(approach(1, 0.3))),
            "TRAIN-LR-COLLAPSE logged": (
                good(val_loss=np.zeros(30), lr=[0.1] * 12 + [0.01] * 18),
                # A schedule of its own, not a callback.
                good(val_loss=np.zeros(30), lr=np.linspace(0.1, 0, 30)),
            ),
            "TRAIN-LR-COLLAPSE at a true plateau": (
                with_plateau(np.full(30, 0.4)),
                # One cut, where neither part improves any longer.
                set_up(
                    good(
                        loss=0.2 + jumps(30, 0.01),
                        val_loss=np.r_[0.3, 0.4 + abs(jumps(29, 0.01))],
                    ),
                    plateau=Plateau(patience=20),
                ),
            ),
            "TRAIN-ES-INERT": (
                set_up(good(), **stopping("val_loss", 20)),
                set_up(good(), **stopping("val_loss", 5)),
            ),
            "TRAIN-ES-INERT stopped": (
                set_up(good(), epochs=100, **stopping("val_loss", 60)),
                set_up(good(val_loss=[0.1] + [0.5] * 29), **stopping("val_loss", 20)),
            ),
            "TRAIN-MONITOR-MISSING": (
                set_up(good(), **stopping("Accuracy", 5, "max")),
                set_up(good(), **stopping("val_accuracy", 5, "max")),
            ),
            "TRAIN-MONITOR-ON-TRAIN": (
                set_up(good(), **stopping("accuracy")),
                set_up(good(), **stopping("val_accuracy")),
            ),
            "TRAIN-MONITOR-ON-TRAIN checkpoint": (
                set_up(good(), **keeping("loss")),
                set_up(good(), **keeping("loss", best=False)),
            ),
            "TRAIN-MONITOR-DIRECTION": (
                set_up(good(val_dice_coef=rising), **keeping("val_dice_coef")),
                set_up(good(val_dice_coef=rising), **keeping("val_dice_coef", "max")),
            ),
            "TRAIN-MONITOR-DIRECTION given": (
                set_up(good(), **stopping("val_loss", 5, "max")),
                set_up(good(), **stopping("val_loss", 5, "min")),
            ),
            "TRAIN-MONITOR-DIRECTION Keras 3": (
                set_up(good(val_mean_io_u=rising), **keeping("val_mean_io_u")),
                set_up(good(val_mean_io_u=rising), keras=3, **keeping("val_mean_io_u")),
            ),
            "LOG-METRIC-NOT-RESET": (
                TrainingLog(evaluations=carried(13, 14, 12, 16, 15)),
                TrainingLog(evaluations=reset(13, 14, 12, 16, 15)),
            ),
            "LOG-METRIC-NOT-RESET no reading": (
                TrainingLog(evaluations=carried(13, 14, 12, 16, 15)),
                # Half a sample too much, whatever was carried in.
                TrainingLog(
                    evaluations=tuple(replace(e, accuracy=0.987654321) for e in carried(1, 2, 3))
                ),
            ),
            "LOG-SPREAD": (self.pair(0.9, 0.84), self.pair(0.9, 0.9 / 1.1)),
            "EVAL-POOLED": (self.pair(0.91, 0.845, 0.92), self.pair(0.6, 0.47, 0.93)),
            "METRIC-IOU-ON-PROBS": (
                good(mean_io_u=np.full(30, 0.35)),
                good(mean_io_u=approach(0.35, 0.8)),
            ),
            "METRIC-IOU-ON-PROBS known share": (
                set_up(good(val_mean_io_u=np.full(30, 0.35)), foreground_share=0.3),
                set_up(good(val_mean_io_u=np.full(30, 0.35)), foreground_share=0.1),
            ),
            "METRIC-ACCURACY-ON-PROBS": (
                log({"loss": "binary_crossentropy", "metrics": ("keras.metrics.Accuracy()",)}),
                log({"loss": "binary_crossentropy", "metrics": ("BinaryAccuracy()", "accuracy")}),
            ),
            "DATA-LABEL-RANGE": (
                set_up(good(loss=approach(1, -346.9)), loss="binary_crossentropy"),
                set_up(good(loss=approach(1, -0.9)), loss="negative_dice"),
            ),
        }


WAVE = 0.03 * np.sin(np.arange(30) * 2.4)
CURVE = approach(0.3, 0.84)


class CourseCases:
    """The same, of curves."""

    def cases(self):
        curve, wave = CURVE, WAVE
        falling = approach(1, 0.1, 30, 0.3)
        bent = np.r_[approach(1, 0.3, 10), np.linspace(0.3, 0.6, 20)]
        return {
            "TRAIN-DIVERGED": (good(loss=approach(1, 40)), good(loss=approach(1, 0.3))),
            "TRAIN-DIVERGED nan": (good(loss=[1.0] * 9 + [np.nan] * 21), good(loss=approach(1, 1))),
            "TRAIN-NOT-LEARNING": (
                log({"num_classes": 4}, dice_coef=FLAT, val_dice_coef=FLAT + 0.01),
                log({"num_classes": 4}, dice_coef=approach(0.3, 0.6), val_dice_coef=FLAT),
            ),
            "TRAIN-NOT-LEARNING classes unknown": (
                log(loss=FLAT * 3, accuracy=FLAT, val_accuracy=FLAT),
                log(loss=falling, accuracy=FLAT, val_accuracy=FLAT),
            ),
            "TRAIN-NOT-LEARNING ours": (
                followed(running=FLAT / 6, train_eval=FLAT / 6, val=FLAT / 6),
                followed(running=curve / 3, train_eval=curve / 3, val=curve / 3),
            ),
            "TRAIN-UNFINISHED": (
                good(val_accuracy=np.linspace(0.3, 0.8, 30)),
                good(val_accuracy=approach(0.3, 0.8)),
            ),
            "TRAIN-UNFINISHED noise": (
                good(val_accuracy=np.linspace(0.3, 0.8, 30) + jumps(30, 0.01)),
                good(val_accuracy=approach(0.3, 0.8, 30, 0.5) + jumps(30, 0.03)),
            ),
            "TRAIN-OVERFIT": (
                followed(train_eval=approach(0.4, 0.97), val=peaked(0.1)),
                followed(train_eval=approach(0.4, 0.97), val=peaked(0.0)),
            ),
            "TRAIN-OVERFIT training falls too": (
                followed(train_eval=approach(0.4, 0.97), val=peaked(0.1)),
                followed(train_eval=peaked(0.1) - 0.02, val=peaked(0.1)),
            ),
            "TRAIN-OVERFIT loss": (
                good(loss=approach(1, 0.05), val_loss=bent),
                good(loss=approach(1, 0.05), val_loss=approach(1, 0.3)),
            ),
            "TRAIN-OVERFIT noise": (
                good(loss=approach(1, 0.05), val_loss=bent + jumps(30, 0.02)),
                good(loss=approach(1, 0.05), val_loss=0.3 + jumps(30, 0.02)),
            ),
            "TRAIN-RUNNING-AVG": (log({"steps": 2}, **late(2)), good()),
            "TRAIN-RUNNING-AVG fixed weights": (
                followed(running=curve - 0.05, train_eval=curve, val=curve),
                followed(running=curve - 0.05, train_eval=curve - 0.05, val=curve),
            ),
            "SPLIT-EASY-VAL": (
                followed(train_eval=curve, val=curve + 0.04 + jumps(30, 0.005)),
                # S2-7: better on the average, but within the noise.
                followed(train_eval=curve, val=curve + 0.012 + jumps(30, 0.06, 1)),
            ),
            "SPLIT-EASY-VAL no fixed weights": (
                followed(train_eval=curve, val=curve + 0.04),
                log(accuracy=curve, val_accuracy=curve + 0.04),
            ),
            "TRAIN-NOISE-BN": (followed(val=curve + wave), followed(val=curve + wave / 100)),
            "TRAIN-NOISE-BN both noisy": (
                followed(val=curve + wave),
                followed(val=curve + wave, batchstats=curve - wave),
            ),
            "TRAIN-NOISE-BN by movement": (
                log(accuracy=curve, train_eval_accuracy=curve + wave, val_accuracy=curve + wave),
                log(accuracy=curve, train_eval_accuracy=curve, val_accuracy=curve + wave),
            ),
            "TRAIN-NOISE-SMALLVAL": (
                followed(val=curve + wave, batchstats=curve + wave),
                followed(val=curve + wave, batchstats=curve + wave, train_eval=curve + wave),
            ),
        }


CASES = LogCases().cases() | CourseCases().cases()


@pytest.mark.parametrize("name", CASES)
def test_it_fires_on_its_course_and_is_silent_on_the_clean_twin(name):
    (fault, clean), code = CASES[name], name.split(" ")[0]
    assert code in found(fault)
    assert code not in found(clean)


@pytest.mark.parametrize("name", CASES)
def test_every_finding_has_numbers_evidence_and_something_to_do(name):
    finding = found(CASES[name][0])[name.split(" ")[0]]
    assert re.search(r"\d", finding.statement + finding.rule)
    assert finding.evidence
    assert "maskmill" in finding.advice or "mode=" in finding.advice
    json.dumps(finding.to_dict(), allow_nan=False)


class TestCourses:
    def test_a_sound_training_gives_nothing(self):
        assert findings_of_log(good(), DEFAULTS) == []
        assert findings_of_log(followed(), DEFAULTS) == []
        sound = set_up(good(), **stopping("val_loss", 10), **keeping("val_accuracy", "max"))
        assert findings_of_log(sound, DEFAULTS) == []

    def test_without_batch_norm_it_is_not_blamed(self):
        jumping = log(
            accuracy=CURVE,
            train_eval_accuracy=CURVE + WAVE,
            val_accuracy=CURVE + WAVE,
        )
        assert "TRAIN-NOISE-BN" not in found(set_up(jumping, batch_norm=False))

    def test_noise_is_the_standard_deviation_without_the_trend(self):
        values = np.linspace(0, 5, 4000) + jumps(4000, 0.1)
        assert noise(values) == pytest.approx(0.1, rel=0.05)
        assert second_differences(np.array([0.0, 0.0, 6.0])) == pytest.approx(6**0.5)

    @pytest.mark.parametrize(("steps", "epochs"), [(2, 0.75), (10, 0.55), (None, 0.5)])
    def test_f6_the_lag_of_a_running_mean(self, steps, epochs):
        assert lag(steps) == pytest.approx(epochs)
        if steps:
            # The mean before the updates is the loss so much earlier.
            course = late(steps, speed=0.01)
            when = -np.log(course["loss"]) / 0.01
            assert np.arange(1, 13) - when == pytest.approx(epochs, abs=0.01)


class TestRows:
    """Rows of the research notes; the numbers are theirs, or by hand."""

    def measured(self, images, statistics):
        """Noise of the validation images, and of moving statistics in what uses them."""
        rng = np.random.default_rng(7)
        own, moving = rng.normal(0, images, 300), rng.normal(0, statistics, 300)
        curve = approach(0.3, 0.84, 300, 0.1)
        batch, fixed = curve + own, curve + moving
        return followed(running=curve, train_eval=fixed, val=fixed + own, batchstats=batch)

    def test_s0_9_f7_noise_of_moving_statistics(self):
        """As measured: .0043 with moving statistics, .0004 with those of the batch."""
        codes = found(self.measured(0.0004, 0.0043))
        assert codes.keys() == {"TRAIN-NOISE-BN"}
        (of_moving, of_batch) = re.findall(r"by (0\.\d{4})", codes["TRAIN-NOISE-BN"].statement)
        assert float(of_moving) == pytest.approx(0.0043, rel=0.25)
        assert float(of_batch) == pytest.approx(0.0004, rel=0.25)

    def test_s0_9_f7_noise_of_few_images(self):
        assert found(self.measured(0.0043, 0.0004)).keys() == {"TRAIN-NOISE-SMALLVAL"}
        assert not found(self.measured(0.0004, 0.0004))

    def test_s2_7_a_gap_within_the_noise_does_not_make_validation_easy(self):
        """Gaps of ±.06 about .012: 15 of them have a standard error of .015."""
        curve = approach(0.3, 0.84)
        gaps = np.r_[np.zeros(15), 0.012 + 0.06 * np.sign(np.sin(np.arange(15) * 2.4 + 0.5))]
        assert "SPLIT-EASY-VAL" not in found(followed(train_eval=curve, val=curve + gaps))
        clear = found(followed(train_eval=curve, val=curve + 0.04))["SPLIT-EASY-VAL"]
        assert "better by 0.040" in clear.statement

    def test_s0_13_a_tenfold_learning_rate_in_words(self):
        (line,) = changed_settings({"learning_rate": 1e-4}, {"learning_rate": 1e-3})
        assert line == "learning_rate 1e-4 → 1e-3 (×10)"

    @pytest.mark.parametrize(
        ("before", "after", "lines"),
        [
            ({"a": 1e-3}, {"a": 2.5e-6}, ("a 1e-3 → 2.5e-6 (÷400)",)),
            ({"a": 4, "b": "x"}, {"a": 9, "b": "x"}, ("a 4 → 9 (×2.25)",)),
            ({"b": True}, {"b": False, "a": 3}, ("a not given → 3", "b True → False")),
            ({"a": 0}, {"a": 2}, ("a 0 → 2",)),
            ({"a": 0.5}, {"a": 0.5}, ()),
        ],
    )
    def test_other_changes_in_words(self, before, after, lines):
        assert changed_settings(before, after) == lines

    def test_s0_14_stuck_near_one_of_four(self):
        stuck = log({"num_classes": 4}, dice_coef=FLAT, val_dice_coef=FLAT)
        statement = found(stuck)["TRAIN-NOT-LEARNING"].statement
        assert "within 0.05 of 0.25" in statement

    def test_s2_4_what_is_left_with_equal_weights_is_nothing(self):
        """Training and validation are the same images, so only the bookkeeping differs."""
        curve = approach(0.3, 0.84)
        codes = found(followed(running=curve - 0.05, train_eval=curve, val=curve))
        assert codes.keys() == {"TRAIN-RUNNING-AVG"}
        assert codes["TRAIN-RUNNING-AVG"].severity == "info"
        assert "accounts for all of the difference" in codes["TRAIN-RUNNING-AVG"].statement

    @pytest.mark.parametrize(("steps", "behind"), [(2, "0.75"), (10, "0.55")])
    def test_s2_3_the_lag_is_named(self, steps, behind):
        codes = found(log({"steps": steps}, **late(steps)))
        assert codes.keys() == {"TRAIN-RUNNING-AVG"}
        assert f"lags by {behind} epochs" in codes["TRAIN-RUNNING-AVG"].statement

    def test_s2_5_a_checkpoint_by_the_training_loss(self):
        by_loss = TrainingLog(settings=set_up(good(), **keeping("loss")).settings)
        assert "'loss'" in found(by_loss)["TRAIN-MONITOR-ON-TRAIN"].statement
        by_val = TrainingLog(settings=set_up(good(), **keeping("val_loss")).settings)
        assert not found(by_val)

    def test_s0_7_a_monitor_that_is_missing_names_what_there_is(self):
        codes = found(set_up(good(), **stopping("Accuracy", 5, "max")))
        missing = codes["TRAIN-MONITOR-MISSING"]
        assert "never did anything. There is accuracy" in missing.statement
        assert "TRAIN-MONITOR-ON-TRAIN" in codes

    def test_s0_8_the_guess_of_keras_2_stops_after_patience_and_one(self):
        rising = good(val_dice_coef=approach(0.3, 0.8), dice_coef=approach(0.3, 0.8))
        first = {name: column[:7] for name, column in rising.columns.items()}
        stopped = replace(rising, columns=first, epochs=7)
        statement = found(set_up(stopped, **stopping("val_dice_coef", 6)))[
            "TRAIN-MONITOR-DIRECTION"
        ].statement
        assert "it stopped after epoch 7" in statement
        # A training that went on was not stopped by that guess.
        went_on = set_up(rising, **stopping("val_dice_coef", 6))
        assert "TRAIN-MONITOR-DIRECTION" not in found(went_on)

    def test_s3_1_a_flat_iou_names_the_share(self):
        flat = set_up(good(mean_io_u=np.full(30, 0.35)), foreground_share=0.3)
        finding = found(flat)["METRIC-IOU-ON-PROBS"]
        assert finding.severity == "error"
        assert "stands at 0.3500 in all 30 epochs" in finding.statement
        assert "π = 0.3000" in finding.rule

    def test_s4_13_ten_of_ten_may_be_three_quarters(self):
        statement = found(tiny(10, 1.0))["SPLIT-TINY-VAL"].statement
        assert "10/10 is compatible with anything from 0.72 to 1.00" in statement


def test_thresholds_move_findings():
    strict = replace(DEFAULTS, train=TrainThresholds(still_rising=1.0))
    assert "TRAIN-UNFINISHED" not in found(good(val_accuracy=np.linspace(0.3, 0.8, 30)), strict)


MONITOR = {"name": "val_macro_foreground_dice", "direction": "max"}


class TestOfEpochs:
    """Our own trainings, with their four curves."""

    def epochs(self, val, *, train_eval=None, batchstats=None):
        train_eval = val if train_eval is None else train_eval
        made = []
        for n, score in enumerate(val):
            curves = {
                "train_running": self.row(train_eval[n] - 0.02),
                "train_eval": self.row(train_eval[n]),
                "val": self.row(score),
                "val_batchstats": None if batchstats is None else self.row(batchstats[n]),
            }
            made.append(Epoch(n + 1, 10 * (n + 1), 300, float(n), 1e-3, 1 - score, curves))
        return made

    def row(self, value):
        return Row(float(value), (0.99, float(value)), 1 - float(value))

    def codes(self, epochs, monitor=None, **settings):
        result = training_findings(
            epochs,
            monitor=monitor or MONITOR,
            classes=["background", "cell"],
            settings={"steps_per_epoch": 10} | settings,
            thresholds=TrainThresholds(),
        )
        return [one.code for one in result]

    def test_none_and_one_epoch(self):
        assert self.codes([]) == []
        assert self.codes(self.epochs([0.5])) == []

    def test_a_sound_training(self):
        curve = approach(0.3, 0.84)
        assert self.codes(self.epochs(curve, batchstats=curve)) in ([], ["TRAIN-RUNNING-AVG"])

    def test_faults(self):
        curve, wave = approach(0.3, 0.84), WAVE
        assert self.codes(self.epochs(curve + wave, train_eval=curve, batchstats=curve))[0] == (
            "TRAIN-NOISE-BN"
        )
        assert "TRAIN-OVERFIT" in self.codes(
            self.epochs(peaked(0.1), train_eval=approach(0.4, 0.97))
        )
        assert "TRAIN-UNFINISHED" in self.codes(self.epochs(np.linspace(0.3, 0.8, 30)))
        assert "TRAIN-NOT-LEARNING" in self.codes(self.epochs(np.full(30, 0.05)))
        assert "TRAIN-ES-INERT" in self.codes(self.epochs(curve), patience=20)
        assert "TRAIN-ES-INERT" not in self.codes(self.epochs(curve), patience=5)

    def test_the_monitor_decides_which_score_is_looked_at(self):
        epochs = self.epochs(np.linspace(0.3, 0.8, 30))
        by_loss = {"name": "val_cross_entropy", "direction": "min"}
        assert "TRAIN-UNFINISHED" not in self.codes(epochs, by_loss)
        by_class = {"name": "val_dice_cell", "direction": "max"}
        assert "TRAIN-UNFINISHED" in self.codes(epochs, by_class)


def test_the_classifier_of_the_source_case_is_not_called_overfit_or_easy():
    codes = found(single_class()).keys()
    assert not codes & {"TRAIN-OVERFIT", "SPLIT-EASY-VAL", "TRAIN-NOT-LEARNING"}
