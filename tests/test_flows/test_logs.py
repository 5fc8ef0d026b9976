"""Lines of JSON: only where they are asked for, and each with its run and shard."""

from __future__ import annotations

import io
import json
import logging
import socket
import sys
import threading
from datetime import UTC, datetime

import pytest

from flows.errors import RequestError
from flows.executors import SerialExecutor
from flows.logs import (
    PACKAGES,
    VARIABLE,
    JsonLines,
    current_fields,
    is_logging,
    log_fields,
    start_logs,
)
from tests.test_flows.test_quarantine import Poison, run_stage

ATTEMPT = "20260101T000000-a"


@pytest.fixture
def stream():
    """What our packages log, as text; afterwards they are as quiet as before."""
    text = io.StringIO()
    yield text
    for name in PACKAGES:
        logger = logging.getLogger(name)
        logger.handlers = [h for h in logger.handlers if not isinstance(h.formatter, JsonLines)]
        logger.setLevel(logging.NOTSET)
        logger.propagate = True


def lines(stream):
    """The events; what does not begin with a brace is progress, for people."""
    return [json.loads(line) for line in stream.getvalue().splitlines() if line.startswith("{")]


def test_a_stage_tells_its_events_with_run_and_shard(tmp_path, stream, monkeypatch):
    monkeypatch.setenv(VARIABLE, "json")
    monkeypatch.setattr(sys, "stderr", stream)
    run_stage(SerialExecutor(), Poison(poisoned=(1,)), tmp_path, planned=3)
    found = [line for line in lines(stream) if line["logger"].startswith("flows.")]
    assert [(line["event"], line.get("shard")) for line in found] == [
        ("stage-started", None),
        ("shard-done", 0),
        *[("attempt-failed", 1)] * 3,
        ("shard-failed", 1),
        ("shard-done", 2),
        ("stage-ended", None),
    ]
    for line in found:
        assert (line["run"], line["stage"], line["attempt"]) == (str(tmp_path), "infer", ATTEMPT)
        assert (line["host"], line["level"]) == (socket.gethostname(), "info")
    assert found[0] | {"planned": 3, "done": 0} == found[0]
    assert found[5]["error"] == "ArithmeticError: item 1 is poison"
    assert found[-1] | {"planned": 3, "done": 2, "failed": 1} == found[-1]
    age = datetime.now(UTC) - datetime.fromisoformat(found[0]["time"])
    assert 0 <= age.total_seconds() < 60


def test_nothing_is_written_unless_it_is_asked_for(tmp_path, capfd, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    run_stage(SerialExecutor(), Poison(poisoned=(1,)), tmp_path, planned=3)
    assert '"event"' not in "".join(capfd.readouterr())
    assert not any(logging.getLogger(name).handlers for name in PACKAGES)


def test_another_kind_of_log_is_refused():
    with pytest.raises(RequestError, match="MASKMILL_LOG is 'xml'; expected json"):
        is_logging({VARIABLE: "xml"})
    assert is_logging({VARIABLE: "json"})
    assert not is_logging({VARIABLE: ""})
    assert not is_logging({})


def test_a_second_start_says_nothing_twice(stream):
    start_logs(stream)
    start_logs(stream)
    logging.getLogger("storage.lease").info("taken")
    assert [line["message"] for line in lines(stream)] == ["taken"]
    assert [line["event"] for line in lines(stream)] == ["message"]


def test_secrets_and_line_breaks_do_not_get_out(stream, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "abcdefgh12345678")
    start_logs(stream)
    logger = logging.getLogger("storage.stores")
    with log_fields(run="s3://user:pass@host/run"):
        try:
            raise ValueError("key abcdefgh12345678\nis wrong")
        except ValueError:
            logger.exception("first\nsecond abcdefgh12345678")
    text = stream.getvalue()
    assert "abcdefgh12345678" not in text
    assert "user:pass" not in text
    (line,) = lines(stream)
    assert (line["message"], line["level"]) == ("first\nsecond ***", "error")
    assert line["traceback"].endswith("ValueError: key ***\nis wrong")


def test_inner_fields_win_and_end_with_their_block():
    with log_fields(run="a", shard=1):
        with log_fields(shard=2, stage="infer"):
            assert current_fields() == {"run": "a", "shard": 2, "stage": "infer"}
        assert current_fields() == {"run": "a", "shard": 1}
    assert current_fields() == {}


def test_threads_keep_their_fields_apart():
    seen = []
    with log_fields(run="a"):
        thread = threading.Thread(target=lambda: seen.append(current_fields()))
        thread.start()
        thread.join()
    assert seen == [{}]


def test_lines_of_a_deployment_name_its_flow_run(stream, monkeypatch):
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", "0c5e-1")
    start_logs(stream)
    logging.getLogger("flows.run").info("one")
    assert lines(stream)[0]["flow_run"] == "0c5e-1"
