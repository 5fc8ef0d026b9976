"""The fault matrix: every planted fault is named first, and clean pipelines are left in peace."""

from __future__ import annotations

from collections import Counter

import pytest

from benchmarks.faults.__main__ import document
from benchmarks.faults.fault import ROOMS, Detection, Fault, detect, disturbances
from benchmarks.faults.matrix import CLEAN, FAULTS, markdown
from benchmarks.faults.pipeline import Pipeline
from segmentation.audit.codes import CODES

DETECTED = 40
QUIET = 10


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory):
    """One clean pipeline, of which each part is made once, when it is first needed."""
    return Pipeline(tmp_path_factory.mktemp("pipeline"))


def cases(items):
    """One test for each; slow where the trained network is needed."""
    return [
        pytest.param(one, id=one.name, marks=() if one.quick else pytest.mark.slow) for one in items
    ]


@pytest.mark.parametrize("fault", cases(FAULTS))
def test_a_planted_fault_is_the_first_finding_of_its_severity(fault, pipeline, tmp_path):
    detection = detect(fault, pipeline, tmp_path)
    assert detection.detected, detection


@pytest.mark.parametrize("clean", cases(CLEAN))
def test_a_clean_pipeline_has_only_what_was_written_down(clean, pipeline, tmp_path):
    assert disturbances(clean, pipeline, tmp_path) == []


def test_the_suite_is_large_and_its_names_are_its_own():
    assert len(FAULTS) >= DETECTED
    assert len(CLEAN) >= QUIET
    assert {fault.room for fault in FAULTS} == set(ROOMS)
    assert {fault.code for fault in FAULTS} | {c for one in CLEAN for c in one.allowed} <= set(
        CODES
    )
    names = Counter(one.name for one in (*FAULTS, *CLEAN))
    assert max(names.values()) == 1
    # What may be found on clean data has a reason that can be read.
    assert all(len(why) > 20 for one in CLEAN for why in one.allowed.values())


def found(*findings):
    return [dict(zip(("severity", "code", "statement"), one, strict=True)) for one in findings]


LEAK, TAIL = ("error", "SPLIT-LEAK", "a leak"), ("error", "SPLIT-TAIL", "a tail")
RARE = ("warning", "DATA-IMBALANCE", "a rare class")


@pytest.mark.parametrize(
    ("findings", "detected", "place"),
    [
        ([TAIL], True, 1),
        ([LEAK, TAIL], False, 2),
        ([RARE, TAIL], True, 1),
        ([RARE], False, None),
        ([("warning", *TAIL[1:])], False, None),
        ([], False, None),
    ],
)
def test_what_counts_as_detected(findings, detected, place, tmp_path):
    fault = Fault("tail", "split", "SPLIT-TAIL", "error", lambda *_: found(*findings))
    detection = detect(fault, None, tmp_path)
    assert (detection.detected, detection.place) == (detected, place)


def test_an_error_or_a_new_warning_disturbs_a_clean_pipeline(tmp_path):
    one = CLEAN[0]
    allowed = [("warning", code, "known") for code in one.allowed]
    note = ("info", "SPLIT-LINKED", "a note")
    for findings, number in (([*allowed, note], 0), ([*allowed, RARE], 1), ([LEAK, RARE], 2)):
        changed = type(one)(one.name, lambda *_, given=findings: found(*given), one.allowed)
        assert len(disturbances(changed, None, tmp_path)) == number


def test_the_matrix_as_it_is_printed():
    fault = Fault("tail", "split", "SPLIT-TAIL", "error", lambda *_: [])
    first, second = (
        Detection(fault, True, 1, "said so"),
        Detection(fault, False, None, "found nothing"),
    )
    text = markdown([first, second], {CLEAN[0].name: []})
    assert "1 of 2 planted faults" in text
    assert "1 of 1 clean pipelines" in text
    assert "| tail | SPLIT-TAIL | error | yes |" in text
    assert "| tail | SPLIT-TAIL | error | no: found nothing |" in text
    assert f"| {CLEAN[0].name} |" in text
    assert [row["detected"] for row in document([first, second], {})["faults"]] == [True, False]
