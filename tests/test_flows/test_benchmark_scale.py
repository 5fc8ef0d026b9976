"""The benchmarks of scale and memory at tiny sizes, and the model's arithmetic by hand."""

import threading
from dataclasses import replace
from types import SimpleNamespace

import pytest

from benchmarks.memory import __main__ as memory
from benchmarks.memory.plans import PLANS
from benchmarks.scale import driver
from benchmarks.scale.extrapolate import check_and_extrapolate
from benchmarks.scale.model import Load, Parts, estimate, scaled
from benchmarks.scale.nodes import WORKERS, Nap, per_shard
from benchmarks.scale.simulated import AnswersAtOnce, make_scene
from benchmarks.scale.workers import steady_rate
from flows import stages
from flows.executors import SerialExecutor
from flows.jobs import SegmentJob
from flows.prepare import prepare
from flows.progress import Progress
from flows.run import open_run
from flows.sizing import MEBIBYTE, RESERVED_IDENTITY

# Round numbers: a shard of 1000 voxels takes the device 2 s, the host 1 s, its connection 0.5 s.
PARTS = Parts(
    device_voxels=1000.0,
    host_voxels=1000.0,
    worker_bytes=6000.0,
    store_bytes=60_000.0,
    driver_seconds=0.01,
    end_seconds=0.02,
    plan_seconds=0.03,
    start_seconds=10.0,
    pyramid_voxels=5000.0,
    verify_bytes=2000.0,
)
LOAD = Load(100_000.0, 1000.0, 2.0, read_bytes=2.0, written_bytes=1.0, workers=4)


def test_a_run_by_hand():
    found = estimate(PARTS, LOAD)
    assert found.limit == "device"
    # 100 shards are 25 rounds of 2 s; 100 000 voxels at 4 × 5000; 100 000 bytes at 4 × 2000.
    assert found.seconds == pytest.approx(
        {"start": 10, "plan": 3, "infer": 50, "pyramid": 5, "verify": 12.5, "end": 2}
    )
    assert found.total == pytest.approx(82.5)
    assert found.efficiency == pytest.approx(50 / 82.5)


@pytest.mark.parametrize(
    ("change", "limit", "seconds"),
    [
        ({"host_voxels": 400.0}, "host", 62.5),
        ({"worker_bytes": 1000.0}, "connection", 75.0),
        ({"driver_seconds": 0.6}, "driver", 60.0),
        ({"store_bytes": 4000.0}, "store", 75.0),
    ],
)
def test_what_holds_the_workers_up(change, limit, seconds):
    found = estimate(replace(PARTS, **change), LOAD)
    assert found.limit == limit
    assert found.seconds["infer"] == pytest.approx(seconds)


def test_the_last_round_is_a_whole_one():
    found = scaled(PARTS, LOAD, (60, 99, 100, 200))
    assert [found[n].seconds["infer"] for n in (60, 99, 100, 200)] == pytest.approx([5, 5, 5, 5])
    # The store gives 300 000 bytes in 5 s, the device takes 4 and 2.
    assert [found[n].limit for n in (60, 200)] == ["store", "store"]


def test_the_rate_leaves_both_ends_out():
    ends = [(0.0, 9), (5.0, 9), (6.0, 4), (7.0, 4), (8.0, 4), (20.0, 9)]
    assert steady_rate(ends, 1) == pytest.approx(21 / 8)
    assert steady_rate(ends, 2) == pytest.approx(4 / 1)
    with pytest.raises(ValueError, match="6 shards are too few for a rate; give 8"):
        steady_rate(ends, 3)


def test_overhead_is_what_a_shard_takes_beyond_its_nap():
    # Four workers finish a shard each every 0.11 s, of which they nap 0.1 s.
    ends = [0.11 * (1 + n // WORKERS) for n in range(12)]
    used = [0.002 * n for n in range(12)]
    wall, cpu = per_shard(ends, used, 0.1)
    assert wall == pytest.approx(10.0)
    assert cpu == pytest.approx(2.0)


def test_a_nap_holds_the_device():
    outcomes = list(SerialExecutor().map(Nap(0.001), range(3), threading.Event()))
    assert [outcome.result.seconds["device"] for outcome in outcomes] == [0.001] * 3


@pytest.fixture
def stage_by_stage(monkeypatch):
    """Stages run in this process: starting others takes longer than the stages."""
    monkeypatch.setattr(driver, "_alone", driver._measured)


@pytest.mark.usefixtures("quick_disk", "stage_by_stage")
def test_the_driver_of_a_hundred_simulated_shards(tmp_path, capfd):
    found = driver.measure_driver(tmp_path, 100)
    assert found["plan"]["planned"] == found["record"]["recorded"] == 100
    assert found["resume"]["left"] == 0
    assert found["verify"]["problems"] == 0
    assert found["aggregate"]["voxels"] > 0
    assert 1 <= found["record_objects"] <= 100
    assert found["overhead_ms"] == pytest.approx(10 * found["record"]["seconds"])
    assert "segmenting: 100 of 100 shards" in capfd.readouterr().err


def test_a_scene_needs_whole_sections(tmp_path):
    with pytest.raises(ValueError, match="150 shards are no multiple of 100"):
        make_scene(tmp_path, 150)
    assert AnswersAtOnce().dask_scheduler() == "synchronous"


def run_of(shards, fixed):
    seconds = {
        "record": 0.001,
        "plan": 0.002,
        "aggregate": 0.001,
        "timings": 0.001,
        "verify": 0.002,
    }
    return {"shards": shards} | {
        name: {"seconds": fixed + value * shards} for name, value in seconds.items()
    }


def test_the_model_is_checked_against_what_was_measured():
    workers = {
        "one_voxels_per_s": 10.0,
        "strong_voxels_per_s": 16.0,
        "shards": 8,
        "shard_voxels": 100,
        "amplification": 1.5,
    }
    runs = [run_of(100, 1.0), run_of(1000, 1.0), run_of(10_000, 2.0)]
    figures = {"driver": {"runs": runs}, "workers": workers}
    found = check_and_extrapolate(figures)
    (check,) = found["driver_check"]
    # 1 s and 1 ms a shard; the last run took a second more.
    assert check["driver"] == pytest.approx(
        {"predicted_s": 11.0, "measured_s": 12.0, "ratio": 11 / 12}
    )
    assert check["end"]["predicted_s"] == pytest.approx(43.0)
    assert found["workers_check"]["predicted_voxels_per_s"] == pytest.approx(20.0)
    assert found["workers_check"]["ratio"] == pytest.approx(1.25)
    assert found["shards"] == 3726
    assert found["by_workers"][8]["hours"] < found["by_workers"][1]["hours"]


def segment_here(_folder, _verb, image, *flags):
    """What the command does up to its timings, without Prefect and in this process."""
    values = dict(zip(flags[::2], flags[1::2], strict=True))
    wanted = {name.removeprefix("--"): value for name, value in values.items()}
    job = SegmentJob(image=image, **wanted | {"workers": int(wanted["workers"])})
    try:
        run = open_run(job, prepare(job), SerialExecutor(), "20260101T000000-a")
    except ValueError as error:
        return SimpleNamespace(returncode=2, stderr=str(error))
    stages.infer(run, SerialExecutor(), threading.Event(), Progress)
    stages.write_timings(run, {}, 1)
    return SimpleNamespace(returncode=0, stderr="")


@pytest.mark.usefixtures("quick_disk")
def test_planned_and_measured_memory_of_a_tiny_plan(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_maskmill", segment_here)
    found = memory.measure(tmp_path, PLANS[1], 0.05, "serial")
    assert found["name"] == "identity, uint8, least budget"
    assert found["planned_mib"] >= RESERVED_IDENTITY / MEBIBYTE
    assert found["measured_mib"] > 50
    assert found["shards"] == 1
    assert found["share"] == pytest.approx(found["measured_mib"] / found["planned_mib"], rel=0.01)
    assert memory._text({"plans": [found], "tight": True}).splitlines()[-1] == "tight: True"


def test_twelve_plans_of_every_kind():
    assert len(PLANS) == 12
    assert {plan.dtype for plan in PLANS} == {"uint8", "uint16", "float32"}
    assert {plan.network for plan in PLANS} == {None, "yx", "zyx", "blended"}
    assert {plan.truth for plan in PLANS} == {plan.probabilities for plan in PLANS} == {True, False}
    assert len({plan.budget for plan in PLANS}) > 2
    assert any(plan.channels > 1 for plan in PLANS)
