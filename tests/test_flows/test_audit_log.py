"""The audit of a log: read from a file or standard input, completed, and refused."""

import io
from types import SimpleNamespace

import pytest

from flows.audit_log import log_findings
from flows.errors import RequestError
from segmentation.audit.thresholds import Thresholds
from tests.test_segmentation.written_logs import LOGS, single_class_text

EPOCH = "Epoch 1/1\n9/9 [==] - 1s - loss: 0.5 - accuracy: 0.7 - val_loss: 0.6 - val_accuracy: 0.6\n"
CALLS = "".join(
    f"model.evaluate(test)\n[0.7, {value}]\n"
    for value in (0.62162162, 0.578125, 0.53846154, 0.55084746)
)


def codes(target, **fields):
    names = ("monitor", "direction", "patience", "samples")
    job = SimpleNamespace(target=str(target), **(dict.fromkeys(names) | fields))
    return {one.code: one for one in log_findings(job, Thresholds())}


def write(folder, content, name="log.txt"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_a_pasted_text(tmp_path):
    assert "LOG-METRIC-NOT-RESET" in codes(write(tmp_path, single_class_text()))


def test_a_table():
    """The epochs alone: neither calls nor predictions are known."""
    assert codes(LOGS / "single_class_epochs.csv").keys() == {"TRAIN-VAL-DEGENERATE"}


def test_standard_input(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(single_class_text()))
    assert "SPLIT-SINGLE-CLASS-VAL" in codes("-")


def test_what_the_text_does_not_say_can_be_told():
    table = LOGS / "single_class_epochs.csv"
    told = codes(table, monitor="Accuracy", direction="max", patience=40)
    assert {"TRAIN-MONITOR-MISSING", "TRAIN-ES-INERT"} <= told.keys()
    wrong = codes(table, monitor="val_accuracy", direction="min", patience=5)
    assert "TRAIN-MONITOR-DIRECTION" in wrong


def test_what_the_text_says_counts_more(tmp_path):
    path = write(tmp_path, single_class_text())
    told = codes(path, monitor="val_loss", patience=1)
    assert "40 of 50" in told["TRAIN-ES-INERT"].statement


def test_samples_can_be_told(tmp_path):
    """13, 14, 12 and 16 of 27, after 10 of 10: 23/37, 37/64, 49/91, 65/118."""
    path = write(tmp_path, EPOCH + CALLS)
    assert "LOG-METRIC-NOT-RESET" not in codes(path)
    found = codes(path, samples=(27, 27, 27, 27))
    statement = found["LOG-METRIC-NOT-RESET"].statement
    assert "14 of 27, 12 of 27, 16 of 27" in statement
    with pytest.raises(RequestError, match="--samples has 1 numbers; the text leaves those of 4"):
        codes(path, samples=(27,))


def test_two_trainings_are_told_apart(tmp_path):
    first = "".join(f"Epoch {n}/9\n5/5 - 1s - loss: {n}\n" for n in range(1, 10))
    text = first + first.replace("loss: 9", "loss: 0.5")
    found = codes(write(tmp_path, text))
    assert found.keys() == {"TRAIN-DIVERGED"}
    assert found["TRAIN-DIVERGED"].statement.startswith("In training 1 of 2: The training diverged")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty; expected a table such as"),
        (b"My masks are bad. Why?", r"(?s)no log of a training.*Expected a table.*Epoch 1/50"),
        (b"\xff\xfe\x00\x81", "is no text; expected"),
        (b"epoch,loss\n1,low\n", "'low' for loss; expected a number"),
    ],
)
def test_what_is_no_log_is_refused(tmp_path, content, message):
    with pytest.raises(RequestError, match=message):
        codes(write(tmp_path, content))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(RequestError, match=r"cannot be read .No such file.*or - to paste"):
        codes(tmp_path / "none.csv")


def test_a_folder(tmp_path):
    with pytest.raises(RequestError, match="cannot be read"):
        codes(tmp_path)
