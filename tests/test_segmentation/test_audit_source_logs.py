"""F9: the logs printed in the source cases, as numbers here and pasted whole from beside."""

import pytest

from segmentation.audit.finding import SEVERITIES
from segmentation.audit.keras_text import keras_logs, parse_keras_text
from segmentation.audit.log_scores import spread_of_pair
from segmentation.audit.thresholds import Thresholds
from segmentation.audit.training import findings_of_log
from tests.test_segmentation.written_logs import pooled_text, rows, seed, single_class_text

ABSENT = "the source cases lie in ../shared/seeds, which is not there"


def text_of(name):
    made = {"numbers 0": pooled_text, "numbers 4": single_class_text}
    text = made[name]() if name in made else seed(int(name.split()[1]))
    if text is None:
        pytest.skip(ABSENT)
    return text


def findings(name):
    logs = keras_logs(text_of(name))
    return {one.code: one for log in logs for one in findings_of_log(log, Thresholds())}


@pytest.fixture(params=["numbers 4", "pasted 4"])
def single_class(request):
    return findings(request.param)


@pytest.fixture(params=["numbers 0", "pasted 0"])
def pooled(request):
    return findings(request.param)


class TestOneClass:
    """The classifier that predicts one class."""

    def test_s4_2_the_validation_part_has_one_class_and_means_nothing(self, single_class):
        split = single_class["SPLIT-SINGLE-CLASS-VAL"]
        assert split.statement.startswith("All 10 validation samples are of class 1")
        assert "all 127 samples" in split.statement
        degenerate = single_class["TRAIN-VAL-DEGENERATE"]
        assert "val_loss is 0 from epoch 10 to 50" in degenerate.statement

    def test_s4_3_the_learning_rate_was_cut_after_18_28_38_48(self, single_class):
        cut = single_class["TRAIN-LR-COLLAPSE"]
        assert "after epochs 18, 28, 38, 48, from 0.01 to 1e-06" in cut.statement
        assert "at 4 of 4 cuts it did not change at all" in cut.statement

    def test_s4_4_early_stopping_had_no_say(self, single_class):
        inert = single_class["TRAIN-ES-INERT"]
        assert "waits 40 of 50 epochs" in inert.statement
        assert "epoch 45 for the best (accuracy 0.9444)" in inert.statement
        assert "'accuracy'" in single_class["TRAIN-MONITOR-ON-TRAIN"].statement

    def test_s4_8_the_metric_was_not_reset(self, single_class):
        statement = single_class["LOG-METRIC-NOT-RESET"].statement
        assert "10/10 right were carried in, then 86 of 100, then 13 of 27" in statement
        later = ", ".join(f"{k} of 27" for k in (13, 14, 12, 16, 15, 16, 15))
        assert later in statement
        assert "101 of 189, 0.534" in statement

    def test_s4_15_the_averages_in_the_post_are_wrong(self, single_class):
        """It takes .873 and .796 for the accuracies; they are 86/100 and 13/27."""
        (table,) = single_class["LOG-METRIC-NOT-RESET"].evidence
        shown = {row[1]: (row[3], row[4], row[5]) for row in table.rows[1:]}
        assert shown[0.8727273] == ("86", 100, 0.86)
        assert shown[0.79562044] == ("13", 27, pytest.approx(0.4815, abs=5e-5))
        assert [row[5] for row in table.rows[2:]] == pytest.approx(
            [13 / 27, 14 / 27, 12 / 27, 16 / 27, 15 / 27, 16 / 27, 15 / 27]
        )

    def test_s4_13_ten_samples_are_few(self, single_class):
        assert "from 0.72 to 1.00" in single_class["SPLIT-TINY-VAL"].statement

    def test_the_cause_stands_first(self, single_class):
        assert next(iter(single_class)) == "SPLIT-SINGLE-CLASS-VAL"
        order = [SEVERITIES.index(one.severity) for one in single_class.values()]
        assert order == sorted(order)

    def test_nothing_else_is_said(self, single_class):
        assert single_class.keys() == {
            *("SPLIT-SINGLE-CLASS-VAL", "MODEL-OUTPUT-COLLAPSE", "TRAIN-VAL-DEGENERATE"),
            *("LOG-METRIC-NOT-RESET", "SPLIT-TINY-VAL", "TRAIN-MONITOR-ON-TRAIN"),
            *("TRAIN-LR-COLLAPSE", "TRAIN-ES-INERT"),
        }


class TestFourClasses:
    """The U-Net with high scores and bad masks."""

    SPREADS = ((0.039, 0.111), (0.053, 0.056), (0.063, 0.062))

    @pytest.mark.parametrize(("number", "spreads"), [*enumerate(SPREADS)])
    def test_s0_11_spread_behind_the_means(self, number, spreads):
        row = {name: float(value) for name, value in rows("pooled_results.csv")[number].items()}
        for prefix, spread in zip(("", "val_"), spreads, strict=True):
            dice, iou = row[f"{prefix}dice_coef"], row[f"{prefix}iou_coef"]
            assert spread_of_pair(dice, iou) == pytest.approx(spread, abs=0.002)

    def test_s0_11_it_is_told(self, pooled):
        (table,) = pooled["LOG-SPREAD"].evidence
        told = [row[-1] for row in table.rows]
        assert told == pytest.approx([s for pair in self.SPREADS for s in pair], abs=0.002)

    def test_s0_12_no_over_fitting_is_found_and_no_freezing_advised(self, pooled):
        assert "TRAIN-OVERFIT" not in pooled
        assert not any("freez" in finding.advice for finding in pooled.values())

    def test_s0_1_accuracy_by_the_name_of_dice(self, pooled):
        assert pooled.keys() == {"EVAL-POOLED", "LOG-SPREAD"}
        # .9350 - .9022, the largest of six.
        assert "differs from the accuracy by at most 0.033" in pooled["EVAL-POOLED"].statement


class TestThigh:
    """The U-Net whose validation is always better: calls, but no line of a training."""

    def test_s2_1_s2_5_what_the_calls_alone_tell(self):
        found = findings("pasted 2")
        assert found.keys() == {"METRIC-ACCURACY-ON-PROBS", "TRAIN-MONITOR-ON-TRAIN"}


def test_a_case_without_log_or_calls_is_no_log():
    with pytest.raises(ValueError, match="no log of a training"):
        parse_keras_text(text_of("pasted 3"))


def test_spread_by_hand():
    """Dice of .8 and 1 in equal shares: SD .1; their IoU are 2/3 and 1, means .9 and 5/6."""
    assert spread_of_pair(0.9, 5 / 6) == pytest.approx(0.1, abs=0.003)
    assert spread_of_pair(0.9, 0.9 / 1.1) == pytest.approx(0, abs=1e-8)
