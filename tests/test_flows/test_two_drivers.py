"""Two commands on one run, killed ones, and clocks that go wrong: one winner, nothing lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from flows import segment as segment_flow
from flows.errors import IncompleteRunError
from flows.executors import SerialExecutor
from flows.jobs import SegmentJob
from flows.run import new_attempt
from flows.run_lease import RUN_LOCK, check_free, hold_run
from storage import holder, lease
from storage.blobs import Blobs
from storage.labels import listed
from storage.volume import open_label
from tests.test_flows.images import (
    COMMAND,
    finish,
    listing,
    make_image,
    maskmill,
    maskmill_process,
    opened_run,
    refused,
    segment,
    small_disk,
)
from tests.test_flows.runs import attempts, least_budget, small_cells
from tests.test_flows.runs import infer as infer_with
from tests.test_flows.runs import recorded as shards_recorded
from tests.test_flows.versions import VOXELS
from tests.test_flows.works import StopAfter, wait_for

NOON = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)


pytestmark = pytest.mark.usefixtures("quick_disk")


def plan(job, held, stop=None):
    """The first stage of the flow, without Prefect."""
    return segment_flow.plan_run.fn(job, SerialExecutor(), stop or threading.Event(), held)


# -------------------------------------------------------------------------------- attempts


def recorded(folder, *attempts_):
    run = Blobs(str(folder))
    for attempt in attempts_:
        run.write(f"records/infer/{attempt}-000000.jsonl", b"{}")
    return run


def test_an_attempt_is_named_after_its_time(tmp_path):
    assert new_attempt(recorded(tmp_path), NOON)[:16] == "20260501T120000-"
    assert len(new_attempt(recorded(tmp_path), NOON)) == 24
    assert new_attempt(recorded(tmp_path), NOON) != new_attempt(recorded(tmp_path), NOON)


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("20260501T115959-aaaaaaaa", "20260501T120000"),
        ("20260501T120000-aaaaaaaa", "20260501T120001"),  # the same second
        ("20260501T130000-ffffffff", "20260501T130001"),  # the clock went back an hour
        ("20261231T235959-ffffffff", "20270101T000000"),
        ("attempt-000001", "20260501T120000"),
        ("99999999T999999-attempt", "20260501T120000"),  # no time
        ("99991231T235959-attempt", "20260501T120000"),  # the last there is
    ],
)
def test_an_attempt_sorts_after_every_earlier_one(tmp_path, before, expected):
    run = recorded(tmp_path, "20260101T000000-00000000", before)
    found = new_attempt(run, NOON)
    assert found[:15] == expected
    assert "attempt" in before or found > before


def test_a_clock_one_hour_back_loses_nothing(tmp_path, monkeypatch):
    """What the second attempt does counts although its clock says it was first."""
    with small_cells(), ExitStack() as held:
        image = make_image(tmp_path, VOXELS)
        job = SegmentJob(image=image, model="identity", name="mask", memory=2**17)
        run, _ = plan(job, held)
        planned = len(run.plan)
        with pytest.raises(IncompleteRunError, match="shard border"):
            infer_with(run, StopAfter(3))
        held.pop_all().close()

        class Slow(datetime):
            @classmethod
            def now(cls, zone=None):
                return datetime.now(zone) - timedelta(hours=1)

        monkeypatch.setattr(segment_flow, "datetime", Slow)
        again, _ = plan(job, held)
        assert again.attempt > run.attempt
        chunk = next(p for p in sorted(Path(run.target, "0", "c").rglob("*")) if p.is_file())
        chunk.write_bytes(b"torn")
        infer_with(again)
        from tests.test_flows.images import repair

        assert repair(again) == 1
        made = attempts(run.url)
    assert sorted(made) == list(range(planned))
    assert made[0] == [run.attempt, again.attempt]
    np.testing.assert_array_equal(open_label(image, run.directory).volumes[0][...], VOXELS)


# ------------------------------------------------------------------------------ two drivers


def test_of_two_drivers_one_wins_and_nothing_is_lost(image):
    job = SegmentJob(image=image, model="identity", name="mask")
    with ExitStack() as first, ExitStack() as second:
        run, _ = plan(job, first)
        with pytest.raises(
            IncompleteRunError, match=rf"{run.attempt[:15]}-\w+ \(process {os.getpid()} on .*"
            rf"is at work on {run.url}; wait until that has ended, or run the same command"
        ) as refusal:  # fmt: skip
            plan(job, second)
        assert refusal.value.result == {"run": run.url}
        finish(run)
        first.pop_all().close()
        again, _ = plan(job, second)
        assert again.attempt > run.attempt
    assert listed(image) == (run.directory,)
    assert not Path(run.url, RUN_LOCK).exists()


def test_many_drivers_at_once_have_one_winner(image):
    job = SegmentJob(image=image, model="identity", name="mask")
    won, lost, all_tried = [], [], threading.Barrier(5)

    def drive():
        with ExitStack() as held:
            try:
                won.append(plan(job, held)[0])
            except IncompleteRunError as error:
                lost.append(error)
            all_tried.wait(60)

    threads = [threading.Thread(target=drive) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(lost)) == (1, 4)
    assert [path.name for path in Path(f"{image}.runs").iterdir()] == [won[0].directory]


def test_the_second_command_is_refused_before_anything_starts(image):
    run = opened_run(SegmentJob(image=image, model="identity", name="mask"))
    with hold_run(run.url, "attempt-5"):
        started = time.monotonic()
        command = ("segment", image, "--model", "identity", "--name", "mask")
        refused(Path(image).parent, *command, match="attempt-5 .* is at work", code=3)
        # Neither Prefect nor Ray was started for that.
        assert time.monotonic() - started < 10
        answer = maskmill(*command, "--json")
        assert answer.document["run"] == run.url
        assert answer.document["exit_code"] == 3
        other = opened_run(SegmentJob(image=image, model="identity", name="other"))
        check_free(other.url)
    check_free(run.url)


def test_a_driver_that_loses_its_run_stops_at_a_shard_border(tmp_path, monkeypatch):
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.05)
    for module in (holder, lease):
        monkeypatch.setattr(module, "EXPIRY_SECONDS", 0.5)
    with small_cells():
        image = make_image(tmp_path, VOXELS)
        job = SegmentJob(image=image, model="identity", name="mask", memory=2**17)
        run = opened_run(job)
        stop = threading.Event()

        class Slow(SerialExecutor):
            """An executor in whose third item another machine takes the run over."""

            def map(self, work, items, stop):
                for number, outcome in enumerate(SerialExecutor.map(self, work, items, stop)):
                    if number == 2:
                        run.blobs.write(RUN_LOCK, b'{"owner": "attempt-9", "host": "node-9"}')
                        assert stop.wait(20)
                    yield outcome

        with (
            pytest.raises(IncompleteRunError, match=r"taken over by attempt-9 \(process None on"),
            hold_run(run.url, run.attempt, stop),
        ):
            infer_with(run, Slow(), stop)
        assert 3 <= len(attempts(run.url)) < len(run.plan)
        assert json.loads(run.blobs.read(RUN_LOCK))["owner"] == "attempt-9"


def test_half_objects_of_a_killed_writer_are_removed(image):
    job = SegmentJob(image=image, model="identity", name="mask")
    first = opened_run(job)
    halves = [
        Path(first.url, "records", "infer", ".a.jsonl.0123.partial"),
        Path(first.target, "0", "c", "0", ".0.4567.partial"),
    ]
    for path in halves:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")
    with ExitStack() as held:
        run, _ = plan(job, held)
        assert not any(path.exists() for path in halves)
        finish(run)
    np.testing.assert_array_equal(open_label(image, "mask").volumes[0][...], VOXELS)


def test_a_full_disk_leaves_no_lock_behind(tmp_path):
    with small_disk(tmp_path / "disk", "2m") as disk:
        image = make_image(disk, VOXELS)
        job = SegmentJob(image=image, model="identity", name="mask")
        ballast = disk / "ballast"
        with suppress(OSError), ballast.open("wb", buffering=0) as file:
            while file.write(bytes(2**12)):
                pass
        with ExitStack() as held, pytest.raises((IncompleteRunError, ValueError, OSError)):
            plan(job, held)
        assert not list(disk.rglob("*.lock"))
        ballast.unlink()
        with ExitStack() as held:
            run, _ = plan(job, held)
            finish(run)
        assert listed(image) == (run.directory,)


# ------------------------------------------------------------------------ real processes


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_commands_and_a_kill(tmp_path):
    """The second is refused at once; once the first is killed, the same command goes on at once."""
    voxels = np.random.default_rng(2).integers(0, 9, (16, 1024, 1024), np.uint8)
    image = make_image(tmp_path, voxels)
    budget = least_budget(image=image, model="identity")
    command = ["segment", image, "--model", "identity", "--name", "mask"]
    command += ["--executor", "serial", "--memory", str(budget)]
    environment = os.environ | {"PREFECT_HOME": str(tmp_path / "prefect")}
    first = subprocess.Popen(
        [COMMAND, *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env=environment,
    )
    try:
        runs = Path(f"{image}.runs")
        assert wait_for(lambda: shards_recorded(image) > 2)
        # It is not to finish while the other one looks.
        os.kill(first.pid, signal.SIGSTOP)
        second = maskmill_process(*command, env=environment)
        assert first.poll() is None
        assert (second.code, second.err.count("maskmill: ")) == (3, 1)
        assert f"(process {first.pid} on " in second.err
        assert "is at work on" in second.err
    finally:
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
    (folder,) = runs.glob("mask-*")
    assert (folder / RUN_LOCK).exists()
    third = maskmill_process(*command, "--json", env=environment)
    assert third.code == 0, third.err
    # Most of the time goes into starting Prefect; the lock alone would take a minute to expire.
    timings = json.loads((folder / "timings.json").read_text())["attempts"][-1]
    assert timings["seconds"]["plan"] < 30
    assert third.document["published"]
    assert listed(image) == (folder.name,)
    assert not (folder / RUN_LOCK).exists()
    np.testing.assert_array_equal(open_label(image, "mask").volumes[0][...], voxels)
    assert len({attempt for made in attempts(folder).values() for attempt in made}) == 2


def test_a_forced_version_has_one_driver_too(image):
    segment(image)
    job = SegmentJob(image=image, model="identity", name="mask", force=True)
    with ExitStack() as first, ExitStack() as second:
        run, _ = plan(job, first)
        assert run.directory.endswith("-2")
        with pytest.raises(IncompleteRunError, match="is at work"):
            plan(job, second)
    assert set(listing(Path(run.target))) >= {"zarr.json", "0/zarr.json"}
