"""Scores of an epoch by hand, and the monitor that chooses by them."""

import csv
import io
import math

import numpy as np
import pytest

from segmentation.classification.history import (
    SampleEpoch,
    SampleRow,
    sample_monitor,
)
from segmentation.training.history import history_csv
from segmentation.training.monitor import MonitorError

ROW = SampleRow(0.7, 0.65, (0.8, 0.5), 0.6)


def epoch(number=1, row=ROW, **fields):
    curves = {"train_running": row, "train_eval": row, "val": row, "val_batchstats": None}
    return SampleEpoch(number, 10 * number, 100, 1.5, 1e-3, 0.7, curves, **fields)


def test_scores_of_counts_by_hand():
    # Eight of ten and three of six: accuracy 11/16, balanced (0.8 + 0.5) / 2.
    row = SampleRow.of(np.array([[8, 2], [3, 3]]), surprise=8.0)
    assert row == SampleRow(11 / 16, 0.65, (0.8, 0.5), 0.5)


def test_scores_of_probabilities_by_hand():
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    row = SampleRow.of_probabilities(probabilities, np.array([0, 1, 1]))
    assert row.recall == (1.0, 0.5)
    expected = -(math.log(0.9) + math.log(0.8) + math.log(0.4)) / 3
    assert row.cross_entropy == pytest.approx(expected)


def test_a_class_without_images_leaves_balanced_accuracy_undefined():
    row = SampleRow.of(np.array([[4, 1], [0, 0]]), 1.0)
    assert (row.balanced_accuracy, row.recall) == (None, (0.8, None))
    assert SampleRow.of(np.zeros((2, 2), np.int64), 0.0).accuracy is None


def test_s4_11_one_answer_for_all_has_half_the_balanced_accuracy():
    answers = np.repeat([[0.0, 1.0]], 27, axis=0)
    row = SampleRow.of_probabilities(answers, np.array([0] * 6 + [1] * 21))
    assert row.balanced_accuracy == 0.5
    assert row.accuracy == pytest.approx(21 / 27)


@pytest.mark.parametrize(
    ("name", "better", "worse"),
    [
        ("val_balanced_accuracy", ROW, SampleRow(0.9, 0.6, (1.0, 0.2), 0.1)),
        ("val_cross_entropy", SampleRow(0.9, 0.6, (1.0, 0.2), 0.1), ROW),
    ],
)
def test_the_monitor_knows_its_direction(name, better, worse):
    monitor = sample_monitor(name)
    assert monitor.is_better(epoch(row=better), epoch(row=worse))
    assert not monitor.is_better(epoch(row=worse), epoch(row=better))
    undefined = epoch(row=SampleRow(None, None, (None, None), None))
    assert monitor.is_better(epoch(), undefined)
    assert not monitor.is_better(undefined, epoch())


@pytest.mark.parametrize(
    ("name", "direction", "code"),
    [
        ("accuracy", None, "TRAIN-MONITOR-ON-TRAIN"),
        ("val_macro_foreground_dice", None, "TRAIN-MONITOR-MISSING"),
        ("val_cross_entropy", "max", "TRAIN-MONITOR-DIRECTION"),
        ("val_balanced_accuracy", "min", "TRAIN-MONITOR-DIRECTION"),
    ],
)
def test_s0_7_a_monitor_that_misleads_is_refused(name, direction, code):
    with pytest.raises(MonitorError, match=code) as caught:
        sample_monitor(name, direction)
    assert caught.value.code == code


def test_the_table_has_a_column_for_each_score_of_each_curve():
    text = history_csv([epoch(1, best=True), epoch(2)], ("a", "b"))
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["best"] for row in rows] == ["1", "0"]
    assert rows[1]["val_balanced_accuracy"] == "0.65"
    assert rows[1]["val_recall_b"] == "0.5"
    assert rows[1]["val_batchstats_accuracy"] == ""
    assert len(rows[0]) == 6 + 4 * 5


def test_an_epoch_is_plain_in_json():
    assert epoch().to_dict()["curves"]["val"]["recall"] == (0.8, 0.5)
