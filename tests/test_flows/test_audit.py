"""The verb audit: what it is given, what it refuses, how it ends."""

import json

import pytest

from flows import audit
from flows.audit import parse_thresholds, run_audit, target_kind
from flows.errors import RequestError
from flows.jobs import AuditJob
from segmentation.audit.finding import Finding
from tests.test_flows.images import maskmill

LOG = "epoch,loss\n0,1.0\n"


def finding(code, severity):
    return Finding(code, severity, "It is so.", "rule", "Do this.", "That it is not.")


@pytest.fixture
def audited(monkeypatch):
    """Findings that every auditor gives, and the thresholds it was given."""
    found = [finding("LOG-SPREAD", "info"), finding("TRAIN-VAL-DEGENERATE", "error")]
    seen = []

    def auditor(job, thresholds):
        seen.append((job.target, thresholds))
        return found

    monkeypatch.setattr(audit, "_auditor", lambda kind: auditor)
    return found, seen


def made(path, *files):
    path.mkdir()
    for name in files:
        (path / name).write_text("{}")
    return str(path)


def test_kinds(tmp_path):
    (tmp_path / "log.csv").write_text(LOG)
    expected = {
        "catalog.yaml": "catalog",
        "-": "log",
        str(tmp_path / "log.csv"): "log",
        made(tmp_path / "bundle", "card.json", "run.json"): "bundle",
        made(tmp_path / "cells-12345678", "run.json"): "run",
        made(tmp_path / "classified", "result.json"): "run",
    }
    assert {target: target_kind(AuditJob(target=target)) for target in expected} == expected
    assert target_kind(AuditJob(metric="m:f")) == "metric"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "give one thing to audit"),
        ({"target": "a.yaml", "metric": "m:f"}, "give one thing to audit"),
        ({"target": "nowhere"}, "nowhere does not exist"),
        ({"target": "a.yaml", "on": "i.zarr"}, "--on says something of a bundle"),
        ({"target": "a.yaml", "patience": 3}, "--patience says something of a log"),
        ({"target": "-", "fast": True}, "--fast says something of a bundle"),
        ({"target": "a.yaml", "thresholds": "rare=1"}, "no threshold 'rare'"),
        ({"target": "a.yaml", "thresholds": "data.rare_share=x"}, "expected NAME=NUMBER"),
    ],
)
def test_what_cannot_be_audited_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        run_audit(AuditJob(**fields))


def test_an_empty_folder_and_the_records_of_a_training_are_refused(tmp_path):
    with pytest.raises(RequestError, match="is no bundle"):
        target_kind(AuditJob(target=str(tmp_path)))
    records = made(tmp_path / "training", "run.json")
    with pytest.raises(RequestError, match=f"audit {tmp_path}"):
        target_kind(AuditJob(target=records))


def test_findings_are_in_order_and_an_error_gives_code_4(audited):
    found, seen = audited
    result = run_audit(AuditJob(target="-", thresholds="train.near_chance=0.2"))
    assert [one["code"] for one in result["findings"]] == ["TRAIN-VAL-DEGENERATE", "LOG-SPREAD"]
    assert (result["errors"], result["warnings"], result["notes"]) == (1, 0, 1)
    assert result["exit_code"] == 4
    assert seen[0][1].train.near_chance == 0.2
    assert result["thresholds"]["train"]["near_chance"] == 0.2
    found.pop()
    assert run_audit(AuditJob(target="-"))["exit_code"] == 0


def test_the_page_is_written_where_it_is_wanted(audited, tmp_path):
    place = tmp_path / "audit.html"
    assert run_audit(AuditJob(target="-", report=str(place)))["report"] == str(place)
    assert "TRAIN-VAL-DEGENERATE" in place.read_text()


@pytest.mark.parametrize("place", ["nowhere/audit.html", "."])
def test_a_page_that_has_no_place_is_refused(audited, tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RequestError, match="expected a file in a folder that is there"):
        run_audit(AuditJob(target="-", report=place))


def test_thresholds_are_read():
    assert parse_thresholds(["a.b=1", " c.d = 0.5"]) == {"a.b": 1.0, "c.d": 0.5}


def test_the_command_prints_one_object_and_exits_4(tmp_path):
    """A validation loss of nothing, while the training loss is not."""
    log = tmp_path / "log.csv"
    rows = [f"{n},{0.8 - 0.01 * n},{0.5 + 0.01 * n},{1e-9},1.0" for n in range(20)]
    log.write_text("\n".join(["epoch,loss,accuracy,val_loss,val_accuracy", *rows]) + "\n")
    done = maskmill("audit", log, "--json")
    assert done.code == 4, done.err
    document = json.loads(done.out)
    assert document["findings"][0]["code"] == "TRAIN-VAL-DEGENERATE"
    assert "exit_code" not in document
    plain = maskmill("audit", log)
    assert plain.code == 4
    assert "✖ error TRAIN-VAL-DEGENERATE" in plain.out
