"""Findings in order, in plain form, and their thresholds."""

import json

import numpy as np
import pytest

from segmentation.audit.codes import CODES
from segmentation.audit.finding import (
    Curves,
    Finding,
    Picture,
    Table,
    documents_in_order,
    in_order,
    listed,
)
from segmentation.audit.thresholds import Thresholds
from segmentation.metrics.codec import decode_array


def finding(code, severity="warning", **other):
    texts = {"statement": "s", "rule": "r", "advice": "a", "proves_not": "p"}
    return Finding(code=code, severity=severity, **(texts | other))


def test_codes_are_unique():
    assert len(set(CODES)) == len(CODES)


def test_the_gravest_stands_first_then_causes_before_symptoms():
    found = [
        finding("EVAL-POOLED"),
        finding("MODEL-OUTPUT-COLLAPSE"),
        finding("MODEL-BN-GAP"),
        finding("EVAL-NO-SKILL", "error"),
        finding("DATA-IMBALANCE", "info"),
    ]
    expected = [
        "EVAL-NO-SKILL",
        "MODEL-BN-GAP",
        "MODEL-OUTPUT-COLLAPSE",
        "EVAL-POOLED",
        "DATA-IMBALANCE",
    ]
    assert [one.code for one in in_order(found)] == expected
    documents = documents_in_order([one.to_dict() for one in found])
    assert [one["code"] for one in documents] == expected


def test_a_finding_in_plain_form_is_json():
    evidence = (
        Table("shares", ("class", "share"), (("a", np.float64(0.5)), ("b", float("nan")))),
        Curves("dice", "epoch", "Dice", (("val", ((1, 0.25), (2, None))),)),
        Picture("slice", np.array([[0, 255]], np.uint8)),
    )
    document = finding("EVAL-POOLED", evidence=evidence).to_dict()
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    table, curves, picture = document["evidence"]
    assert table["rows"] == [["a", 0.5], ["b", None]]
    assert curves["lines"] == [["val", [[1, 0.25], [2, None]]]]
    assert decode_array(picture["pixels"]).tolist() == [[0, 255]]


@pytest.mark.parametrize("wrong", [{"code": "EVAL-POOLD"}, {"severity": "fatal"}])
def test_an_unknown_code_or_severity_is_refused(wrong):
    with pytest.raises(ValueError, match="expected a code"):
        finding(**({"code": "EVAL-POOLED"} | wrong))


def test_a_table_with_a_short_row_is_refused():
    with pytest.raises(ValueError, match="a row of 1 cells"):
        Table("t", ("a", "b"), ((1,),))


def test_long_lists_are_cut():
    assert listed(["a", "b"]) == "a, b"
    assert listed(list("abcdefg")) == "a, b, c, d, e, 2 more"


def test_thresholds_can_be_changed_by_name():
    changed = Thresholds.changed({"data.rare_share": 0.02, "train.worse_epochs": 5.0})
    assert changed.data.rare_share == 0.02
    assert changed.train.worse_epochs == 5
    assert isinstance(changed.train.worse_epochs, int)
    assert Thresholds.changed({}) == Thresholds()


@pytest.mark.parametrize(
    ("name", "message"),
    [("rare", "expected one of data"), ("data.rare", "of data there are rare_share")],
)
def test_an_unknown_threshold_is_refused(name, message):
    with pytest.raises(ValueError, match=message):
        Thresholds.changed({name: 1})
