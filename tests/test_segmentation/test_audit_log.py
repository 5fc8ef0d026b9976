"""Logs are read: tables of several programs, the words of Keras, and calls with arguments."""

import math

import pytest

from segmentation.audit.keras_text import keras_logs, parse_keras_text
from segmentation.audit.log_csv import is_table, parse_csv
from segmentation.audit.log_settings import (
    Checkpoint,
    Plateau,
    Stopping,
    guessed_direction,
    natural_direction,
)
from segmentation.training.history import Epoch, Row, history_csv
from tests.test_segmentation.written_logs import rows, single_class, single_class_text


class TestTables:
    def test_keras_csv_logger(self):
        log = parse_csv("epoch,loss,val_loss\n0,0.8,0.9\n1,nan,\n")
        assert log.epochs == 2
        assert math.isnan(log.columns["loss"][1])
        assert log.columns["val_loss"] == (0.9, None)
        assert log.last("val_loss") == 0.9

    def test_ours(self):
        row = Row(0.5, (0.9, 0.5), 0.3)
        curves = {"train_running": row, "train_eval": row, "val": row, "val_batchstats": None}
        log = parse_csv(history_csv([Epoch(1, 10, 10, 1.0, 1e-3, 0.4, curves)], ["a", "b"]))
        assert log.columns["train_eval_macro_foreground_dice"] == (0.5,)
        assert log.columns["val_dice_b"] == (0.5,)
        assert "val_batchstats_cross_entropy" not in log.columns

    def test_lightning_joins_the_rows_of_an_epoch_and_leaves_steps_out(self):
        text = """epoch,step,train_loss_step,train_loss_epoch,val_dice
0,49,0.7,,
0,99,,0.6,
0,99,,,0.4
1,199,,0.5,
1,199,,,0.45
"""
        log = parse_csv(text)
        assert log.columns["loss"] == (0.6, 0.5)
        assert log.columns["val_dice"] == (0.4, 0.45)
        assert not any("train" in name for name in log.columns)

    def test_weights_and_biases_extremes_are_left_out(self):
        text = (
            '"Step","run-1 - epoch/val_loss","run-1 - epoch/val_loss__MIN"\n"0","0.7","0.6"\n'
            '"1","0.5","0.4"\n'
        )
        assert is_table(text)
        assert parse_csv(text).columns["val_loss"] == (0.7, 0.5)

    @pytest.mark.parametrize(
        ("head", "name"),
        [
            ("validation/Dice", "val_Dice"),
            ("train/loss", "loss"),
            ("valid_loss", "val_loss"),
            ("train_eval_dice_cell", "train_eval_dice_cell"),
        ],
    )
    def test_names(self, head, name):
        assert name in parse_csv(f"epoch;{head}\n0;0.5").columns

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("a,b\n1,2\n", "no table of a training.*such as epoch,loss,val_loss"),
            ("epoch,loss\n", "a row of numbers for every epoch"),
            ("epoch,loss\n0,good\n", "line 2.*'good' for loss; expected a number"),
            ("epoch,loss\n0,1,2\n", "line 2 of the table has 3 cells; expected at most 2"),
        ],
    )
    def test_what_is_none_is_refused(self, text, message):
        with pytest.raises(ValueError, match=message):
            parse_csv(text)

    @pytest.mark.parametrize(
        "text",
        [
            "I see an accuracy of 0.9, but bad masks\nwhy, please?",
            "model.compile(Adam(1e-3),loss='mse')\ncall=EarlyStopping(patience=3,mode='max')",
            "Epoch 1/2\n1/1 - loss: 1",
            "",
        ],
    )
    def test_prose_and_code_are_no_table(self, text):
        assert not is_table(text)


class TestWordsOfKeras:
    @pytest.mark.parametrize("bar", ["[=====]", "[>....]", "━━━━━━━━━━", "-"])
    def test_bars_of_all_versions(self, bar):
        log = parse_keras_text(single_class_text(bar))
        expected = [float(row["val_loss"]) for row in rows("single_class_epochs.csv")]
        assert list(log.columns["val_loss"]) == expected
        assert log.epochs == log.settings.epochs == 50
        assert log.settings.keras == (3 if "━" in bar else None)

    def test_lines_written_over_each_other_and_colours(self):
        text = (
            "Epoch 1/1\n\x1b[1m1/2\x1b[0m \x1b[32m━━\x1b[0m\x1b[37m━━\x1b[0m 0s - loss: 9.0\x08\x08"
            "\r\x1b[1m2/2\x1b[0m \x1b[32m━━━━\x1b[0m 1s 5ms/step - loss: 3.0 - val_loss: 2.5"
        )
        log = parse_keras_text(text)
        assert log.columns["loss"] == (3.0,)
        assert log.columns["val_loss"] == (2.5,)
        assert log.settings.steps == 2

    def test_what_evaluate_prints_is_no_epoch(self):
        text = (
            "Epoch 1/1\n9/9 [==] - 1s - loss: 0.5 - accuracy: 0.7 - val_loss: 0.6\n"
            "4/4 [==] - 0s - loss: 0.9 - accuracy: 0.2\n"
        )
        assert parse_keras_text(text).columns["accuracy"] == (0.7,)

    def test_two_trainings_in_one_text(self):
        text = "".join(f"Epoch {n}/2\n5/5 - 1s - loss: {v}\n" for n, v in [(1, 3), (2, 2), (1, 1)])
        logs = keras_logs(text)
        assert [log.columns["loss"] for log in logs] == [(3.0, 2.0), (1.0,)]
        assert parse_keras_text(text).epochs == 2

    def test_times_and_other_numbers_are_no_scores(self):
        text = "Epoch 1/1\n5/5 [=>] - ETA: 0:03 - loss: 0.5e-1\nrun at 12:30, batch: 5, size: 3"
        log = parse_keras_text(text)
        assert log.columns.keys() == {"epoch", "loss"}
        assert not log.results

    @pytest.mark.parametrize("text", ["", "I train a U-Net. Why is the mask bad?", "x = [1, 2]"])
    def test_what_is_no_log_is_refused_with_two_examples(self, text):
        with pytest.raises(ValueError, match=r"(?s)no log of a training.*epoch,loss.*Epoch 1/50"):
            parse_keras_text(text)


class TestCalls:
    def test_arguments_and_defaults(self):
        settings = single_class().settings
        assert settings.stopping == Stopping("accuracy", 40, 0.01, "max")
        assert settings.plateau == Plateau("val_loss", 0.1, 10, 1e-4, 0, 0.0)
        assert (settings.batch_size, settings.validation_split) == (10, 0.1)
        assert (settings.learning_rate, settings.loss) == (0.01, "categorical_crossentropy")
        assert settings.metrics == ("accuracy",)

    def test_sizes_follow_from_the_array_that_predict_printed(self):
        """100 samples, of which fit leaves a tenth: 90 and 10; the bar counts samples."""
        settings = single_class().settings
        assert (settings.samples, settings.validation_samples, settings.steps) == (90, 10, 9)

    def test_without_it_from_the_accuracies(self):
        """Accuracies such as .4889 = 44/90 and .7444 = 67/90 are whole numbers of 90 only."""
        text = single_class_text().split("model.predict")[0]
        settings = parse_keras_text(text).settings
        assert (settings.samples, settings.validation_samples) == (90, 10)

    @pytest.mark.parametrize(
        ("call", "rate"),
        [
            ("optimizer=Adam(lr=1e-4)", 1e-4),
            ("optimizer=tf.keras.optimizers.Adam(2e-4)", 2e-4),
            ("optimizer=keras.optimizers.SGD(learning_rate=0.5, momentum=0.9)", 0.5),
            ("optimizer='adam'", 0.001),
            ("optimizer=SGD()", 0.01),
            ("optimizer=Adam(schedule)", None),
            ("optimizer=mine", None),
        ],
    )
    def test_learning_rates(self, call, rate):
        text = f"model.compile({call}, loss=dice_loss, metrics=[dice, 'accuracy'])"
        settings = parse_keras_text(text).settings
        assert settings.learning_rate == rate
        assert (settings.loss, settings.metrics) == ("dice_loss", ("dice", "accuracy"))

    def test_over_several_lines_by_position_and_in_comments(self):
        text = """# EarlyStopping('loss', patience=99)
stop = tf.keras.callbacks.EarlyStopping(
    'val_dice',  # by position
    0.5, 7, mode=chosen)
keep = ModelCheckpoint('m.keras', monitor="val_dice", mode='max', save_best_only=True)
cut = ReduceLROnPlateau(factor=0.5, patience=0, cooldown=2, min_lr=1e-6)
scaler.fit(X)
"""
        settings = parse_keras_text(text).settings
        assert settings.stopping == Stopping("val_dice", 7, 0.5)
        assert settings.checkpoints == (Checkpoint("val_dice", "max", True),)
        assert settings.plateau == Plateau("val_loss", 0.5, 0, 1e-4, 2, 1e-6)
        assert settings.epochs is None

    @pytest.mark.parametrize("broken", ["EarlyStopping(monitor=", "EarlyStopping(a b)"])
    def test_a_call_that_is_none_is_left_out(self, broken):
        text = f"Epoch 1/1\n1/1 - 0s - loss: 1.0\n{broken}"
        assert parse_keras_text(text).settings.stopping is None


class TestPrintedArrays:
    def test_predictions_of_one_class(self):
        first, second = single_class().predictions
        assert (first.name, first.rows, first.columns) == ("X", 100, 2)
        assert (second.rows, second.classes, second.saturated) == (27, (1,), 1.0)

    @pytest.mark.parametrize(
        "text",
        [
            "array([[0.2, 0.8],\n       [0.9, 0.1]], dtype=float32)",
            "array([[0.2, 0.8], [0.9, 0.1]])",
            "[[0.2 0.8]\n [9.e-01 1.e-01]]",
        ],
    )
    def test_arrays_in_every_dress(self, text):
        found = parse_keras_text(f">>> model.predict(x)\n{text}\nso much for that").predictions
        assert [(one.rows, one.classes, one.saturated) for one in found] == [(2, (0, 1), 0.0)]

    def test_evaluations_with_their_samples_and_no_quotation_twice(self):
        evaluations = single_class().evaluations
        assert [one.samples for one in evaluations] == [100] + 7 * [27]
        assert evaluations[0].accuracy == 0.8727273

    def test_samples_through_names_of_lists(self):
        text = "w = np.ones(27)\nins = [X, w, phase]\nmodel.test_function(ins)\n[0.5, 0.25] # b\n"
        (one,) = parse_keras_text(text).evaluations
        assert (one.samples, one.loss, one.accuracy) == (27, 0.5, 0.25)

    def test_what_is_only_talked_about_is_none(self):
        text = "model.evaluate(x) was called\nagain and again\n[0.5, 0.25]\nEarlyStopping()"
        assert not parse_keras_text(text).evaluations


@pytest.mark.parametrize(
    ("name", "natural", "guess"),
    [
        ("val_loss", "min", "min"),
        ("val_dice_coef", "max", "min"),
        ("val_iou_coef", "max", "min"),
        ("accuracy", "max", "max"),
        ("val_auc", "max", "max"),
        ("dice_loss", "min", "min"),
        ("val_mean_io_u", "max", "min"),
        ("something", None, "min"),
    ],
)
def test_directions_by_name_and_as_keras_2_guessed(name, natural, guess):
    assert natural_direction(name) == natural
    assert guessed_direction(name) == guess
