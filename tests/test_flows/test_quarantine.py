"""Poison shards: put aside with what is known of their failure; the rest goes on."""

import json
import os
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from flows.errors import IncompleteRunError
from flows.evidence import LIMIT_BYTES, Whereabouts, evidence_of, shortened, without_secrets
from flows.executors import MAX_ATTEMPTS, SerialExecutor
from flows.jobs import SegmentJob
from flows.progress import Progress
from flows.shard_stage import Execution, ShardStage, complete
from tests.test_flows.runs import attempts, finish, infer, start

SECRET = "s3cr3t-of-the-test"  # noqa: S105 no credential


@dataclass(frozen=True)
class Poison:
    """Squares; poisoned items write into the log and fail, deadly ones end their process."""

    poisoned: tuple[int, ...] = ()
    deadly: tuple[int, ...] = ()

    def open(self) -> Callable[[int], int]:
        return self.square

    def square(self, item: int) -> int:
        if item in self.poisoned:
            sys.stderr.write(f"about to fail at item {item} with token={SECRET}\n")
            sys.stderr.flush()
            raise ArithmeticError(f"item {item} is poison")
        if item in self.deadly:
            os.write(2, b"about to die\n")
            os._exit(1)
        return item * item


def run_stage(executor, work, folder, attempt="20260101T000000-a", planned=6):
    """A stage over some items; its error, if any."""
    stage = ShardStage(str(folder), "f00d", "infer", planned, attempt)
    execution = Execution(executor, threading.Event(), Progress)
    try:
        complete(
            stage, work, execution, label="squaring", describe=lambda _, result: {"square": result}
        )
    except IncompleteRunError as error:
        return str(error)
    return None


def failures(folder):
    return {
        path.name: json.loads(path.read_text())
        for path in sorted(Path(folder, "failures").glob("*.json"))
    }


def test_a_failing_item_is_put_aside_with_its_traceback_and_the_rest_is_done(tmp_path):
    message = run_stage(SerialExecutor(), Poison(poisoned=(2,)), tmp_path)
    file = tmp_path / "failures" / "00000002-20260101T000000-a.json"
    assert message == (
        "1 shards failed and 1 of 6 are to do: shard 2: ArithmeticError: item 2 is poison; "
        f"details in {file}; run the same command to go on"
    )
    (document,) = failures(tmp_path).values()
    assert document["error"] == "ArithmeticError: item 2 is poison"
    assert (document["cause"], document["attempts"]) == ("error", MAX_ATTEMPTS)
    assert "in square" in document["traceback"]
    assert document["traceback"].endswith("ArithmeticError: item 2 is poison\n")
    assert document["process"].endswith(f" {os.getpid()}")
    assert sorted(attempts(tmp_path)) == [0, 1, 3, 4, 5]


def test_the_next_attempt_tries_again(tmp_path):
    run_stage(SerialExecutor(), Poison(poisoned=(2, 4)), tmp_path)
    message = run_stage(SerialExecutor(), Poison(poisoned=(4,)), tmp_path, "20260102T000000-b")
    assert "1 shards failed and 1 of 6 are to do: shard 4" in message
    assert run_stage(SerialExecutor(), Poison(), tmp_path, "20260103T000000-c") is None
    assert sorted(failures(tmp_path)) == [
        "00000002-20260101T000000-a.json",
        "00000004-20260101T000000-a.json",
        "00000004-20260102T000000-b.json",
    ]
    assert {item: len(found) for item, found in attempts(tmp_path).items()} == dict.fromkeys(
        range(6), 1
    )


def test_several_failures_name_the_first_file(tmp_path):
    message = run_stage(SerialExecutor(), Poison(poisoned=(1, 3)), tmp_path)
    assert "failures/00000001-20260101T000000-a.json and beside it; run" in message


def test_ray_brings_the_workers_log(ray_executor, tmp_path, monkeypatch):
    monkeypatch.setenv("TEST_SERVICE_TOKEN", SECRET)
    message = run_stage(ray_executor, Poison(poisoned=(1,), deadly=(3,)), tmp_path)
    assert "2 shards failed and 2 of 6 are to do" in message
    poisoned, dead = failures(tmp_path).values()
    assert poisoned["cause"] == "error"
    assert "in square" in poisoned["traceback"]
    assert "about to fail at item 1" in poisoned["log"]
    assert SECRET not in json.dumps(poisoned)
    assert dead["cause"] == "worker died"
    assert "about to die" in dead["log"]
    assert dead["error"] == "worker died while it alone computed shard 3"
    # Perhaps one and the same: a worker outlives the error of item 1, and may be given item 3.
    here = f"{socket.gethostname()} {os.getpid()}"
    assert here not in (poisoned["process"], dead["process"])
    assert all(one["process"].startswith(socket.gethostname()) for one in (poisoned, dead))
    assert sorted(attempts(tmp_path)) == [0, 2, 4, 5]
    assert run_stage(ray_executor, Poison(), tmp_path, "20260102T000000-b") is None


def test_a_poison_shard_of_a_run_does_not_stop_the_rest(tiny_image, monkeypatch):
    job = SegmentJob(image=tiny_image, model="identity", name="mask", memory=2**17)
    run = start(job)

    def poisoned(block, shard, *arguments, **options):
        if shard.index == 3:
            raise ValueError("this shard is poison")
        return whole(block, shard, *arguments, **options)

    from flows import work

    whole = work.segment_shard
    with monkeypatch.context() as patch:
        patch.setattr(work, "segment_shard", poisoned)
        with pytest.raises(IncompleteRunError, match="shard 3: ValueError: this shard is poison"):
            infer(run)
    assert run.manifest.completed("infer", len(run.plan)).sum() == len(run.plan) - 1
    again = start(job)
    infer(again)
    assert [i for i, a in attempts(run.url).items() if again.attempt in a] == [3]
    finish(again)


def raised():
    try:
        raise ValueError("x" * 100_000 + " the end")
    except ValueError as error:
        return error


def test_evidence_is_short_and_keeps_the_end():
    evidence = evidence_of(raised())
    assert len(evidence.traceback.encode()) <= LIMIT_BYTES
    assert evidence.traceback.endswith("the end\n")
    assert len(shortened("é" * 10_000).encode()) <= LIMIT_BYTES


def test_the_log_of_another_machine_is_named():
    text = Whereabouts("elsewhere", 17, "/logs").last_lines()
    assert text == "on elsewhere: /logs/worker-*-17.err"


def test_the_logs_of_a_process_are_its_own(tmp_path):
    for name in ("worker-ab-01-17.err", "worker-ab-01-17.out", "worker-cd-01-117.err"):
        (tmp_path / name).write_text(f"from {name}\n")
    here = Whereabouts.here(str(tmp_path))
    found = Whereabouts(here.host, 17, str(tmp_path)).last_lines()
    assert found == "from worker-ab-01-17.out\nfrom worker-ab-01-17.err"
    assert here.last_lines() == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s3://user:word@bucket/key", "s3://***@bucket/key"),
        ("GET https://h/b?X-Amz-Signature=abc&x=1 failed", "GET https://h/b?*** failed"),
        ("key AKIAIOSFODNN7EXAMPLE is wrong", "key *** is wrong"),
        ("Authorization: AWS4-HMAC-SHA256 Credential=1\nnext", "Authorization***\nnext"),
        ("sent bearer abcdef", "sent bearer ***"),
        ("aws_secret_access_key = 'abc' there", "aws_*** there"),
        ("KeyError: 'token'", "KeyError: 'token'"),
        ("shard 3: what?", "shard 3: what?"),
    ],
)
def test_what_looks_like_a_credential_is_blotted_out(text, expected):
    assert without_secrets(text) == expected


def test_credentials_of_this_process_are_blotted_out_wherever_they_are(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "abc/def+ghi")
    monkeypatch.setenv("SHORT_KEY", "ab")
    assert without_secrets("tried abc/def+ghi at ab") == "tried *** at ab"
