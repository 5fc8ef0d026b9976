"""Many volumes worked through: each once, one that fails stops no other; the flows and the verb."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from prefect.client.orchestration import get_client  # noqa: TID251 what the flows leave behind

from flows.errors import IncompleteRunError, RequestError
from flows.executors import WorkerStartError
from flows.jobs import ReconcileJob, ReprocessJob, make_job
from flows.outdated import look_at_all, look_at_chosen
from flows.prefect_reach import reachable_server
from flows.reconcile_result import SHOWN, Tally, finish, reconciled_text
from flows.reconciliation import Segmenting, has_work, work_off
from flows.run_lease import RUN_LOCK, hold_run
from storage.blobs import Blobs
from storage.folders import upload_folder
from storage.labels import listed
from storage.lease import LeaseBusyError
from storage.volume import open_label
from tests.test_flows import images
from tests.test_flows.images import (
    make_image,
    make_label,
    maskmill,
    opened_run,
    refused,
    unchanged,
    voxels_like,
)


@pytest.fixture(autouse=True)
def _hasty(monkeypatch):
    """Nothing here has to survive a power cut; waiting for the disk takes most of the time."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)


@pytest.fixture
def plates(tmp_path):
    folder = tmp_path / "plates"
    folder.mkdir()
    for number in range(3):
        add_image(folder, number)
    return folder


def add_image(folder, number):
    url = make_image(folder, voxels_like((2, 40, 30), number), name=f"v{number}")
    (folder / f"v{number}.npy").unlink()
    return url


def job_for(target, **fields):
    fields = {"model": "identity", "name": "mask", "executor": "serial"} | fields
    return ReconcileJob(target=str(target), **fields)


@dataclass
class Workers:
    """Workers that note how they are treated, and may not be had."""

    asked: int = 0
    closed: int = 0
    absent: bool = False

    def dask_scheduler(self):
        self.asked += 1
        if self.absent:
            raise WorkerStartError("Ray could not be reached (nobody answers)")
        return "threads"

    def close(self):
        self.closed += 1


@dataclass
class Segmenter:
    """Segments without Prefect, notes what, and fails with what a test says for a name."""

    errors: dict = field(default_factory=dict)
    made: list = field(default_factory=list)
    before: object = None

    def __call__(self, job, name):
        if self.before is not None:
            self.before(job, name)
        if name in self.errors:
            raise self.errors[name]
        self.made.append(name)
        images.finish(opened_run(job))
        return {}


def work(job, segmenter=None, workers=None, stop=None):
    segmenter = segmenter or Segmenter()
    how = Segmenting(segmenter, workers or Workers(), stop or threading.Event())
    return work_off(look_at_all(job), how), segmenter.made


def names(urls):
    return [url.rsplit("/", 1)[-1].removesuffix(".zarr") for url in urls]


# ---------------------------------------------------------------------- missing and outdated


def test_what_is_missing_or_outdated_is_segmented_and_nothing_else(plates):
    tally, made = work(job_for(plates))
    assert made == ["v0.zarr", "v1.zarr", "v2.zarr"]
    assert names(tally.done) == ["v0", "v1", "v2"]
    tally, made = work(job_for(plates))
    assert (made, names(tally.current)) == ([], ["v0", "v1", "v2"])
    assert not has_work(look_at_all(job_for(plates)))

    add_image(plates, 3)
    chunk = next(p for p in Path(plates, "v1.zarr", "0", "c").rglob("*") if p.is_file())
    os.utime(chunk, ns=(1, 1))
    tally, made = work(job_for(plates))
    assert made == ["v1.zarr", "v3.zarr"]
    assert names(tally.current) == ["v0", "v2"]
    label = open_label(str(plates / "v3.zarr"), "mask")
    np.testing.assert_array_equal(label.volumes[0][...], voxels_like((2, 40, 30), 3))


def test_what_is_chosen_and_forced_is_made_anew(plates):
    work(job_for(plates))
    job = ReprocessJob(
        datasets=(str(plates / "v1.zarr"),),
        **{"model": "identity", "name": "mask", "executor": "serial"},
    )
    segmenter = Segmenter()
    how = Segmenting(segmenter, Workers(), threading.Event())
    tally = work_off(look_at_chosen(job), how)
    assert (names(tally.current), segmenter.made) == (["v1"], [])
    forced = job.model_copy(update={"force": True})
    tally = work_off(look_at_chosen(forced), how)
    assert (names(tally.done), segmenter.made) == (["v1"], ["v1.zarr"])
    (published,) = listed(str(plates / "v1.zarr"))
    assert published.endswith("-2")
    assert not list(plates.rglob("reconcile"))


def test_images_of_an_object_store(plates, bucket):
    for number in range(2):
        upload_folder(plates / f"v{number}.zarr", f"{bucket}/plates/v{number}.zarr", "zarr.json")
    job = job_for(f"{bucket}/plates")
    tally, made = work(job)
    assert made == ["v0.zarr", "v1.zarr"]
    assert tally.done == [f"{bucket}/plates/v0.zarr", f"{bucket}/plates/v1.zarr"]
    tally, made = work(job)
    assert (names(tally.current), made) == (["v0", "v1"], [])
    broken = Segmenter({"v0.zarr": ValueError("damaged chunk")})
    tally, _ = work(job_for(f"{bucket}/plates", name="other"), broken)
    record = json.loads(Blobs(f"{bucket}/plates/v0.zarr.runs").read("reconcile/other.json"))
    assert (record["failures"], record["error"]) == (1, "damaged chunk")


def test_one_that_fails_stops_no_other(plates):
    Blobs(str(plates)).write("broken.zarr/zarr.json", b"{")
    broken = Segmenter(
        {"v1.zarr": IncompleteRunError("1 shards failed", {"shards": {"failed": 1}})}
    )
    tally, made = work(job_for(plates), broken)
    assert made == ["v0.zarr", "v2.zarr"]
    assert names(one["image"] for one in tally.failed) == ["broken", "v1"]
    with pytest.raises(IncompleteRunError) as caught:
        finish(tally)
    first, *lines = str(caught.value).splitlines()
    assert first == "2 segmented, 2 failed; the same job tries again:"
    assert lines[0].startswith(f"  {plates}/broken.zarr: {plates}/broken.zarr is not a readable")
    assert lines[1] == f"  {plates}/v1.zarr: 1 shards failed"
    assert caught.value.result == tally.result()


def test_after_three_failures_a_volume_is_set_aside_until_it_is_asked_for(plates):
    broken = Segmenter({"v1.zarr": ValueError("damaged chunk")})
    for _ in range(3):
        tally, _ = work(job_for(plates), broken)
        assert names(one["image"] for one in tally.failed) == ["v1"]
    tally, made = work(job_for(plates))
    assert (tally.failed, made) == ([], [])
    assert tally.set_aside == [{"image": f"{plates}/v1.zarr", "error": "damaged chunk"}]
    assert "v1.zarr: set aside, --retry tries it again; damaged chunk" in reconciled_text(
        finish(tally)
    )
    tally, made = work(job_for(plates, retry=True))
    assert made == ["v1.zarr"]
    assert not Path(plates, "v1.zarr.runs", "reconcile", "mask.json").exists()


# ---------------------------------------------------------------------------- several at work


def test_what_another_holds_is_left_to_it(plates):
    job = job_for(plates)
    held = next(look for look in look_at_all(job) if look.dataset.name == "v1.zarr")
    with hold_run(held.run, "another"):
        tally, made = work(job)
    assert made == ["v0.zarr", "v2.zarr"]
    assert names(tally.busy) == ["v1"]
    assert finish(tally)["busy"] == tally.busy
    with pytest.raises(IncompleteRunError, match=r"v1.zarr: another command is at work on it"):
        finish(tally, needs_all=True)


def test_what_another_holds_is_looked_at_again_at_the_end(plates):
    """The other lets go of v1 while v2 is segmented here, with v1 done or not."""
    job = job_for(plates)
    looks = {look.dataset.name: look for look in look_at_all(job)}
    for does_it in (False, True):
        target = job_for(plates, name=f"mask{does_it}")
        looks = {look.dataset.name: look for look in look_at_all(target)}
        held = hold_run(looks["v1.zarr"].run, "another")
        held.__enter__()

        def let_go(_job, name, held=held, does_it=does_it, looks=looks):
            if name == "v2.zarr":
                if does_it:
                    images.finish(opened_run(looks["v1.zarr"].job))
                held.__exit__(None, None, None)

        tally, made = work(target, Segmenter(before=let_go))
        assert made == ["v0.zarr", "v2.zarr"] + ["v1.zarr"] * (not does_it)
        assert names(tally.current) == ["v1"] * does_it
        assert tally.busy == []


def test_a_holder_that_is_dead_is_not_waited_for(plates):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    job = job_for(plates)
    with hold_run(look_at_all(job)[0].run, "gone") as lease:
        lock = json.loads(lease.content())
    run = Blobs(look_at_all(job)[0].run)
    run.write(RUN_LOCK, json.dumps(lock | {"pid": gone.pid, "started": 1.0}).encode())
    tally, made = work(job)
    assert made == ["v0.zarr", "v1.zarr", "v2.zarr"]
    assert tally.busy == []


def test_what_is_taken_in_between_is_left_to_the_taker(plates):
    """Between the look and the segmentation another has taken the lease."""
    busy = IncompleteRunError("somebody is at work", {})
    holder = type("Holder", (), {"__str__": lambda _self: "somebody"})()
    busy.__cause__ = LeaseBusyError("run.lock", holder)
    tally, _ = work(job_for(plates), Segmenter({"v0.zarr": busy}))
    assert (names(tally.busy), tally.failed) == (["v0"], [])
    assert not Path(plates, "v0.zarr.runs", "reconcile").exists()


# ------------------------------------------------------------------------- stops and workers


STOPPED = IncompleteRunError("stopped at a shard border", {"shards": {"failed": 0}})
GIVEN_UP = IncompleteRunError("stopped, and gave up shards", {})
GIVEN_UP.__cause__ = KeyboardInterrupt()


@pytest.mark.parametrize("error", [STOPPED, GIVEN_UP], ids=["at a border", "given up"])
def test_a_stop_ends_it_and_is_nobody_s_failure(plates, error):
    segmenter = Segmenter({"v1.zarr": error})
    with pytest.raises(IncompleteRunError, match=r"v1.zarr: stopped") as caught:
        work(job_for(plates), segmenter)
    assert segmenter.made == ["v0.zarr"]
    assert names(caught.value.result["done"]) == ["v0"]
    assert not Path(plates, "v1.zarr.runs", "reconcile").exists()


def test_a_stop_between_two_volumes(plates):
    stop = threading.Event()
    segmenter = Segmenter(before=lambda _job, name: name == "v1.zarr" and stop.set())
    with pytest.raises(IncompleteRunError, match="stopped between two volumes"):
        work(job_for(plates), segmenter, stop=stop)
    assert segmenter.made == ["v0.zarr", "v1.zarr"]


def test_lost_workers_are_had_anew_and_blame_no_volume(plates):
    lost = IncompleteRunError("Ray does not answer", {})
    lost.__cause__ = WorkerStartError("Ray does not answer")
    workers = Workers()
    tally, made = work(job_for(plates), Segmenter({"v0.zarr": lost}), workers)
    assert made == ["v1.zarr", "v2.zarr"]
    assert names(one["image"] for one in tally.failed) == ["v0"]
    assert (workers.asked, workers.closed) == (3, 1)
    assert not Path(plates, "v0.zarr.runs", "reconcile").exists()


def test_without_workers_nothing_is_tried(plates):
    segmenter = Segmenter()
    with pytest.raises(IncompleteRunError, match="nobody answers"):
        work(job_for(plates), segmenter, Workers(absent=True))
    assert segmenter.made == []


# ---------------------------------------------------------------------------------- in words


def test_the_words_of_a_result():
    tally = Tally(done=["a"], current=["b", "c"], busy=["d"])
    assert reconciled_text(finish(tally)).splitlines() == [
        "1 segmented, 2 up to date, 1 in the hands of another command",
        "a: segmented",
        "d: another command is at work on it",
    ]
    assert reconciled_text(Tally(current=["b"]).result()) == "nothing to do: 1 up to date\n"
    assert reconciled_text(Tally().result()) == "nothing to do: no image was found\n"


def test_many_failures_are_not_all_told():
    failed = [{"image": str(number), "error": "why"} for number in range(SHOWN + 5)]
    with pytest.raises(IncompleteRunError, match="and 5 more") as caught:
        finish(Tally(failed=failed))
    assert len(str(caught.value).splitlines()) == SHOWN + 2


# ---------------------------------------------------------------------------------- the verb


def test_the_verb_needs_no_server_where_nothing_is_to_do(plates, monkeypatch):
    work(job_for(plates))
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    command = ["reconcile", plates, "--model", "identity", "--name", "mask"]
    with unchanged(plates):
        answer = maskmill(*command)
        assert (answer.code, answer.out) == (0, "nothing to do: 3 up to date\n")
        answer = maskmill(*command, "--json")
    assert names(answer.document["current"]) == ["v0", "v1", "v2"]
    assert answer.document | {"current": []} == Tally().result()


def test_the_verb_ends_with_3_where_an_entry_is_no_image(plates, tmp_path):
    work(job_for(plates))
    catalog = tmp_path / "catalog.yaml"
    catalog.write_text(
        "volumes: [{image: plates/nowhere.zarr}, {image: plates/v0.zarr}, {image: catalog.yaml}]"
    )
    command = ["reconcile", catalog, "--model", "identity", "--name", "mask"]
    answer = maskmill(*command)
    assert (answer.code, answer.out) == (3, "")
    assert answer.err.count("maskmill: ") == 1
    assert "1 up to date, 2 failed; the same job tries again:\n" in answer.err
    assert "nowhere.zarr does not exist; expected an OME-Zarr image\n" in answer.err
    assert "Traceback" not in answer.err
    document = maskmill(*command, "--json").document
    assert (document["exit_code"], names(document["current"])) == (3, ["v0"])
    assert names(one["image"] for one in document["failed"]) == ["nowhere", "catalog.yaml"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["plates", "--model", "nowhere", "--name", "mask"], "nowhere is not a folder"),
        (["nowhere", "--model", "identity", "--name", "mask"], "does not exist or holds nothing"),
        (["no.yaml", "--model", "identity", "--name", "mask"], "no.yaml cannot be read"),
        (["plates", "--model", "identity", "--name", "a/b"], "'a/b' is not usable"),
        (["plates", "--model", "identity"], "--name is missing"),
    ],
)
def test_requests_that_are_refused(plates, monkeypatch, options, message):
    monkeypatch.chdir(plates.parent)
    refused(plates.parent, "reconcile", *options, match=message)


def test_a_server_that_does_not_answer_is_told_before_anything_starts(plates):
    """In a process of its own: Prefect reads its settings once."""
    environment = os.environ | {"PREFECT_API_URL": "http://someone:secret@127.0.0.1:9/api"}
    command = ["--model", "identity", "--name", "mask", "--executor", "serial"]
    with unchanged(plates):
        answer = images.maskmill_process("reconcile", plates, *command, env=environment)
    assert (answer.code, answer.out) == (2, "")
    assert "the Prefect server at http://127.0.0.1:9/api does not answer" in answer.err
    assert "unset PREFECT_API_URL" in answer.err
    assert "secret" not in answer.err


def test_a_server_that_goes_away_is_told_from_other_errors(monkeypatch):
    problems = iter([None, "the Prefect server at x does not answer", None, None, "gone"])
    monkeypatch.setattr("flows.prefect_reach.server_problem", lambda: next(problems))
    with pytest.raises(IncompleteRunError, match="run the same command"), reachable_server():
        raise RuntimeError("a client's error")
    with pytest.raises(RuntimeError, match="a client's error"), reachable_server():
        raise RuntimeError("a client's error")
    with pytest.raises(RequestError, match="gone; start it"), reachable_server():
        pytest.fail("it was started")


def test_jobs_as_parameters_of_a_deployment(plates):
    job = make_job(ReconcileJob, {"target": "a", "model": "b", "name": "c", "memory": "1GiB"})
    assert ReconcileJob(**job.model_dump(mode="json")) == job
    for model in (ReconcileJob, ReprocessJob):
        schema = model.model_json_schema()
        assert all(field.get("description") for field in schema["properties"].values())
    with pytest.raises(RequestError, match="--datasets"):
        make_job(ReprocessJob, {"datasets": [], "model": "b", "name": "c"})


# ---------------------------------------------------------------------------------- the flows


def flow_runs():
    with get_client(sync_client=True) as client:
        return {run.name: run.state_name for run in client.read_flow_runs()}


def artifact(key):
    with get_client(sync_client=True) as client:
        found = [one for one in client.read_artifacts() if one.key == key]
    return max(found, key=lambda one: one.created)


@pytest.mark.slow
def test_the_flows_against_a_server(prefect_harness, plates):
    from flows.reconcile import TABLE, reconcile_volumes
    from flows.reprocess import reprocess_volumes

    make_label(str(plates / "v0.zarr"), voxels_like((2, 40, 30), largest=3))
    job = job_for(plates, truth="truth")
    result = reconcile_volumes(job)
    assert names(result["done"]) == ["v0", "v1", "v2"]
    states = flow_runs()
    assert {states[f"v{number}.zarr"] for number in range(3)} == {"Completed"}
    assert len(states) == 4
    rows = json.loads(artifact(TABLE).data)
    assert [row["state"] for row in rows] == ["segmented"] * 3
    (scores,) = Path(plates, "v0.zarr.runs").glob("mask-*/result.json")
    assert json.loads(scores.read_text())["truth"] is not None

    assert names(reconcile_volumes(job)["current"]) == ["v0", "v1", "v2"]
    assert artifact(TABLE).description == "3 up to date"
    assert len(flow_runs()) == 5

    # Readers keep what they have while a new version is made, and then see that.
    image = str(plates / "v1.zarr")
    (before,) = listed(image)
    again = ReprocessJob(
        datasets=(image,), model="identity", name="mask", executor="serial", force=True
    )
    assert names(reprocess_volumes(again)["done"]) == ["v1"]
    assert listed(image) == (f"{before}-2",)
    part = ReprocessJob(
        datasets=(image,), model="identity", name="mask", executor="serial", region="z=0:1"
    )
    assert names(reprocess_volumes(part)["done"]) == ["v1"]
    assert listed(image) == (f"{before}-2",)
    assert names(reprocess_volumes(again.model_copy(update={"force": False}))["current"]) == ["v1"]

    # A volume that fails makes the flow fail after the others are done.
    Blobs(str(plates)).write("broken.zarr/zarr.json", b"{")
    add_image(plates, 3)
    with pytest.raises(IncompleteRunError, match="1 segmented, 3 up to date, 1 failed"):
        reconcile_volumes(job)
    assert "Failed" in flow_runs().values()
    assert {row["state"] for row in json.loads(artifact(TABLE).data)} == {"segmented", "failed"}
