"""The audit of a user's own metric: found by name, or refused with what to do."""

import pytest

from flows.audit_metric import metric_findings, metric_words, probe_metric
from flows.errors import RequestError
from flows.jobs import AuditJob
from segmentation.audit.thresholds import MetricThresholds, Thresholds
from tests.test_flows.images import maskmill

SOURCE = """
import helper_of_mine
from keras import metrics, ops

def dice(y_true, y_pred):
    both = ops.sum(y_true * y_pred, axis=[1, 2, 3])
    total = ops.sum(y_true, axis=[1, 2, 3]) + ops.sum(y_pred, axis=[1, 2, 3])
    return ops.mean((2 * both + helper_of_mine.SMOOTH) / (total + helper_of_mine.SMOOTH))

def per_image(y_true, y_pred):
    return ops.mean(y_true * y_pred, axis=[1, 2, 3])

def broken(y_true, y_pred):
    raise RuntimeError("the weights are not there")

class Mine:
    iou = metrics.OneHotIoU(3, [1, 2])

NUMBER = 3
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "my_metrics.py").write_text(SOURCE)
    (tmp_path / "helper_of_mine.py").write_text("SMOOTH = 1\n")
    (tmp_path / "my_faulty.py").write_text("1 / 0\n")
    (tmp_path / "my_orphan.py").write_text("import nowhere_to_be_found\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def codes(text):
    return [one.code for one in metric_findings(AuditJob(metric=text), Thresholds())]


@pytest.mark.parametrize("place", ["my_metrics:dice", "my_metrics.py:dice", "./my_metrics.py:dice"])
def test_a_function_is_found_in_the_current_folder(folder, place):
    assert set(codes(place)) == {"METRIC-SMOOTH", "EVAL-POOLED"}


def test_a_file_elsewhere_finds_its_neighbours(folder, monkeypatch):
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    assert "EVAL-POOLED" in codes(f"{folder}/my_metrics.py:dice")


def test_a_metric_within_a_class_and_one_of_keras(folder):
    assert codes("my_metrics.py:Mine.iou") == []
    assert codes("keras.metrics:BinaryAccuracy") == []


def test_an_element_of_several_is_named(folder):
    subject, results = probe_metric("my_metrics.py:per_image[0]")
    assert subject.element == 0
    assert any(one.value is not None for one in results)


def test_the_answers_are_put_in_words(folder):
    subject, results = probe_metric("my_metrics.py:dice")
    text, tables = metric_words(subject, results, MetricThresholds())
    assert text.startswith("dice is a score: it rises with quality")
    assert [one.title for one in tables] == [
        "dice, given masks of 0 and 1 and one channel of probabilities",
        "dice, given one-hot masks and 5 channels of probabilities",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dice", "expected module:function"),
        ("", "expected module:function"),
        ("no_such_module:dice", "there is no module 'no_such_module'"),
        ("no_such_file.py:dice", "no_such_file.py does not exist"),
        ("my_metrics.py:iou", "has no 'iou'; it has dice, per_image, broken, Mine"),
        ("my_metrics.py:NUMBER", "NUMBER is of type int; expected a function"),
        ("my_metrics.py:broken", "raises on every probe; .*the weights are not there"),
        ("my_metrics.py:per_image", r"returns an array of shape \(2,\).*per_image\[0\]"),
        ("my_faulty.py:dice", "cannot be imported: ZeroDivisionError"),
        ("my_orphan.py:dice", "there is no module 'nowhere_to_be_found'"),
        ("keras.metrics:MeanIoU", "cannot be made without arguments"),
    ],
)
def test_what_cannot_be_audited_is_refused(folder, text, message):
    with pytest.raises(RequestError, match=message):
        codes(text)


def test_the_search_path_is_left_as_it_was(folder):
    import sys

    before = list(sys.path)
    codes("my_metrics.py:dice")
    assert sys.path == before


@pytest.mark.slow
def test_the_command_exits_2_with_the_message(folder):
    done = maskmill("audit", "--metric", f"{folder}/my_metrics.py:broken")
    assert done.code == 2
    assert "the weights are not there" in done.err
    assert "Traceback" not in done.err
